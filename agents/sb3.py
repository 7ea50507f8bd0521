"""A gymnasium vector environment as stable-baselines3 wants it."""

import time
from collections.abc import Iterable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode, VectorEnv
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv

from worldrl.types import Array

Indices = int | Iterable[int] | None


class Sb3VecEnv(VecEnv):
    """Translate a vector environment to stable-baselines3, which has its own kind.

    The last observation of an episode is in ``terminal_observation`` and ``TimeLimit.truncated`` says whether its value
    may be bootstrapped; without them PPO would take every horizon for a failure. Each episode reports ``episode``
    (return ``r``, length ``l``, seconds since the start ``t``), as ``Monitor`` does, and ``is_success``, so that the
    ``rollout/`` figures are logged.

    The environments are one object: attributes and methods are looked up on it, and belong to all of them.

    Args:
        env: Speaks numpy; autoresets in ``SAME_STEP``.

    Raises:
        ValueError: If ``env`` autoresets in another mode or speaks tensors.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any]) -> None:
        mode = env.metadata.get("autoreset_mode")
        if mode != AutoresetMode.SAME_STEP:
            raise ValueError(f"autoreset_mode must be SAME_STEP for stable-baselines3, got {mode}.")
        if getattr(env, "tensors", False):
            raise ValueError("env must speak numpy for stable-baselines3, got tensors=True: leave it out.")
        self.env = env
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)
        self._seed: int | None = None
        self._began = time.perf_counter()
        self._rets = np.zeros(self.num_envs)
        self._lengths = np.zeros(self.num_envs, dtype=np.int64)

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Seed the next reset; the environment spawns a stream for each of its episodes from the one seed."""
        self._seed = int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed
        return [self._seed] * self.num_envs

    def reset(self) -> Array:
        """Start every episode; seed and options are used once."""
        obs, infos = self.env.reset(seed=self._seed, options=self._batched_options())
        self.reset_infos = _rows(infos, self.num_envs)
        self._seed = None
        self._reset_options()
        self._rets[:], self._lengths[:] = 0.0, 0
        return np.asarray(obs)

    def step_async(self, actions: Array) -> None:
        """Keep the actions ``(n, a)`` for ``step_wait``."""
        self._actions = actions

    def step_wait(self) -> tuple[Array, npt.NDArray[np.float32], npt.NDArray[np.bool_], list[dict[str, Any]]]:
        """Step: observations ``(n, *o)``, rewards ``(n,)`` float32, dones ``(n,)`` and ``n`` infos."""
        obs, rew, end, trunc, batched = self.env.step(self._actions)
        self._rets += rew
        self._lengths += 1
        infos = _rows(
            {name: part for name, part in batched.items() if name not in ("final_obs", "final_info")}, len(rew)
        )
        for info in infos:
            info["TimeLimit.truncated"] = False
        done = end | trunc
        if done.any():
            finals = _rows(batched["final_info"], len(rew))
            for i in np.flatnonzero(done):
                self.reset_infos[i] = {name: part for name, part in infos[i].items() if name != "TimeLimit.truncated"}
                infos[i] = finals[i] | self._ending(int(i), batched["final_obs"][i], bool(trunc[i] and not end[i]))
                if "success" in infos[i]:
                    infos[i]["is_success"] = infos[i]["success"]
            self._rets[done], self._lengths[done] = 0.0, 0
        return obs, np.asarray(rew, dtype=np.float32), done, infos

    def close(self) -> None:
        """Close the environment."""
        self.env.close()

    def get_images(self) -> Sequence[npt.NDArray[np.uint8] | None]:
        """Return a picture ``(h, w, 3)`` of each environment, or None without a render mode."""
        frames: Any = self.env.render()
        return [None] * self.num_envs if frames is None else list(frames)

    def get_attr(self, attr_name: str, indices: Indices = None) -> list[Any]:
        """Return the environment's attribute once for each index."""
        value = getattr(self.env, attr_name)
        return [value for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Indices = None) -> None:
        """Set the environment's attribute.

        Raises:
            ValueError: If ``indices`` leaves some environments out.
        """
        if set(self._get_indices(indices)) != set(range(self.num_envs)):
            raise ValueError(f"indices must be all of the environments or None, got {indices}: they share attributes.")
        setattr(self.env, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: Indices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Call the environment's method once; a result of one part for each environment is handed out by index."""
        result = getattr(self.env, method_name)(*method_args, **method_kwargs)
        each = isinstance(result, list | tuple) and len(result) == self.num_envs
        return [result[i] if each else result for i in self._get_indices(indices)]

    def env_is_wrapped(
        self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: Indices = None
    ) -> list[bool]:
        """Say False, but True for ``Monitor``, whose episode reports this adapter makes itself."""
        return [issubclass(wrapper_class, Monitor) for _ in self._get_indices(indices)]

    def _ending(self, i: int, obs: Array, truncated: bool) -> dict[str, Any]:
        seconds = round(time.perf_counter() - self._began, 6)
        episode = {"r": float(self._rets[i]), "l": int(self._lengths[i]), "t": seconds}
        return {"TimeLimit.truncated": truncated, "terminal_observation": obs, "episode": episode}

    def _batched_options(self) -> dict[str, Array] | None:
        """Turn ``n`` dicts of options into one of arrays ``(n, ...)``."""
        names = set(self._options[0])
        if any(set(options) != names for options in self._options):
            raise ValueError("options must have the same names for every environment, or be one dict for all.")
        return {name: np.asarray([options[name] for options in self._options]) for name in names} or None


def _rows(infos: dict[str, Any], total: int) -> list[dict[str, Any]]:
    """Turn a batched info into one dict of Python values for each environment, as its masks say."""
    rows: list[dict[str, Any]] = [{} for _ in range(total)]
    for name, values in infos.items():
        if name.startswith("_"):
            continue
        mask = infos.get(f"_{name}")
        parts = _rows(values, total) if isinstance(values, dict) else values.tolist() if values.ndim == 1 else values
        for i in range(total) if mask is None else np.flatnonzero(mask):
            rows[i][name] = parts[i]
    return rows
