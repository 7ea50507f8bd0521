"""An episode is checked at the door."""

import dataclasses

import numpy as np
import pytest

from worldrl.data.episode import check_episode
from worldrl.errors import DataError


def spoiled(array, index, value):
    copy = array.copy()
    copy[index] = value
    return copy


def test_a_recorded_episode_passes(record):
    (episode,) = record(0)
    check_episode(episode, act_dim=2, frame_shape=(8, 8, 3))


@pytest.mark.fault(19, 20, 21, 22)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: {"frames": e.frames[:-1]}, r"seed 7: frames must be \(\d+, 8, 8, 3\), got"),
        (lambda e: {"frames": e.frames.astype(np.float32)}, "frames must be uint8, got float32"),
        (lambda e: {"frames": e.frames.transpose(0, 3, 1, 2)}, r"frames must be \(t\+1, h, w, 3\), got"),
        (lambda e: {"labels": e.labels[:, :4]}, r"labels must be \(\d+, 8, 8\), got"),
        (lambda e: {"acts": e.acts[:0]}, "with t at least 1"),
        (lambda e: {"acts": e.acts.astype(np.float64)}, "acts must be float32, got float64"),
        (lambda e: {"acts": spoiled(e.acts, 2, 1.5)}, r"acts must be in \[-1, 1\], got \[1.5, 1.5\] at step 2"),
        (lambda e: {"acts": spoiled(e.acts, (1, 0), np.nan)}, "acts must be finite, got .* at step 1"),
        (lambda e: {"rews": spoiled(e.rews, 3, -np.inf)}, "rews must be finite, got -inf at step 3"),
        (lambda e: {"proprio": spoiled(e.proprio, (4, 1), np.nan)}, "proprio must be finite, got .* at step 4"),
        (lambda e: {"states": spoiled(e.states, (0, 0), np.inf)}, "states must be finite, got .* at step 0"),
        (lambda e: {"success": e.success.astype(np.float32)}, "success must be bool, got float32"),
        (lambda e: {"success": e.success[1:]}, r"success must be \(\d+\), got"),
        (lambda e: {"params": {"mass": np.float32(1)}}, "params must be plain JSON values"),
        (lambda e: {"params": {"mass": float("nan")}}, "params must be plain JSON values"),
        (lambda e: {"fields": {"goal": np.array([None])}}, "field 'goal' must be an array of numbers"),
    ],
)
def test_what_is_wrong_is_named(record, change, message):
    (episode,) = record(7)
    with pytest.raises(DataError, match=message):
        check_episode(dataclasses.replace(episode, **change(episode)))


@pytest.mark.fault(19)
def test_sizes_of_another_environment_are_refused(record):
    (episode,) = record(0)
    with pytest.raises(DataError, match=r"acts must be \(\d+, 4\), got"):
        check_episode(episode, act_dim=4)
    with pytest.raises(DataError, match=r"frames must be \(\d+, 64, 64, 3\), got"):
        check_episode(episode, frame_shape=(64, 64, 3))


def test_an_episode_without_states_passes(record):
    (episode,) = record(0)
    check_episode(dataclasses.replace(episode, states=np.zeros((len(episode) + 1, 0))))
