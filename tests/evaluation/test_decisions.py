"""Imagined decisions are held against real ones, in a world that is simple enough to count along."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import Tensor

from worldrl.errors import DataError
from worldrl.evaluation.decisions import (
    Share,
    failed_replay,
    false_success,
    missed_success,
    repeatable,
)
from worldrl.evaluation.fidelity import Replay
from worldrl.evaluation.intervals import wilson
from worldrl.types import Array, Episode, Imagined, ImaginedRun, Starts


class Line(gym.Env[Any, Any]):
    """A place on a line, moved by the action; the task is to be beyond two."""

    def __init__(self) -> None:
        self.place = 0.0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self.place = -100.0
        return {}, {}

    def restore(self, state: Array, fields: Any, params: Any) -> dict[str, Array]:
        self.place = float(state[0])
        return {}

    def step(self, action: Array) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.place += float(action[0])
        return {}, 0.0, False, False, {"success": self.place > 2}


class Dream:
    """The same line imagined, where a step is ``stretch`` times as long."""

    history, obs_shape, act_dim, success_threshold = 1, (1,), 1, 0.5

    def __init__(self, stretch: float) -> None:
        self.stretch = stretch

    def imagine(self, obs: Tensor, acts: Tensor, *, noise: Tensor, choice: Tensor) -> Imagined:
        nxt = obs[:, -1] + self.stretch * acts[:, -1]
        return Imagined(nxt, (nxt[:, 0] > 2).float(), torch.zeros(len(nxt)))


def episode(place: float, states: int = 1) -> Episode:
    """One recorded step, of which only the first state matters."""
    return Episode(
        frames=np.zeros((2, 1, 1, 3), np.uint8), labels=np.zeros((2, 1, 1), np.uint8),
        proprio=np.zeros((2, 1), np.float32), acts=np.zeros((1, 1), np.float32), rews=np.zeros(1, np.float32),
        success=np.zeros(2, np.bool_), states=np.full((2, states), place), end=False, trunc=False, seed=0, policy="",
    )  # fmt: skip


def run(acts: list[list[float]], lengths: list[int], success: list[bool]) -> ImaginedRun:
    flags = np.array(success)
    return ImaginedRun(np.array(acts, np.float32)[..., None], np.array(lengths), flags, np.zeros_like(flags), flags)


def replay(*pushes: list[float]) -> Replay:
    acts = torch.tensor(pushes)[..., None]
    return Replay(Starts(torch.zeros(len(pushes), 1, 1), torch.zeros(len(pushes), 0, 1)), acts)


def test_a_share_counts_and_knows_its_interval() -> None:
    share = Share.of([True, False, False, False])
    assert (share.count, share.trials, share.share, share.interval) == (1, 4, 0.25, wilson(1, 4))
    assert Share.of([]) == Share(0, 0, None) and Share.of([]).share is None


def test_imagined_successes_are_false_where_physics_does_not_get_there() -> None:
    # From 0: 1 + 1.5 gets beyond two, 1 + 1 does not. From 1.5: 1 does. The failure that was imagined is not asked.
    imagined = run([[1, 1.5], [1, 1], [1, 0], [9, 9]], lengths=[2, 2, 1, 2], success=[True, True, True, False])
    share = false_success(Line(), [episode(0), episode(0), episode(1.5), episode(0)], imagined)
    assert (share.count, share.trials) == (1, 3)


def test_what_comes_after_the_imagined_success_does_not_count() -> None:
    assert false_success(Line(), [episode(0)], run([[1, 0.5, 9]], [2], [True])).count == 1
    assert false_success(Line(), [episode(0)], run([[3, -3, 0]], [3], [True])).count == 0


def test_with_slack_the_last_action_is_held() -> None:
    late = run([[0.5, 0.9, 0]], lengths=[2], success=[True])  # at 1.4; one more 0.9 gets beyond two
    counts = [false_success(Line(), [episode(0)], late, slack=slack).count for slack in (0, 1)]
    assert counts == [1, 0]


def test_missed_and_made_up_successes_are_counted() -> None:
    succeeded, failed = replay([1.0, 1.1], [2.5, 0.0], [1.5, 1.5]), replay([1.0, 0.9], [0.0, 0.0])
    for stretch, missed, made_up in ((1.0, 0, 0), (0.9, 1, 0), (1.2, 0, 1)):
        assert missed_success(Dream(stretch), succeeded).count == missed
        assert failed_replay(Dream(stretch), failed).count == made_up
    assert missed_success(Dream(1.0), succeeded).trials == 3


class Wavering(Dream):
    """The line, where half of the chance takes a step for half as long again."""

    def imagine(self, obs: Tensor, acts: Tensor, *, noise: Tensor, choice: Tensor) -> Imagined:
        nxt = obs[:, -1] + torch.where(choice[:, None] < 0.5, 1.0, 1.5) * acts[:, -1]
        return Imagined(nxt, (nxt[:, 0] > 2).float(), torch.zeros(len(nxt)))


def test_only_what_succeeds_whatever_the_chance_is_repeatable() -> None:
    starts = Starts(torch.zeros(4, 1, 1), torch.zeros(4, 0, 1))
    # 3 is beyond two either way, 1.5 in half of the times; the third counts up to its end alone; the last never did.
    imagined = run([[3, 0], [1.5, 0], [1.5, 9], [3, 0]], lengths=[1, 1, 1, 1], success=[True, True, True, False])
    assert repeatable(Wavering(1.0), starts, imagined).tolist() == [True, False, False, False]
    assert repeatable(Wavering(1.0), starts, imagined, share=0.1).tolist() == [True, True, True, False]
    assert not repeatable(Wavering(1.0), starts, run([[3, 0]] * 4, [1] * 4, [False] * 4)).any()


def test_wrong_input_is_refused() -> None:
    with pytest.raises(ValueError, match="episodes must be one for each of the 1 starts, got 0"):
        false_success(Line(), [], run([[1]], [1], [True]))
    with pytest.raises(ValueError, match="slack must be at least 0, got -1"):
        false_success(Line(), [episode(0)], run([[1]], [1], [True]), slack=-1)
    with pytest.raises(DataError, match="must have simulator states"):
        false_success(Line(), [episode(0, states=0)], run([[1]], [1], [True]))
    starts = Starts(torch.zeros(1, 1, 1), torch.zeros(1, 0, 1))
    with pytest.raises(ValueError, match="starts must be one for each of the 2 episodes, got 1"):
        repeatable(Dream(1.0), starts, run([[1], [1]], [1, 1], [True, True]))
    with pytest.raises(ValueError, match=r"times must be at least 1 and share in \[0, 1\], got 0 and 0.9"):
        repeatable(Dream(1.0), starts, run([[1]], [1], [True]), times=0)
