"""A world model as a gymnasium vector environment, and as a single one."""

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import torch
from gymnasium.error import ClosedEnvironmentError, ResetNeeded
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from torch import Tensor

from worldrl.envs import imagined_inputs as inputs
from worldrl.envs.guards import Guards
from worldrl.envs.imagined_inputs import Decode
from worldrl.envs.streams import Rows, Streams, seed_sequences
from worldrl.types import Array, Starts, Supported, WorldModel


class ImaginedVectorEnv(VectorEnv[Any, Any, Any]):
    """Step a world model instead of a simulator.

    An episode starts from a recorded history. Reward is 1 where the model sees success, which terminates; else 0.
    Where a guard says that the episode has left the data, it halts: it terminates with reward 0, and a halt is never a
    success. ``horizon`` steps truncate. Autoreset modes, masks, ``final_obs`` and ``final_info``
    are those of gymnasium's ``SyncVectorEnv``. Chance has one stream per environment: what happens in one depends
    neither on how many there are nor on what the others do.

    Observations ``(n, *o)`` float32, actions ``(n, a)`` in ``[-1, 1]``. ``info`` of a step holds, ``(n,)`` each:
    ``success``, ``halted``, ``agreed``, ``disagreement``, ``departure`` (zero unless the guard of support is on: to
    measure it takes a tenth of a step), ``success_probability``; the mask ``_success`` (and so on) is False where the
    row now shows a new episode, as in gymnasium. A reset has no info.

    Args:
        model: The world model, on ``device``; it is only read.
        starts: The recorded histories ``(m, t, *o)`` that episodes start from.
        num_envs: Number of parallel episodes ``n``.
        horizon: Steps until an episode is truncated.
        observation_space: Of one environment; unbounded if None.
        guards: Which witnesses are listened to; ``Guards()`` if None.
        autoreset_mode: When an ended episode starts anew; gymnasium's three.
        decode: Draws observations; needed for rendering.
        device: Where the model is.
        tensors: Whether to return tensors on ``device``, not arrays; ``final_obs`` is then one tensor ``(n, *o)``.
        render_mode: ``"rgb_array"``, or None for no rendering.

    Attributes:
        imagined_steps: Environment steps imagined so far, over all environments.

    Raises:
        ValueError: If a number or a space does not fit.
        ConfigError: If ``render_mode`` cannot be served, or support is to be guarded and the model knows of none.
        DataError: If ``starts`` does not fit the model.
        DeviceError: If this machine has no such device.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 20}

    def __init__(
        self,
        model: WorldModel,
        starts: Starts,
        *,
        num_envs: int,
        horizon: int,
        observation_space: Box | None = None,
        guards: Guards | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
        decode: Decode | None = None,
        device: str | torch.device = "cpu",
        tensors: bool = False,
        render_mode: str | None = None,
    ) -> None:
        inputs.check_counts(num_envs=num_envs, horizon=horizon)
        inputs.check_render(render_mode, decode)
        inputs.check_starts(starts, model)
        inputs.check_support(guards, model)
        self.model, self.starts, self.guards, self.horizon = model, starts, guards or Guards(), horizon
        self.device, self.tensors = inputs.as_device(device), tensors
        self.decode, self.render_mode = decode, render_mode
        self.autoreset_mode = inputs.as_mode(autoreset_mode)
        self.metadata = {**self.metadata, "autoreset_mode": self.autoreset_mode}
        self.num_envs, self.imagined_steps = num_envs, 0
        self.single_observation_space = inputs.as_space(observation_space, tuple(model.obs_shape))
        self.single_action_space = Box(-1.0, 1.0, (model.act_dim,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._obs = torch.zeros(num_envs, model.history, *model.obs_shape, device=self.device)
        self._acts = torch.zeros(num_envs, model.history - 1, model.act_dim, device=self.device)
        self._ages = np.zeros(num_envs, dtype=np.int64)
        self._ended = np.zeros(num_envs, dtype=np.bool_)
        self._streams = Streams(num_envs, tuple(model.obs_shape))
        self._draw: tuple[Tensor, Tensor] | None = None  # outlives a step that failed, so that the step can be repeated
        self._is_reset = False

    @torch.no_grad()
    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start every episode, or those of a mask, from a recorded history.

        Args:
            seed: One seed for all, or one for each environment, as for ``n`` single ones; where None, chance goes on.
            options: ``start``, ``(n,)`` indices into ``starts`` (drawn if absent); ``reset_mask``, ``(n,)`` bool.

        Raises:
            ValueError: If a seed or an option has a wrong size or range.
            TypeError: If an option is of a wrong kind.
            ResetNeeded: If the first reset leaves some environments out.
        """
        self._check_open(reset=False)
        mask, start = inputs.as_options(options, self.num_envs, len(self.starts))
        seeds = seed_sequences(seed, self.num_envs)
        if not self._is_reset and not mask.all():
            raise ResetNeeded("the first reset must be of every environment: leave options['reset_mask'] out.")
        rows = np.flatnonzero(mask)
        self._streams.seed(rows, seeds)
        self._restart(rows, start)
        self._is_reset, self._draw = True, None
        return self._observe(), {}

    @torch.no_grad()
    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Imagine one step: observations, rewards, terminations, truncations and info, each ``(n, ...)``.

        Raises:
            DataError: If an action is outside ``[-1, 1]`` or has another shape.
            NumericsError: If an action or what the model imagines is not finite; nothing has changed then.
            ResetNeeded: If an environment has not been reset.
            ClosedEnvironmentError: After ``close``.
        """
        self._check_open()
        if self.autoreset_mode is AutoresetMode.DISABLED and self._ended.any():
            i = int(np.argmax(self._ended))
            raise ResetNeeded(f"the episode of env {i} is over: reset it with options={{'reset_mask': ...}}.")
        act = inputs.as_actions(actions, (self.num_envs, self.model.act_dim), self.device)
        waiting = self._ended.copy()  # ended episodes are still here in NEXT_STEP only
        rows = np.flatnonzero(~waiting)
        facts = self.guards.judge(self._imagine(rows, act), ~waiting, threshold=self.model.success_threshold)
        self._restart(np.flatnonzero(waiting))
        end = (facts["success"] & self.guards.mask) | facts["halted"]
        trunc = ~end & (self._ages >= self.horizon)
        self._ended = end | trunc
        ends_now = self.autoreset_mode is AutoresetMode.SAME_STEP and self._ended.any()
        info = self._finish(facts) if ends_now else _masked(facts, ~waiting)
        rew = self.guards.reward(facts)
        return self._observe(), self._send(rew), self._send(end), self._send(trunc), self._send(info)

    def state(self) -> dict[str, Tensor]:
        """Return, on the CPU, all that the next steps follow from, chance included; take it between two steps."""
        arrays = {"ages": self._ages, "ended": self._ended, "imagined_steps": self.imagined_steps}
        kept = {name: torch.tensor(array) for name, array in arrays.items()}
        kept |= {"obs": self._obs.cpu().clone(), "acts": self._acts.cpu().clone()}
        return kept | {f"streams.{name}": tensor for name, tensor in self._streams.state().items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from where ``state`` was taken, in an environment made with the same arguments."""
        self._obs.copy_(state["obs"])
        self._acts.copy_(state["acts"])
        self._ages[:], self._ended[:] = state["ages"].numpy(), state["ended"].numpy()
        self.imagined_steps, self._is_reset, self._draw = int(state["imagined_steps"]), True, None
        self._streams.restore({name.removeprefix("streams."): tensor for name, tensor in state.items()})

    def render(self) -> tuple[npt.NDArray[np.uint8], ...] | None:
        """Return a picture ``(h, w, 3)`` uint8 of each environment, or None without a render mode."""
        self._check_open()
        if self.render_mode is None or self.decode is None:
            return None
        return tuple(self.decode(self._obs[:, -1].clone()))

    def _imagine(self, rows: Rows, act: Tensor) -> Array:
        """Advance ``rows`` by one step; return what the model says of it ``(4, n)``, zero elsewhere."""
        figures: Array = np.zeros((4, self.num_envs), dtype=np.float32)
        if len(rows) == 0:
            return figures
        index = slice(None) if len(rows) == self.num_envs else torch.from_numpy(rows).to(self.device)
        shape = tuple(self.model.obs_shape)
        self._draw = self._draw or self._streams.draw(rows)
        noise, choice = (x.to(self.device) for x in self._draw)
        obs, acts = self._obs[index], torch.cat([self._acts[index], act[index][:, None]], dim=1)
        out = self.model.imagine(obs, acts, noise=noise, choice=choice)
        far = self.model.departure(out.obs) if isinstance(self.model, Supported) and self.guards.support else None
        figures[:, rows] = inputs.check_imagined(out, departure=far, rows=rows, ages=self._ages, obs_shape=shape)
        self._obs[index] = torch.cat([obs[:, 1:], out.obs[:, None].to(self._obs)], dim=1)
        self._acts[index] = acts[:, 1:]
        self._ages[rows] += 1
        self._draw, self.imagined_steps = None, self.imagined_steps + len(rows)
        return figures

    def _finish(self, facts: dict[str, Array]) -> dict[str, Any]:
        """Start the ended episodes anew within the step; info keeps how they ended."""
        done, last = self._ended.copy(), self._obs[:, -1].clone()
        final: Any = last
        if not self.tensors:
            final = np.full(self.num_envs, None, dtype=object)
            for i in np.flatnonzero(done):
                final[i] = last[i].cpu().numpy()
        self._restart(np.flatnonzero(done))
        ends = _masked({name: np.where(done, values, np.zeros_like(values)) for name, values in facts.items()}, done)
        return {**_masked(facts, ~done), **_masked({"final_obs": final, "final_info": ends}, done)}

    def _restart(self, rows: Rows, start: npt.NDArray[np.int64] | None = None) -> None:
        if len(rows) == 0:
            return
        picked = self._streams.pick(rows, len(self.starts))  # drawn even if given: the noise to come stays the same
        chosen = picked if start is None else torch.from_numpy(start[rows])
        index = torch.from_numpy(rows).to(self.device)
        for memory, recorded in ((self._obs, self.starts.obs), (self._acts, self.starts.acts)):
            memory[index] = recorded[chosen.to(recorded.device)].to(memory)
        self._ages[rows], self._ended[rows] = 0, False

    def _observe(self) -> Any:
        obs = self._obs[:, -1].clone()
        return obs if self.tensors else obs.cpu().numpy()

    def _send(self, value: Any) -> Any:
        """Turn arrays into tensors where tensors are wanted."""
        if isinstance(value, Mapping):
            return {name: self._send(part) for name, part in value.items()}
        if not self.tensors or isinstance(value, Tensor):
            return value
        return torch.from_numpy(value.astype(np.float32) if value.dtype == np.float64 else value).to(self.device)

    def _check_open(self, *, reset: bool = True) -> None:
        if self.closed:
            raise ClosedEnvironmentError("the imagined environment is closed: make a new one.")
        if reset and not self._is_reset:
            raise ResetNeeded("the imagined environment has not been reset: call reset() first.")


class ImaginedEnv(gym.Env[Array, Array]):
    """Step a world model instead of a simulator, one episode at a time.

    The same rollout as environment 0 of an ``ImaginedVectorEnv`` under the same seed.

    Args:
        model: The world model, on ``device``.
        starts: The recorded histories that episodes start from; ``options={"start": i}`` of a reset picks one.
        horizon: Steps until an episode is truncated.

    The other arguments, and what is raised, are those of ``ImaginedVectorEnv``.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 20}

    def __init__(
        self,
        model: WorldModel,
        starts: Starts,
        *,
        horizon: int,
        observation_space: Box | None = None,
        guards: Guards | None = None,
        decode: Decode | None = None,
        device: str | torch.device = "cpu",
        render_mode: str | None = None,
    ) -> None:
        self.vector = ImaginedVectorEnv(
            model, starts, num_envs=1, horizon=horizon, observation_space=observation_space, guards=guards,
            autoreset_mode=AutoresetMode.DISABLED, decode=decode, device=device, render_mode=render_mode,
        )  # fmt: skip
        self.observation_space = self.vector.single_observation_space
        self.action_space = self.vector.single_action_space
        self.render_mode = render_mode

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Start an episode from a recorded history."""
        super().reset(seed=seed)
        batched = {name: np.asarray([value]) for name, value in (options or {}).items()}
        obs, info = self.vector.reset(seed=seed, options=batched)
        return obs[0], info

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """Imagine one step; raises as ``ImaginedVectorEnv.step`` does."""
        obs, rew, end, trunc, info = self.vector.step(np.asarray(action)[None])
        facts = {name: values[0].item() for name, values in info.items() if not name.startswith("_")}
        return obs[0], float(rew[0]), bool(end[0]), bool(trunc[0]), facts

    def render(self) -> npt.NDArray[np.uint8] | None:
        """Return a picture ``(h, w, 3)`` uint8, or None without a render mode."""
        frames = self.vector.render()
        return None if frames is None else frames[0]

    def close(self) -> None:
        """Close the environment; it cannot be stepped again."""
        self.vector.close()


def _masked(facts: Mapping[str, Any], mask: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """Put gymnasium's mask ``_name`` beside every fact ``name``."""
    return {key: value for name, fact in facts.items() for key, value in ((name, fact), (f"_{name}", mask.copy()))}
