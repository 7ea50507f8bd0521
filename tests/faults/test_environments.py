"""Faults of environments: actions, states that blow up, steps out of turn, and what a planner may look at."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from fault_worlds import ACTS, Calm, imagined
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from hypothesis import given
from hypothesis import strategies as st

import worldrl.envs  # noqa: F401 - registers them
from worldrl.agents.planning import Planner
from worldrl.agents.planning_policy import PlanningActor, PlanningPolicy
from worldrl.data.rollout import roll_out
from worldrl.envs.pixels import PixelEnv
from worldrl.envs.steps import real_steps
from worldrl.errors import DataError, NumericsError, WorldRLError

REAL = {
    "table-top": lambda: gym.make("worldrl/Reach-v0", drawing=False),
    "meta-world": lambda: gym.make("worldrl/MetaWorld-drawer-open-v0", drawing=False),
    "pixels": lambda: PixelEnv(gym.make("HalfCheetah-v5"), drawing=False),
}


@pytest.fixture(params=REAL)
def env(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A real environment of each family, as it is behind gymnasium's wrappers, that draws nothing."""
    monkeypatch.chdir(tmp_path)  # MuJoCo writes a log of its warnings where it runs
    env = REAL[request.param]().unwrapped
    env.reset(seed=0)
    yield env
    env.close()


def state(env: Any) -> bytes:
    return bytes(env.state().tobytes())


@pytest.mark.fault(37)
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_an_action_that_is_not_finite_does_not_reach_the_simulator(env: Any, wrong: float) -> None:
    act = np.zeros(env.action_space.shape, np.float32)
    act[-1] = wrong
    before, steps = state(env), real_steps()
    with pytest.raises(NumericsError, match=r"action must be finite, got .*: check the policy's output"):
        env.step(act)
    assert (state(env), real_steps()) == (before, steps)


@pytest.mark.fault(38)
@pytest.mark.parametrize("act", [0.5, [0.0], np.zeros((1, 4)), np.zeros(99), "left", None, [None] * 4, ["a"] * 4])
def test_an_action_of_another_shape_or_of_no_numbers_does_not_reach_the_simulator(env: Any, act: Any) -> None:
    before, steps = state(env), real_steps()
    with pytest.raises(WorldRLError, match="action must be"):
        env.step(act)
    assert (state(env), real_steps()) == (before, steps)


@pytest.mark.fault(38)
def test_an_action_out_of_range_does_what_the_limit_does(env: Any) -> None:
    start = env.state(), env.fields(), env.params()
    far = env.step(np.full(env.action_space.shape, 7.0))[0]["proprio"]
    env.restore(*start)
    np.testing.assert_array_equal(env.step(np.ones(env.action_space.shape))[0]["proprio"], far)


@pytest.mark.fault(38)
@pytest.mark.parametrize("act", [-1, 99, 0.5, np.nan, "up", None])
def test_a_game_refuses_an_action_that_it_does_not_have(act: Any) -> None:
    pytest.importorskip("minatar")
    env = gym.make("worldrl/MinAtar-v0").unwrapped
    env.reset(seed=0)
    with pytest.raises(DataError, match="action must be one of 0 to"):
        env.step(act)


@pytest.mark.fault(39)
def test_steps_out_of_turn_are_gymnasiums_errors_and_closing_twice_is_none() -> None:
    env = gym.make("worldrl/Reach-v0", drawing=False)
    with pytest.raises(ResetNeeded):
        env.step(np.zeros(4, np.float32))
    env.close()
    env.close()
    world = imagined(Calm())
    with pytest.raises(ResetNeeded):
        world.step(np.zeros((3, ACTS), np.float32))
    world.close()
    world.close()


@pytest.mark.fault(42)
@pytest.mark.parametrize("value", [1e30, np.nan])
def test_a_simulation_that_blows_up_is_truncated_and_told(env: Any, value: float) -> None:
    env.data.qvel[:] = value
    obs, rew, end, trunc, info = env.step(np.zeros(env.action_space.shape, np.float32))
    assert trunc and not end and info["mujoco_warning"] and not info["success"]
    assert rew == 0.0 and np.isfinite(obs["proprio"]).all()


@pytest.mark.fault(42)
def test_a_control_that_is_no_number_is_told_too(env: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import mujoco

    step = mujoco.mj_step

    def broken(model: Any, data: Any, *rest: Any, **options: Any) -> None:
        data.ctrl[:] = np.nan
        step(model, data, *rest, **options)

    monkeypatch.setattr(mujoco, "mj_step", broken)
    _, rew, _, trunc, info = env.step(np.zeros(env.action_space.shape, np.float32))
    assert trunc and info["mujoco_warning"] and np.isfinite(rew)


class Sealed(gym.Wrapper[Any, Any, Any, Any]):
    """An environment whose simulator nobody may look into while it is sealed."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self.opened = 0

    @property
    def unwrapped(self) -> Any:
        return self

    @property
    def objects(self) -> tuple[str, ...]:
        return tuple(self.env.unwrapped.objects)  # type: ignore[attr-defined]

    def _refuse(self, *_: Any) -> Any:
        raise AssertionError("whoever acts has looked into the simulator")

    labels = state = fields = params = restore = positions = fingertip = position = _refuse
    data = model = property(_refuse)


class Eyes:
    """A pipeline that shows proprioception alone."""

    objects, masks, hash, visual = ("fingers", "button"), "none", "eyes", 0

    def __call__(self, frames: Any, proprio: Any, labels: Any) -> Any:
        return np.asarray(proprio, np.float32)[:, :3]


@pytest.mark.fault(49)
def test_who_plans_looks_at_observations_and_never_into_the_simulator() -> None:
    env = Sealed(gym.make("worldrl/Reach-v0", drawing=False, max_steps=3))
    model = Calm(act_dim=4)
    actor = PlanningActor(PlanningPolicy(Planner(model, method="cem", horizon=2, samples=4, iterations=1)), Eyes())
    (outcome,) = roll_out([env], actor, seeds=[0], record=False)
    assert outcome.length == 3 and model.calls >= 3


# Autoreset, against gymnasium's own, under any actions: the world is one that a single environment can play too.


class Single(gym.Env[Any, Any]):
    """What ``Calm`` imagines, as one environment: observations move by the action, and an episode ends above one."""

    def __init__(self, start: np.ndarray[Any, Any], horizon: int) -> None:
        self.observation_space, self.action_space = Box(-np.inf, np.inf, (3,)), Box(-1, 1, (ACTS,))
        self._start, self._horizon = start, horizon

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self._obs, self._age = self._start.copy(), 0
        return self._obs.copy(), {}

    def step(self, action: Any) -> Any:
        self._obs, self._age = self._obs + np.float32(action[0]), self._age + 1
        end = bool(self._obs[0] >= 1.0)
        return self._obs.copy(), float(end), end, not end and self._age >= self._horizon, {"success": end}


@pytest.mark.fault(45)
@pytest.mark.parametrize("mode", list(AutoresetMode))
@given(data=st.data(), horizon=st.integers(1, 4), count=st.integers(1, 3))
def test_under_any_actions_episodes_begin_anew_as_gymnasiums_do(
    mode: AutoresetMode, data: st.DataObject, horizon: int, count: int
) -> None:
    world = imagined(Calm(), num_envs=count, horizon=horizon, autoreset_mode=mode)
    start = world.starts.obs[0, -1].numpy()
    theirs = SyncVectorEnv([lambda: Single(start, horizon)] * count, autoreset_mode=mode)
    np.testing.assert_array_equal(world.reset(seed=0)[0], theirs.reset(seed=0)[0])
    for _ in range(6):
        push = data.draw(st.lists(st.sampled_from([-1.0, 0.0, 0.5, 1.0]), min_size=count, max_size=count))
        acts = np.repeat(np.array(push, np.float32)[:, None], ACTS, axis=1)
        ours, wanted = world.step(acts), theirs.step(acts)
        for mine, other in zip(ours[:4], wanted[:4], strict=True):
            np.testing.assert_allclose(mine, other, atol=1e-6)
        done = ours[2] | ours[3]
        if mode is AutoresetMode.SAME_STEP and done.any():
            for i in np.flatnonzero(done):
                np.testing.assert_allclose(ours[4]["final_obs"][i], wanted[4]["final_obs"][i], atol=1e-6)
        if mode is AutoresetMode.DISABLED and done.any():
            mask = {"reset_mask": done}
            np.testing.assert_allclose(world.reset(options=mask)[0], theirs.reset(options=dict(mask))[0], atol=1e-6)
    theirs.close()
    assert torch.equal(world.starts.obs[0, -1], torch.from_numpy(start))
