"""What every table-top task promises; a task is tested by being registered."""

from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as check_env_for_sb3

import worldrl.envs  # noqa: F401
from worldrl.agents.experts import RandomActor, ScriptedActor
from worldrl.envs.registration import TABLETOP
from worldrl.envs.variation import FACTORS

IDS = [f"worldrl/{name}-v0" for name in TABLETOP]

pytestmark = pytest.mark.parametrize("name", IDS)


def make(name: str, *, size: int = 48, **kwargs: Any) -> Any:
    return gym.make(name, size=size, **kwargs).unwrapped


def play(env: Any, actor: Any, seed: int) -> Iterator[tuple[Any, Any, float, bool, bool, dict[str, Any]]]:
    """Yield what each step of one episode took and gave: ``obs, act, rew, end, trunc, info``."""
    obs, _ = env.reset(seed=seed)
    actor.begin(0, env, seed)
    over = False
    while not over:
        act = actor.act([obs], [env], np.zeros(1, int))[0]
        obs, rew, end, trunc, info = env.step(act)
        over = end or trunc
        yield obs, act, rew, end, trunc, info


def same(left: dict[str, Any], right: dict[str, Any]) -> bool:
    return left.keys() == right.keys() and all(np.array_equal(left[key], right[key]) for key in left)


@pytest.mark.fault(47)
def test_gymnasium_finds_nothing_to_complain_of(name: str) -> None:
    check_env(gym.make(name, size=48).unwrapped)


@pytest.mark.fault(47)
def test_stable_baselines_finds_nothing_to_complain_of(name: str) -> None:
    check_env_for_sb3(gym.make(name, size=64))


@pytest.mark.fault(44)
def test_a_seed_and_the_actions_determine_every_frame(name: str) -> None:
    first, second = ([step[0] for step in play(make(name), RandomActor(), 3)] for _ in range(2))
    assert len(first) == len(second)
    assert all(same(left, right) for left, right in zip(first, second, strict=True))


def test_another_seed_is_another_scene(name: str) -> None:
    env = make(name)
    first, second = (env.reset(seed=seed)[0] for seed in (0, 1))
    assert (first["image"] != second["image"]).any()
    assert (first["proprio"] != second["proprio"]).any()


def test_a_reset_forgets_the_episode_before(name: str) -> None:
    env = make(name, variation=FACTORS)
    fresh = env.reset(seed=5)[0]
    for _ in play(env, ScriptedActor(noise=0.3), 6):
        pass
    assert same(env.reset(seed=5)[0], fresh)


def test_a_recorded_moment_replays_bit_for_bit_in_a_fresh_environment(name: str) -> None:
    env, moments, steps = make(name, variation=FACTORS), [], []
    for step in play(env, ScriptedActor(noise=0.2), 7):
        moments.append((env.state(), env.fields(), env.params(), env.labels(), env.positions()))
        steps.append(step)
    k = len(steps) // 2
    state, fields, params, labels, positions = moments[k]
    other = make(name, variation=FACTORS)
    other.reset(seed=99)
    assert same(other.restore(state, fields, params), steps[k][0])
    assert np.array_equal(other.labels(), labels)
    assert np.array_equal(other.positions(), positions)
    for (obs, act, *rest), (state, *_) in zip(steps[k + 1 :], moments[k + 1 :], strict=True):
        replayed, *others = other.step(act)
        assert same(replayed, obs)
        assert others == rest
        assert np.array_equal(other.state(), state)


def test_no_observation_is_constant_and_none_is_shared(name: str) -> None:
    env = make(name)
    seen = [env.reset(seed=1)[0]] + [step[0] for step in play(env, RandomActor(), 1)]
    proprio = np.stack([obs["proprio"] for obs in seen])
    assert (proprio.std(axis=0) > 0).all()
    assert len({obs["image"].tobytes() for obs in seen}) > len(seen) // 2
    assert not any(np.shares_memory(seen[0][key], seen[-1][key]) for key in ("image", "proprio"))


def test_rewards_are_in_the_unit_interval_and_one_only_for_success(name: str) -> None:
    for actor in (RandomActor(), ScriptedActor(noise=0.2)):
        for _, _, rew, end, trunc, info in play(make(name), actor, 4):
            assert 0.0 <= rew <= 1.0
            assert end == info["success"] == (rew == 1.0)
            assert not (end and trunc)


def test_an_episode_is_truncated_after_max_steps_and_not_terminated(name: str) -> None:
    env = make(name, max_steps=3)
    env.reset(seed=0)
    ends = [env.step(np.zeros(4, np.float32))[2:4] for _ in range(3)]
    assert ends == [(False, False), (False, False), (False, True)]


def test_every_object_is_seen_at_most_starts(name: str) -> None:
    env = make(name, size=98)
    counts = np.zeros(len(env.objects))
    for seed in range(12):
        env.reset(seed=seed)
        counts += np.bincount(env.labels().ravel(), minlength=len(env.objects) + 1)[1:] >= 4
    assert (counts >= 9).all(), dict(zip(env.objects, counts, strict=True))


def test_positions_are_those_of_the_objects(name: str) -> None:
    env = make(name)
    env.reset(seed=1)
    before = env.positions()
    assert before.shape == (len(env.objects), 3) and np.abs(before).max() < 1.5
    env.step(np.array([1.0, 1.0, 0.0, 0.0], np.float32))
    moved = np.linalg.norm(env.positions() - before, axis=1)
    assert moved[0] > 0.005 and moved[1:].max() < moved[0]  # the fingers


def test_labels_lie_on_pixels_that_differ_from_the_table(name: str) -> None:
    env = make(name, size=98)
    image = env.reset(seed=2)[0]["image"].astype(int)
    table = np.median(image[env.labels() == 0], axis=0)
    for label in range(1, len(env.objects) + 1):
        pixels = image[env.labels() == label]
        assert len(pixels) == 0 or np.abs(pixels.mean(axis=0) - table).max() > 25, env.objects[label - 1]


def test_no_start_is_solved_and_the_expert_solves_it(name: str) -> None:
    env = make(name)
    for seed in range(5):
        assert not env.reset(seed=seed)[1]["success"]
        assert list(play(env, ScriptedActor(), seed))[-1][5]["success"]


@pytest.mark.parametrize("factor", FACTORS)
def test_a_factor_of_variation_changes_the_picture_and_not_the_physics(name: str, factor: str) -> None:
    plain, varied = make(name), make(name, variation=(factor,))
    assert (plain.reset(seed=8)[0]["image"] != varied.reset(seed=8)[0]["image"]).mean() > 0.01
    for _ in range(10):
        act = np.array([0.3, -0.2, -0.8, 0.5], np.float32)
        plain.step(act), varied.step(act)
    assert np.array_equal(plain.state(), varied.state())
