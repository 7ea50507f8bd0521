"""Whether imagination ranks policies as reality does."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from worldrl.errors import DataError
from worldrl.evaluation.intervals import Interval
from worldrl.types import Array

FEWEST = 3
"""Policies that can be ranked; of two there are only two orders."""


@dataclass(frozen=True)
class RankCorrelation:
    """How alike two rankings of policies are.

    Attributes:
        rho: Spearman's coefficient in ``[-1, 1]``: 1 is the same order.
        interval: 95 % percentile bootstrap interval over policies.
        spread: Points between the best and the worst real success. Where it is small, ``rho`` is mostly chance.
        policies: How many were ranked.
    """

    rho: float
    interval: Interval
    spread: float
    policies: int


def rank_correlation(
    imagined: npt.ArrayLike, real: npt.ArrayLike, *, seed: int, resamples: int = 2000
) -> RankCorrelation:
    """Return Spearman's correlation of imagined with real success over policies; ties share their mean rank.

    Resamples in which all policies have the same success have no order and are left out of the interval.

    Args:
        imagined: Imagined success of each policy ``(m,)``, in ``[0, 1]``.
        real: Real success of the same policies ``(m,)``.
        seed: Of the bootstrap.
        resamples: Number of resampled sets of policies.

    Raises:
        ValueError: If there are fewer than three policies, the two are not as many, or ``resamples`` is less than one.
        DataError: If all policies have the same imagined, or the same real, success.
    """
    x, y = _check("imagined", imagined), _check("real", real)
    if len(x) != len(y):
        raise ValueError(f"real must be as many as imagined, {len(x)}, got {len(y)}: one figure a policy.")
    pair = np.stack([x, y])
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, got {resamples}.")
    for name, values in zip(("imagined", "real"), pair, strict=True):
        if np.ptp(values) == 0:
            raise DataError(f"{name} success must differ between policies to rank them, got {values[0]} for all.")
    count = pair.shape[1]
    picks = np.random.default_rng(seed).integers(count, size=(resamples, count))
    drawn = np.array([spearman(*pair[:, pick]) for pick in picks])
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return RankCorrelation(spearman(*pair), Interval(float(low), float(high)), 100 * float(np.ptp(pair[1])), count)


def reachable_correlation(real: npt.ArrayLike, episodes: npt.ArrayLike, *, seed: int, resamples: int = 500) -> float:
    """Return the rank correlation that imagined success without any error would have with measured success.

    Measured success is a count of episodes, and policies close to each other change places by chance. The figures are
    drawn together until they spread as far as is beyond chance, taken for true, and measured again (our choice).

    Args:
        real: Real success of each policy ``(m,)``, in ``[0, 1]``.
        episodes: In how many episodes each was measured ``(m,)``.
        seed: Of the figures measured again.
        resamples: How often they are measured again.

    Raises:
        ValueError: If there are fewer than three policies, or the two are not as many.
    """
    measured, counts = _check("real", real), np.asarray(episodes, np.int64)
    if counts.shape != measured.shape:
        raise ValueError(f"episodes must be as many as real, {len(measured)}, got {counts.shape}.")
    spread, chance = measured.var(), np.mean(measured * (1 - measured) / counts)
    if spread <= chance:
        return 0.0
    true = measured.mean() + (measured - measured.mean()) * np.sqrt(1 - chance / spread)
    again = np.random.default_rng(seed).binomial(counts, true, size=(resamples, len(true))) / counts
    return float(np.nanmean([spearman(true, figures) for figures in again]))


def spearman(x: npt.ArrayLike, y: npt.ArrayLike) -> float:
    """Return Spearman's correlation of ``(m,)`` with ``(m,)``; NaN where one of them has no order."""
    apart = [ranks - ranks.mean() for ranks in (_ranks(np.asarray(one)) for one in (x, y))]
    size = np.sqrt(np.square(apart[0]).sum() * np.square(apart[1]).sum())
    return float(apart[0] @ apart[1] / size) if size > 0 else float("nan")


def _ranks(x: Array) -> Array:
    """Return ranks from one; equal values share the mean of theirs."""
    below, equal = (x[None] < x[:, None]).sum(axis=1), (x[None] == x[:, None]).sum(axis=1)
    return np.asarray(below + (equal + 1) / 2)


def _check(name: str, values: npt.ArrayLike) -> Array:
    array = np.asarray(values, np.float64)
    if array.ndim != 1 or len(array) < FEWEST or not np.isfinite(array).all():
        raise ValueError(f"{name} must be (m,) finite numbers of at least {FEWEST} policies, got {array.tolist()}.")
    return array
