"""Intervals agree with hand calculations and cover what they promise to."""

from typing import Any

import numpy as np
import pytest

from worldrl.evaluation.intervals import (
    bootstrap_mean,
    mean_over_seeds,
    paired_difference,
    paired_over_seeds,
    t_quantile,
    upper_bound,
    wilson,
)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(8, 10, 0.4902, 0.9433), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (50, 100, 0.4038, 0.5962)],
)
def test_wilson_agrees_with_the_textbook(successes: int, trials: int, low: float, high: float) -> None:
    interval = wilson(successes, trials)
    assert (interval.low, interval.high) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


def test_wilson_is_wider_where_more_confidence_is_asked() -> None:
    sure, unsure = wilson(8, 10, confidence=0.99), wilson(8, 10, confidence=0.8)
    assert sure.low < unsure.low < 0.8 < unsure.high < sure.high
    assert 0.8 in unsure
    assert 0.95 not in unsure


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 0), "trials must be at least 1, got 0"),
        ((3, 2), r"successes must be in \[0, 2\], got 3"),
        ((-1, 2), r"successes must be in \[0, 2\], got -1"),
        ((1, 2, 1.0), r"confidence must be in \(0, 1\), got 1.0"),
    ],
)
@pytest.mark.parametrize("figure", [wilson, upper_bound])
def test_impossible_counts_are_refused(figure: Any, arguments: tuple[int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        figure(*arguments)


def test_none_of_eighteen_still_allows_fifteen_per_cent() -> None:
    assert upper_bound(0, 18) == pytest.approx(1 - 0.05 ** (1 / 18), abs=1e-6)
    assert upper_bound(0, 18) == pytest.approx(0.153, abs=1e-3)
    assert upper_bound(18, 18) == 1.0


def test_the_bootstrap_of_a_mean_is_as_wide_as_the_normal_one() -> None:
    values = np.random.default_rng(0).normal(2.0, 1.0, size=400)
    estimate = bootstrap_mean(values, seed=0)
    assert estimate.mean == pytest.approx(values.mean())
    reach = 1.96 * values.std() / 20
    assert estimate.interval.low == pytest.approx(values.mean() - reach, abs=0.01)
    assert estimate.interval.high == pytest.approx(values.mean() + reach, abs=0.01)


def test_the_bootstrap_is_the_same_under_its_seed() -> None:
    values = np.arange(20)
    assert bootstrap_mean(values, seed=1) == bootstrap_mean(values, seed=1)
    assert bootstrap_mean(values, seed=1) != bootstrap_mean(values, seed=2)


def test_pairing_episodes_narrows_the_interval() -> None:
    easy = np.arange(100) < 50
    after = easy | (np.arange(100) >= 90)
    paired = paired_difference(after, easy, seed=0)
    assert paired.mean == pytest.approx(0.1)
    assert 0 < paired.interval.low < 0.1 < paired.interval.high < 0.17
    unpaired = paired_difference(after, np.random.default_rng(0).permutation(easy), seed=0)
    assert unpaired.mean == pytest.approx(0.1)
    assert unpaired.interval.low < 0


def test_no_difference_is_zero_with_zero_inside() -> None:
    estimate = paired_difference([True, False, True, False], [False, True, True, False], seed=0)
    assert estimate.mean == 0
    assert 0.0 in estimate.interval


def test_values_must_be_there_finite_and_paired() -> None:
    with pytest.raises(ValueError, match=r"values must be \(m,\) with at least one value, got \(0,\)"):
        bootstrap_mean([], seed=0)
    with pytest.raises(ValueError, match="values must be finite, got 1 that are not"):
        bootstrap_mean([0.0, np.nan], seed=0)
    with pytest.raises(ValueError, match="resamples must be at least 1, got 0"):
        bootstrap_mean([0.0], seed=0, resamples=0)
    with pytest.raises(ValueError, match="the same episodes, got 2 and 1 of them"):
        paired_difference([True, False], [True], seed=0)
    with pytest.raises(ValueError, match="as many seeds, at least 1, got 1 and 2"):
        paired_over_seeds([[True]], [[True], [False]])


@pytest.mark.parametrize(
    ("degrees", "confidence", "quantile"),
    [(1, 0.95, 12.7062), (2, 0.95, 4.3027), (4, 0.95, 2.7764), (9, 0.99, 3.2498), (1000, 0.95, 1.9623)],
)
def test_the_quantiles_of_students_t_agree_with_the_table(degrees: int, confidence: float, quantile: float) -> None:
    assert t_quantile(degrees, confidence) == pytest.approx(quantile, abs=1e-4)


def test_the_gain_over_seeds_counts_every_seed_alike() -> None:
    gain = paired_over_seeds([np.ones(10), np.zeros(90), np.ones(10)], [np.zeros(10), np.zeros(90), np.zeros(10)])
    assert gain.by_seed == (1.0, 0.0, 1.0)
    assert gain.mean == pytest.approx(2 / 3)
    assert (gain.interval.low, gain.interval.high) == (0.0, 1.0)


def test_students_t_over_seeds_agrees_with_the_hand() -> None:
    gain = paired_over_seeds([[0.1], [0.2], [0.3]], [[0.0], [0.0], [0.0]])
    assert gain.t_interval is not None
    reach = 4.30265 * 0.1 / np.sqrt(3)
    assert gain.t_interval.low == pytest.approx(0.2 - reach, abs=1e-5)
    assert gain.t_interval.high == pytest.approx(0.2 + reach, abs=1e-5)


def test_one_seed_has_no_t_interval_and_the_bootstrap_of_its_episodes() -> None:
    after, before = np.arange(50) < 30, np.arange(50) < 20
    gain, single = paired_over_seeds([after], [before], seed=3), paired_difference(after, before, seed=4)
    assert gain.t_interval is None
    assert gain.interval.low == pytest.approx(single.interval.low, abs=0.021)
    assert gain.interval.high == pytest.approx(single.interval.high, abs=0.021)


def test_the_hierarchical_bootstrap_sees_both_seeds_and_episodes() -> None:
    rng = np.random.default_rng(0)
    spread = np.repeat([-0.3, -0.1, 0.1, 0.3], 25).reshape(4, 25)
    noisy = spread + rng.normal(0, 1.0, size=spread.shape)
    zeros = np.zeros_like(spread)

    def width(values: np.ndarray) -> float:
        interval = paired_over_seeds(list(values), list(zeros)).interval
        return interval.high - interval.low

    only_seeds = 2 * 1.96 * spread[:, 0].std() / 2
    assert width(spread) == pytest.approx(only_seeds, rel=0.1)
    assert width(noisy) > 1.5 * width(spread)


def test_the_mean_over_seeds_has_students_interval() -> None:
    found = mean_over_seeds([1.0, 2.0, 3.0])
    assert found.mean == 2.0 and found.interval.high == pytest.approx(2 + 4.30265 / 3**0.5, abs=1e-4)
    with pytest.raises(ValueError, match="values must be of at least 2 seeds, got 1"):
        mean_over_seeds([1.0])
