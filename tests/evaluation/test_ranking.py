"""Rankings are held against orders that can be counted by hand."""

import numpy as np
import pytest

from worldrl.errors import DataError
from worldrl.evaluation.ranking import rank_correlation, reachable_correlation


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
    with pytest.raises(ValueError, match=r"real must be .* of at least 3 policies"):
        rank_correlation([1, 2, 3], [1, 2], seed=0)
    with pytest.raises(ValueError, match="real must be as many as imagined, 3, got 4"):
        rank_correlation([1, 2, 3], [1, 2, 3, 4], seed=0)
    with pytest.raises(ValueError, match="episodes must be as many as real, 3, got"):
        reachable_correlation([0.1, 0.2, 0.3], [10, 10], seed=0)
    with pytest.raises(DataError, match=r"imagined success must differ between policies to rank them, got 1\.0"):
        rank_correlation([1, 1, 1], [1, 2, 3], seed=0)
