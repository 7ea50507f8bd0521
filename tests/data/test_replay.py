"""A recorded moment can be lived again."""

import dataclasses

import gymnasium as gym
import numpy as np
import pytest
from point_mass import MAX_STEPS, Noisy, PointMass

from worldrl.data.replay import first_difference, replay, succeeds
from worldrl.data.rollout import roll_out
from worldrl.errors import DataError


@pytest.fixture
def episode(env):
    return roll_out([env], Noisy(), seeds=[3], record=True)[0]


@pytest.mark.parametrize("start", [0, 4, MAX_STEPS])
def test_every_step_comes_back_bit_for_bit(episode, start):
    wrapped = gym.wrappers.OrderEnforcing(PointMass())
    again = replay(wrapped, episode, start=start)
    assert np.array_equal(again.states, episode.states[start:])
    assert np.array_equal(again.frames, episode.frames[start:])
    assert np.array_equal(again.proprio, episode.proprio[start:])
    assert first_difference(wrapped, episode, start=start) is None


def test_the_first_step_that_differs_is_named(env, episode):
    acts = episode.acts.copy()
    acts[6] *= 0.5
    assert first_difference(env, dataclasses.replace(episode, acts=acts), start=2) == 7
    assert first_difference(env, dataclasses.replace(episode, acts=acts), start=7) is None
    frames = episode.frames.copy()
    frames[5, 0, 0, 0] ^= 1
    assert first_difference(env, dataclasses.replace(episode, frames=frames), start=2) == 5
    assert first_difference(env, dataclasses.replace(episode, params={"shade": 1}), start=2) == 2


def test_a_moment_that_was_not_recorded_is_refused(env, episode):
    with pytest.raises(DataError, match=r"start must be in \[0, 12\] for seed 3, got 13"):
        replay(env, episode, start=13)
    empty = dataclasses.replace(episode, states=np.zeros((len(episode) + 1, 0)))
    with pytest.raises(DataError, match="must have simulator states, got none"):
        replay(env, empty, start=0)


def test_other_actions_from_a_recorded_moment_succeed_or_fail(env, record):
    (episode,) = record(3)
    assert episode.success.any()
    first = int(episode.success.argmax())
    assert succeeds(env, episode, episode.acts)
    assert succeeds(env, episode, episode.acts[:first])
    assert not succeeds(env, episode, episode.acts[: first - 1])
    assert succeeds(env, episode, episode.acts[first - 1 :], start=first - 1)
    assert not succeeds(env, episode, -episode.acts)


def test_an_episode_that_ends_ends_the_replay(env, record):
    (episode,) = record(3)
    late = np.concatenate([np.zeros((MAX_STEPS, 2)), episode.acts])
    assert not succeeds(env, episode, late)


def test_only_physics_is_asked_where_pictures_can_be_left_out(record):
    (episode,) = record(3)
    sim, seen = PointMass(), []
    sim.drawing = True
    observe = sim._observe
    sim._observe = lambda: seen.append(sim.drawing) or observe()
    assert succeeds(gym.wrappers.OrderEnforcing(sim), episode, episode.acts)
    assert seen and not any(seen)
    assert sim.drawing
    with pytest.raises(DataError):
        succeeds(sim, episode, episode.acts, start=99)
    assert sim.drawing
