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
    rank_correlation,
    reachable_correlation,
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


def test_one_swap_among_four_policies_costs_a_fifth() -> None:
    # 1 - 6 (0 + 1 + 1 + 0) / (4 (16 - 1)) = 0.8
    result = rank_correlation([0.9, 0.8, 0.7, 0.1], [0.6, 0.4, 0.5, 0.3], seed=0)
    assert result.rho == pytest.approx(0.8)
    assert result.spread == pytest.approx(30)
    assert result.policies == 4
    assert result.interval.low < 0.8 <= result.interval.high <= 1


def test_ties_share_their_mean_rank() -> None:
    # Ranks 1.5 1.5 3 4 against 1 2 3 4, each less 2.5: products 1.5 + 0.5 + 0.25 + 2.25 = 4.5; squares 4.5 and 5.
    assert rank_correlation([0, 0, 1, 2], [1, 2, 3, 4], seed=0).rho == pytest.approx(4.5 / (4.5 * 5) ** 0.5)


def test_only_the_order_matters() -> None:
    imagined, real = np.array([0.1, 0.5, 0.2, 0.9]), np.array([1.0, 2.0, 4.0, 3.0])
    first, second = rank_correlation(imagined, real, seed=3), rank_correlation(imagined**3, np.exp(real), seed=3)
    assert (first.rho, first.interval) == (second.rho, second.interval)
    assert rank_correlation(imagined, -imagined, seed=0).rho == pytest.approx(-1)


def test_chance_in_few_episodes_bounds_what_ranking_can_reach() -> None:
    real = np.linspace(0.4, 0.6, 12)
    few, many = (reachable_correlation(real, np.full(12, count), seed=0) for count in (20, 10_000))
    assert few == 0.0 and many > 0.98  # a spread of 6 points is less than the chance of 11 in twenty episodes
    rng, true = np.random.default_rng(0), np.linspace(0.1, 0.9, 200)
    first, second = (rng.binomial(10, true) / 10 for _ in range(2))
    reached = rank_correlation(true, second, seed=0, resamples=1).rho
    assert reachable_correlation(first, np.full(200, 10), seed=0) == pytest.approx(reached, abs=0.03)


def test_wrong_input_is_refused() -> None:
    with pytest.raises(ValueError, match="episodes must be one for each of the 1 starts, got 0"):
        false_success(Line(), [], run([[1]], [1], [True]))
    with pytest.raises(ValueError, match="slack must be at least 0, got -1"):
        false_success(Line(), [episode(0)], run([[1]], [1], [True]), slack=-1)
    with pytest.raises(DataError, match="must have simulator states"):
        false_success(Line(), [episode(0, states=0)], run([[1]], [1], [True]))
    with pytest.raises(ValueError, match=r"real must be .* of at least 3 policies"):
        rank_correlation([1, 2, 3], [1, 2], seed=0)
    with pytest.raises(ValueError, match="real must be as many as imagined, 3, got 4"):
        rank_correlation([1, 2, 3], [1, 2, 3, 4], seed=0)
    with pytest.raises(ValueError, match="episodes must be as many as real, 3, got"):
        reachable_correlation([0.1, 0.2, 0.3], [10, 10], seed=0)
    with pytest.raises(DataError, match=r"imagined success must differ between policies to rank them, got 1\.0"):
        rank_correlation([1, 1, 1], [1, 2, 3], seed=0)
