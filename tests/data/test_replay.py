"""A recorded moment can be lived again."""

import dataclasses

import gymnasium as gym
import numpy as np
import pytest
from point_mass import MAX_STEPS, Noisy, PointMass

from worldrl.data.replay import first_difference, replay
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
