"""One loop runs every policy in every environment."""

import numpy as np
import pytest
from point_mass import MAX_STEPS, Noisy, PointMass, seek

from worldrl.data.rollout import Outcome, roll_out
from worldrl.errors import DataError, NumericsError


def same(first, second):
    names = ("frames", "labels", "proprio", "acts", "rews", "success", "states")
    return first.seed == second.seed and all(np.array_equal(getattr(first, n), getattr(second, n)) for n in names)


def push(*act):
    return lambda observations, envs, slots: np.tile(np.array(act, np.float64), (len(slots), 1))


@pytest.mark.fault(44)
@pytest.mark.parametrize("slots", [2, 3, 9])
def test_results_do_not_depend_on_the_number_of_slots(slots):
    seeds = [5, 3, 8, 1, 0, 2, 7]
    alone = roll_out([PointMass()], Noisy(), seeds=seeds, record=True)
    beside = roll_out([PointMass() for _ in range(slots)], Noisy(), seeds=seeds, record=True)
    assert [episode.seed for episode in beside] == seeds
    assert all(same(a, b) for a, b in zip(alone, beside, strict=True))


def test_a_free_slot_takes_the_next_seed():
    asked = []

    def spy(observations, envs, slots):
        asked.append(len(slots))
        return seek(observations, envs, slots)

    outcomes = roll_out([PointMass(), PointMass()], spy, seeds=range(6), record=False)
    assert sum(asked) == sum(outcome.length for outcome in outcomes)
    assert set(asked[: len(asked) // 2]) == {2}  # never idle while a seed waits


def test_an_outcome_sums_up_an_episode(env):
    (episode,) = roll_out([env], seek, seeds=[4], record=True)
    (outcome,) = roll_out([env], seek, seeds=[4], record=False)
    assert outcome == Outcome(4, True, len(episode), pytest.approx(float(episode.rews.sum()), rel=1e-6))


def test_an_episode_stops_at_its_first_success_unless_told_otherwise(env):
    (short,) = roll_out([env], seek, seeds=[4], record=True)
    (long,) = roll_out([env], seek, seeds=[4], record=True, beyond=1000)
    assert short.success.tolist() == [False] * len(short) + [True]
    assert (short.end, short.trunc) == (False, False)
    assert len(long) == MAX_STEPS and long.trunc and long.success.any()
    assert np.array_equal(long.frames[: len(short) + 1], short.frames)


def test_everything_that_a_replay_needs_is_recorded(env):
    (episode,) = roll_out([env], push(1, -1), seeds=[2], record=True, policy="push")
    env.reset(seed=2)
    assert episode.policy == "push" and episode.seed == 2
    assert np.array_equal(episode.fields["goal"], env.fields()["goal"]) and episode.params == env.params()
    assert np.array_equal(episode.states[0], env.state()) and np.array_equal(episode.labels[0], env.labels())
    assert np.array_equal(episode.acts, np.tile(np.float32([1, -1]), (len(episode), 1)))
    assert not np.array_equal(episode.states[0], episode.states[1])  # the simulator's own arrays are copied


def test_results_are_told_as_they_come(env):
    told, counted = [], []
    outcomes = roll_out(
        [env], seek, seeds=[1, 2], record=False, on_episode=told.append, progress=lambda *counts: counted.append(counts)
    )
    assert told == outcomes and counted == [(1, 2), (2, 2)]


@pytest.mark.fault(37)
def test_an_action_that_is_not_finite_is_named_by_seed_and_step(env):
    calls = []

    def stumble(observations, envs, slots):
        calls.append(1)
        return np.full((1, 2), np.nan if len(calls) == 3 else 0.0)

    with pytest.raises(NumericsError, match=r"action must be finite, got \[nan, nan\] \(seed 11, step 2\)"):
        roll_out([env], stumble, seeds=[11], record=False)


@pytest.mark.fault(14, 38)
def test_actions_of_another_policy_are_refused(env):
    with pytest.raises(DataError, match=r"actions must be \(1, 2\), got \(1, 3\)"):
        roll_out([env], push(0, 0, 0), seeds=[0], record=False)
    with pytest.raises(DataError, match=r"action must lie in the action space, got \[2.0, 0.0\] \(seed 0, step 0\)"):
        roll_out([env], push(2, 0), seeds=[0], record=False)


@pytest.mark.fault(20)
def test_a_reward_that_is_not_finite_is_refused(env, monkeypatch):
    monkeypatch.setattr(env, "step", lambda act: (env._observe(), float("nan"), False, False, {"success": False}))
    with pytest.raises(NumericsError, match=r"reward must be finite, got nan \(seed 6, step 0\)"):
        roll_out([env], push(0, 0), seeds=[6], record=False)


def test_an_environment_that_hides_success_is_refused(env, monkeypatch):
    monkeypatch.setattr(env, "step", lambda act: (env._observe(), 0.0, False, False, {}))
    with pytest.raises(DataError, match="info must hold 'success'"):
        roll_out([env], push(0, 0), seeds=[6], record=False)


def test_needs_an_environment():
    with pytest.raises(ValueError, match="envs must hold at least 1 environment, got 0"):
        roll_out([], seek, seeds=[0], record=False)


def test_an_episode_goes_on_as_far_beyond_its_success_as_it_is_told(env):
    (short,) = roll_out([env], seek, seeds=[4], record=True)
    (further,) = roll_out([env], seek, seeds=[4], record=True, beyond=2)
    assert len(further) == len(short) + 2 and further.success.argmax() == len(short)
