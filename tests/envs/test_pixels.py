"""gymnasium's MuJoCo environments, seen through a camera, keep the contract of this package's environments."""

import json
import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env

from worldrl.envs.pixels import PixelEnv
from worldrl.errors import ConfigError, NumericsError

ABOVE = {
    "Pusher-v5": {"distance": 1.9, "elevation": -50, "azimuth": 180, "lookat": (0.3, -0.2, -0.3)},
    "Reacher-v5": {"distance": 0.55, "elevation": -90, "azimuth": 90, "lookat": (0.0, 0.0, 0.0)},
}
OBJECTS = {"Pusher-v5": {"cylinder": "object", "goal": ["goal"]}, "Reacher-v5": {"target": "target"}}
IDS = sorted(ABOVE)


def make(name: str, **options: Any) -> PixelEnv:
    return PixelEnv(gym.make(name), camera=ABOVE[name], objects=OBJECTS[name], **options)


def same(left: dict[str, Any], right: dict[str, Any]) -> bool:
    return all(np.array_equal(left[key], right[key]) for key in left)


@pytest.mark.parametrize("name", IDS)
def test_the_environment_passes_the_checkers(name: str) -> None:
    env = make(name, render_mode="rgb_array")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*spec.*")  # it is not made by gymnasium.make here
        warnings.filterwarnings("ignore", message=".*render mode.*")
        check_env(env, skip_close_check=True)
        sb3_check_env(env)


@pytest.mark.parametrize("name", IDS)
def test_a_seed_determines_the_episode_in_every_instance(name: str) -> None:
    env, other = make(name), make(name)
    first, _ = env.reset(seed=3)
    assert not same(first, env.reset(seed=4)[0])
    env.step(np.ones(env.action_space.shape or (), np.float32))
    assert same(first, env.reset(seed=3)[0])
    assert same(first, other.reset(seed=3)[0])
    assert np.array_equal(env.state(), other.state())


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("proprio", ["actuated", "observation"])
def test_any_moment_replays_bit_for_bit_in_another_instance(name: str, proprio: str) -> None:
    def near(env: Any) -> bool:
        hand, thing = ("tips_arm", "object") if name == "Pusher-v5" else ("fingertip", "target")
        return bool(np.linalg.norm(env.get_body_com(hand) - env.get_body_com(thing)) < 0.02)

    env, other = (make(name, proprio=proprio, success=near) for _ in range(2))
    env.reset(seed=3)
    fields, params = env.fields(), json.loads(json.dumps(env.params()))
    env.action_space.seed(0)
    acts = [env.action_space.sample() for _ in range(12)]
    states, steps = [env.state()], []
    for act in acts:
        steps.append(env.step(act))
        states.append(env.state())
    other.reset(seed=9)
    for start in (5, 0):
        before = steps[start - 1][0] if start else env.reset(seed=3)[0]
        assert same(other.restore(states[start], fields, params), before)
        for k in range(start, len(acts)):
            obs, *rest = other.step(acts[k])
            assert same(obs, steps[k][0])
            assert rest == list(steps[k][1:])
            assert np.array_equal(other.state(), states[k + 1])


def test_the_simulation_is_that_of_the_wrapped_environment() -> None:
    env, plain = make("Pusher-v5"), gym.make("Pusher-v5").unwrapped
    env.reset(seed=1)
    plain.reset(seed=1)
    for _ in range(20):
        env.step(np.full(7, 0.5, np.float32))
        plain.step(np.full(7, 1.0, np.float32))  # half of Pusher's range of two
    assert np.array_equal(env.data.qpos, plain.data.qpos)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", IDS)
def test_labels_see_the_objects(name: str) -> None:
    env = make(name)
    env.reset(seed=0)
    labels = env.labels()
    assert env.objects == tuple(OBJECTS[name])
    assert all((labels == i + 1).sum() > 5 for i in range(len(env.objects)))
    assert labels.max() == len(env.objects)


def test_a_label_follows_its_object() -> None:
    env = make("Reacher-v5")
    env.reset(seed=0)
    places = []
    for x in (-0.1, 0.1):
        state = env.state()
        env.data.qpos[:] = [3.0, 0.0, x, 0.0]
        state = env.state()
        env.restore(state, {}, {})
        places.append(np.argwhere(env.labels() == 1).mean(axis=0))
    assert places[1][1] > places[0][1] + 20  # to the right of the picture, as x grows
    assert places[1][0] == pytest.approx(places[0][0], abs=2)


def test_success_terminates_and_the_horizon_truncates() -> None:
    env = make("Reacher-v5", max_steps=3, success=lambda inner: inner.data.time > 0.05)
    assert env.reset(seed=0)[1]["success"] is False
    act = np.zeros(2, np.float32)
    outcomes = [env.step(act) for _ in range(3)]
    assert [out[2:4] for out in outcomes] == [(False, False), (False, False), (True, False)]
    assert [out[4]["success"] for out in outcomes] == [False, False, True]
    env = make("Reacher-v5", max_steps=2)
    env.reset(seed=0)
    assert [env.step(act)[2:4] for _ in range(2)] == [(False, False), (False, True)]


def test_without_objects_nothing_is_labelled_and_the_registered_time_limit_holds() -> None:
    env = PixelEnv("Reacher-v5", size=32)
    env.reset(seed=0)
    assert env.objects == ()
    assert not env.labels().any()
    assert env.max_steps == 50


def test_proprioception_holds_what_was_asked_for() -> None:
    shapes = {kind: make("Pusher-v5", proprio=kind).observation_space["proprio"].shape for kind in ("actuated", "qpos")}  # type: ignore[index]
    assert shapes == {"actuated": (14,), "qpos": (22,)}
    env = make("Pusher-v5")
    obs, _ = env.reset(seed=0)
    assert np.allclose(obs["proprio"][:7], env.data.qpos[:7])


def test_wrong_options_are_refused_with_the_way_out() -> None:
    with pytest.raises(ConfigError, match=r"camera must be one of none .*, got 'side'"):
        PixelEnv("Reacher-v5", camera="side")
    with pytest.raises(ConfigError, match=r"camera must have only azimuth, .*, got zoom"):
        PixelEnv("Reacher-v5", camera={"zoom": 2})
    with pytest.raises(ConfigError, match="proprio must be one of actuated, qpos, observation, got 'all'"):
        PixelEnv("Reacher-v5", proprio="all")
    with pytest.raises(ConfigError, match=r"objects\['cube'\] must be among the bodies world, .*, got 'box'"):
        PixelEnv("Reacher-v5", objects={"cube": "box"})
    with pytest.raises(ConfigError, match="no wrappers, got ClipAction: wrap the PixelEnv instead"):
        PixelEnv(gym.wrappers.ClipAction(gym.make("Reacher-v5")))
    with pytest.raises(ConfigError, match="must be a MuJoCo environment of gymnasium, got CartPoleEnv"):
        PixelEnv("CartPole-v1")
    with pytest.raises(ConfigError, match="max_steps must be given"):
        PixelEnv(gym.make("Reacher-v5").unwrapped.__class__())
    with pytest.raises(NumericsError, match="action must be finite"):
        make("Reacher-v5").step(np.array([np.inf, 0.0], np.float32))
