"""Aggregates over tasks and seeds, with values worked out by hand."""

import numpy as np
import pytest

from worldrl.evaluation.aggregate import interquartile_mean, performance_profile, probability_of_improvement


def test_the_middle_half_of_eight_runs_is_four_of_them() -> None:
    scores = [[8, 1, 3, 100], [4, 5, 6, -50]]
    # Sorted: -50 1 | 3 4 5 6 | 8 100.
    assert interquartile_mean(scores, seed=0).mean == 4.5


def test_a_quarter_is_rounded_down() -> None:
    assert interquartile_mean([[1, 2, 6]], seed=0).mean == 3
    assert interquartile_mean([[0, 1, 2, 6, 90]], seed=0).mean == 3


def test_seeds_are_drawn_within_their_task() -> None:
    # Each task's seeds agree, so that no draw within a task changes anything. Sorted: 0 0 | 0 1 1 1 5 | 5 5.
    estimate = interquartile_mean([[0, 0, 0], [1, 1, 1], [5, 5, 5]], seed=0)
    assert estimate.interval.low == estimate.interval.high == estimate.mean == 1.6


def test_the_interval_holds_the_mean_and_narrows_with_more_seeds() -> None:
    rng = np.random.default_rng(0)
    few, many = ([rng.normal(size=n) for _ in range(3)] for n in (5, 50))
    wide, narrow = interquartile_mean(few, seed=0), interquartile_mean(many, seed=0)
    assert wide.mean in wide.interval and narrow.mean in narrow.interval
    assert narrow.interval.high - narrow.interval.low < 0.5 * (wide.interval.high - wide.interval.low)
    assert interquartile_mean(few, seed=0) == wide


def test_a_tie_is_half_a_win_and_every_task_counts_alike() -> None:
    # Task one: 3 beats 1 and 2, 2 beats 1 and ties: 3.5 of 4. Task two, of another number of seeds: 0 of 3.
    estimate = probability_of_improvement([[3, 2], [0]], [[1, 2], [5, 6, 7]], seed=0)
    assert estimate.mean == pytest.approx((3.5 / 4 + 0) / 2)


def test_the_two_probabilities_of_improvement_add_up_to_one() -> None:
    x, y = [[1, 4, 2], [3, 3]], [[2, 2], [1, 5, 3]]
    both = [probability_of_improvement(*pair, seed=0).mean for pair in ((x, y), (y, x))]
    assert sum(both) == pytest.approx(1)


def test_a_clear_improvement_has_no_doubt() -> None:
    estimate = probability_of_improvement([[5, 6], [9, 8]], [[1, 2], [3, 4]], seed=0)
    assert (estimate.mean, estimate.interval.low, estimate.interval.high) == (1, 1, 1)


def test_the_profile_is_the_share_of_runs_strictly_above() -> None:
    profile = performance_profile([[0.2, 0.8], [0.5, 0.5, 0.9, 1.0]], [0.0, 0.5, 0.9], seed=0)
    assert profile.share.tolist() == [1.0, (1 / 2 + 2 / 4) / 2, (0 + 1 / 4) / 2]
    assert (profile.low <= profile.share).all() and (profile.share <= profile.high).all()
    assert profile.low.shape == (3,)


def test_scores_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="scores must be of at least 1 task, got 0"):
        interquartile_mean([], seed=0)
    with pytest.raises(ValueError, match=r"scores of task 1 must be \(seeds,\) finite numbers, at least 1, got \[\]"):
        interquartile_mean([[1.0], []], seed=0)
    with pytest.raises(ValueError, match=r"scores of task 0 .* got \[nan\]"):
        interquartile_mean([[float("nan")]], seed=0)
    with pytest.raises(ValueError, match="same tasks, got 1 and 2"):
        probability_of_improvement([[1]], [[1], [2]], seed=0)
    with pytest.raises(ValueError, match=r"thresholds must be \(k,\)"):
        performance_profile([[1]], 0.5, seed=0)
    with pytest.raises(ValueError, match="resamples must be at least 1, got 0"):
        performance_profile([[1]], [0.5], seed=0, resamples=0)
