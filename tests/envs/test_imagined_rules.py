"""An imagined vector environment keeps the rules of gymnasium's own, in every autoreset mode."""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from torch import Tensor

from worldrl.envs.imagined import ImaginedEnv, ImaginedVectorEnv
from worldrl.types import Array, Imagined, Starts

N, T, D, HORIZON = 5, 2, 2, 6
GOAL, EDGE = np.float32(1.0), np.float32(-0.75)


class Point:
    """A point on a line that moves by half its action: success right of ``GOAL``, lost left of ``EDGE``."""

    history, obs_shape, act_dim, success_threshold = T, (D,), 1, 0.5

    def __init__(self, noise: float = 0.0) -> None:
        self.noise = noise

    def imagine(self, obs: Tensor, acts: Tensor, *, noise: Tensor, choice: Tensor) -> Imagined:
        place = obs[:, -1, 0] + 0.5 * acts[:, -1, 0] + self.noise * (noise[:, 0] + choice)
        nxt = torch.stack([place, obs[:, -1, 1] + 1], dim=1)
        return Imagined(nxt, (place > float(GOAL)).float(), 2.0 * (place < float(EDGE)).float())


class PointEnv(gym.Env[Array, Array]):
    """The same line written as a gymnasium environment."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (D,), np.float32)
    action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        super().reset(seed=seed)
        self.obs, self.age = np.zeros(D, np.float32), 0
        return self.obs, {}

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        place = self.obs[0] + np.float32(0.5) * action[0]
        self.obs, self.age = np.array([place, self.obs[1] + 1], np.float32), self.age + 1
        halted, success = bool(place < EDGE), bool(place > GOAL)
        info = {"success": success, "halted": halted, "agreed": True, "departure": np.float32(0.0)}
        info |= {"disagreement": np.float32(2 * halted), "success_probability": np.float32(success)}
        end = success or halted
        return self.obs, float(success), end, not end and self.age >= HORIZON, info


def origin(m: int = 1) -> Starts:
    return Starts(torch.zeros(m, T, D), torch.zeros(m, T - 1, 1))


def spread() -> Starts:
    return Starts(torch.linspace(-0.5, 0.5, 7)[:, None, None].repeat(1, T, D), torch.zeros(7, T - 1, 1))


def known(mode: AutoresetMode) -> tuple[VectorEnv[Any, Any, Any], VectorEnv[Any, Any, Any]]:
    """A world written twice: as a model and as an environment."""
    ours = ImaginedVectorEnv(Point(), origin(), num_envs=N, horizon=HORIZON, autoreset_mode=mode)
    return ours, SyncVectorEnv([PointEnv] * N, autoreset_mode=mode)


def noisy(mode: AutoresetMode) -> tuple[VectorEnv[Any, Any, Any], VectorEnv[Any, Any, Any]]:
    """One model, noise and random starts included: batched by us, and single ones batched by gymnasium."""
    ours = ImaginedVectorEnv(Point(noise=0.2), spread(), num_envs=N, horizon=HORIZON, autoreset_mode=mode)
    single = [lambda: ImaginedEnv(Point(noise=0.2), spread(), horizon=HORIZON)] * N
    return ours, SyncVectorEnv(single, autoreset_mode=mode)


@pytest.mark.fault(45)
@pytest.mark.parametrize("worlds", [known, noisy])
@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("seed", range(3))
def test_transitions_are_those_of_a_sync_vector_env(worlds: Callable[..., Any], mode: AutoresetMode, seed: int) -> None:
    ours, theirs = worlds(mode)
    assert ours.metadata["autoreset_mode"] == theirs.metadata["autoreset_mode"] == mode
    seeds = [seed + i for i in range(N)]
    same(ours.reset(seed=seeds), theirs.reset(seed=seeds))
    rng, endings = np.random.default_rng(seed), np.zeros(3, int)
    for _ in range(40):
        act = rng.uniform(-1, 1, (N, 1)).astype(np.float32)
        got, wanted = ours.step(act), theirs.step(act)
        same(got, wanted)
        success = got[1] > 0
        endings += [success.sum(), (got[2] & ~success).sum(), got[3].sum()]
        done = got[2] | got[3]
        if mode is AutoresetMode.DISABLED and done.any():
            same(*(env.reset(seed=seeds, options={"reset_mask": done.copy()}) for env in (ours, theirs)))
    assert (endings > 0).all(), "the walk must meet success, halt and horizon"


def same(got: tuple[Any, ...], wanted: tuple[Any, ...]) -> None:
    for mine, its in zip(got[:-1], wanted[:-1], strict=True):
        assert mine.dtype == its.dtype and mine.shape == its.shape
        np.testing.assert_array_equal(mine, its)
    same_info(got[-1], wanted[-1])


def same_info(got: dict[str, Any], wanted: dict[str, Any]) -> None:
    """The same masks, and the same values under them; gymnasium leaves a key out where its mask is all False."""
    assert set(wanted) <= set(got)
    for name in (name for name in got if not name.startswith("_")):
        mask = wanted.get(f"_{name}", np.zeros(N, dtype=bool))
        np.testing.assert_array_equal(got[f"_{name}"], mask)
        if isinstance(got[name], dict):
            same_info(got[name], wanted[name])
        elif name == "final_obs":
            assert [part is None for part in got[name]] == [part is None for part in wanted[name]]
            np.testing.assert_array_equal(np.stack(got[name][mask]), np.stack(wanted[name][mask]))
        elif mask.any():
            assert got[name].dtype.kind == wanted[name].dtype.kind
            np.testing.assert_array_equal(got[name][mask], wanted[name][mask])


def test_a_step_of_all_waiting_environments_does_not_call_the_model() -> None:
    class Counted(Point):
        calls = 0

        def imagine(self, *args: Any, **kwargs: Any) -> Imagined:
            self.calls += 1
            return super().imagine(*args, **kwargs)

    model = Counted()
    env = ImaginedVectorEnv(model, origin(), num_envs=N, horizon=1, autoreset_mode=AutoresetMode.NEXT_STEP)
    env.reset(seed=0)
    ends = [bool(env.step(np.zeros((N, 1)))[3].all()) for _ in range(4)]
    assert ends == [True, False, True, False] and model.calls == 2


@pytest.mark.fault(39, 45)
def test_a_disabled_environment_waits_for_its_mask() -> None:
    env = ImaginedVectorEnv(Point(), origin(), num_envs=2, horizon=9, autoreset_mode=AutoresetMode.DISABLED)
    env.reset(seed=0)
    for _ in range(2):
        _, _, end, _, info = env.step(np.array([[-1.0], [0.5]]))
    assert end.tolist() == [True, False] and info["halted"].tolist() == [True, False]
    with pytest.raises(gym.error.ResetNeeded, match="episode of env 0 is over"):
        env.step(np.zeros((2, 1)))
    obs, _ = env.reset(options={"reset_mask": end})
    assert obs.tolist() == [[0.0, 0.0], [0.5, 2.0]]
    env.step(np.zeros((2, 1)))


def test_only_steps_taken_are_counted_and_paid() -> None:
    class Easy(Point):
        success_threshold = 0.0  # everything is a success

    env = ImaginedVectorEnv(Easy(), origin(), num_envs=2, horizon=9, autoreset_mode=AutoresetMode.NEXT_STEP)
    env.reset(seed=0)
    steps = [env.step(np.array([[-1.0], [0.0]])) for _ in range(2)]
    assert steps[0][1].tolist() == [1.0, 1.0] and steps[1][1].tolist() == [0.0, 0.0] and env.imagined_steps == 2
    parted = ImaginedVectorEnv(Point(), origin(), num_envs=2, horizon=9, autoreset_mode=AutoresetMode.NEXT_STEP)
    parted.reset(seed=0)
    for _ in range(3):  # the first is lost after two steps, and is put back in the third
        parted.step(np.array([[-1.0], [0.0]]))
    assert parted.imagined_steps == 5
