"""How sure a figure is: intervals for success rates, means and paired gains."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, sqrt
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

CHUNK = 4_000_000
"""Drawn values that a bootstrap holds in memory at once."""


@dataclass(frozen=True)
class Interval:
    """The range from ``low`` to ``high``."""

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


@dataclass(frozen=True)
class Estimate:
    """A ``mean`` and its ``interval``."""

    mean: float
    interval: Interval


@dataclass(frozen=True)
class SeedGain:
    """What training gained, over several training seeds.

    Attributes:
        mean: The mean over seeds of each seed's mean gain.
        interval: 95 % interval of the hierarchical bootstrap.
        t_interval: 95 % interval of Student's t over the seeds' means; None with one seed.
        by_seed: The mean gain of each seed.
    """

    mean: float
    interval: Interval
    t_interval: Interval | None
    by_seed: tuple[float, ...]


def wilson(successes: int, trials: int, confidence: float = 0.95) -> Interval:
    """Return the score interval of a success rate; it stays inside ``[0, 1]`` and is never empty, even at 0 or 1.

    Source: Wilson 1927, Probable inference, the law of succession, and statistical inference.

    Raises:
        ValueError: If there are no trials, ``successes`` are not among them, or ``confidence`` is not in (0, 1).
    """
    _check_counts(successes, trials)
    _check_confidence(confidence)
    z, p = NormalDist().inv_cdf((1 + confidence) / 2), successes / trials
    shrink = 1 + z**2 / trials
    middle = (p + z**2 / (2 * trials)) / shrink
    reach = z * sqrt(p * (1 - p) / trials + z**2 / (4 * trials**2)) / shrink
    low = 0.0 if successes == 0 else middle - reach
    high = 1.0 if successes == trials else middle + reach
    return Interval(low, high)


def upper_bound(successes: int, trials: int, confidence: float = 0.95) -> float:
    """Return the highest rate that so few successes still allow, one-sided and exact.

    Source: Clopper & Pearson 1934.

    Raises:
        ValueError: If there are no trials, ``successes`` are not among them, or ``confidence`` is not in (0, 1).
    """
    _check_counts(successes, trials)
    _check_confidence(confidence)
    low, high = successes / trials, 1.0
    for _ in range(60):
        rate = (low + high) / 2
        as_few = sum(comb(trials, i) * rate**i * (1 - rate) ** (trials - i) for i in range(successes + 1))
        low, high = (rate, high) if as_few > 1 - confidence else (low, rate)
    return high


def bootstrap_mean(values: npt.ArrayLike, *, seed: int, resamples: int = 10_000) -> Estimate:
    """Return the mean of ``values`` ``(m,)`` and its 95 % percentile bootstrap interval.

    Where all values are equal the interval is a point, which says less than it seems: for a success rate use
    ``wilson``.

    Raises:
        ValueError: If ``values`` are empty or not finite, or ``resamples`` is less than one.
    """
    checked = _check_values("values", values)
    _check_resamples(resamples)
    means = _resampled_means(checked, resamples, np.random.default_rng(seed))
    return Estimate(float(checked.mean()), _percentiles(means))


def paired_difference(after: npt.ArrayLike, before: npt.ArrayLike, *, seed: int, resamples: int = 10_000) -> Estimate:
    """Return the mean of ``after - before`` and its 95 % bootstrap interval over paired episodes.

    Args:
        after: Success (or any figure) of each episode ``(m,)``.
        before: The same of the other policy ``(m,)``, in the same episodes (reset seeds) in the same order.
        seed: Of the bootstrap.
        resamples: Number of resampled means.

    Raises:
        ValueError: If the two differ in length, are empty or not finite, or ``resamples`` is less than one.
    """
    return bootstrap_mean(_paired(after, before), seed=seed, resamples=resamples)


def paired_over_seeds(
    after: Sequence[npt.ArrayLike], before: Sequence[npt.ArrayLike], *, seed: int = 0, resamples: int = 10_000
) -> SeedGain:
    """Return the mean gain over training seeds, with an interval that holds for seeds not yet tried.

    The bootstrap draws training seeds, then paired episodes within each drawn seed; every seed counts alike, however
    many episodes it has. With a handful of seeds it is somewhat narrow; Student's t over the seeds' means is the second
    opinion and the wider one.

    Args:
        after: For each training seed, its episodes' success ``(m,)``.
        before: The same before training, paired episode by episode.
        seed: Of the bootstrap.
        resamples: Number of resampled means.

    Raises:
        ValueError: If the two do not pair up, are empty or not finite, or ``resamples`` is less than one.
    """
    if len(after) != len(before) or not after:
        raise ValueError(f"after and before must be as many seeds, at least 1, got {len(after)} and {len(before)}.")
    _check_resamples(resamples)
    gains = [_paired(new, old) for new, old in zip(after, before, strict=True)]
    rng = np.random.default_rng(seed)
    picks = rng.integers(len(gains), size=(resamples, len(gains)))
    drawn = np.empty(picks.shape)
    for i, gain in enumerate(gains):
        chosen = picks == i
        drawn[chosen] = _resampled_means(gain, int(chosen.sum()), rng)
    means = np.array([gain.mean() for gain in gains])
    t_interval = _t_interval(means) if len(means) > 1 else None
    return SeedGain(float(means.mean()), _percentiles(drawn.mean(axis=1)), t_interval, tuple(means.tolist()))


def t_quantile(degrees: int, confidence: float = 0.95) -> float:
    """Return ``t`` with ``P(|T| < t) = confidence`` for Student's t with ``degrees`` of freedom.

    With ``t = sqrt(degrees) tan(angle)`` the density becomes ``cos(angle) ** (degrees - 1)``, whose integral is
    tabulated and read backwards.

    Raises:
        ValueError: If ``degrees`` is less than one or ``confidence`` is not in (0, 1).
    """
    if degrees < 1:
        raise ValueError(f"degrees must be at least 1, got {degrees}.")
    _check_confidence(confidence)
    angles = np.linspace(0.0, np.pi / 2, 100_001)
    density = np.cos(angles) ** (degrees - 1)
    mass = np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1])])
    angle = np.interp(confidence, mass / mass[-1], angles)
    return float(np.sqrt(degrees) * np.tan(angle))


def mean_over_seeds(values: npt.ArrayLike) -> Estimate:
    """Return the mean of one value ``(m,)`` a training seed, with the 95 % interval of Student's t.

    Raises:
        ValueError: If there are fewer than two values, or one is not finite.
    """
    checked = _check_values("values", values)
    if len(checked) < 2:
        raise ValueError("values must be of at least 2 seeds, got 1.")
    return Estimate(float(checked.mean()), _t_interval(checked))


def _t_interval(means: Floats) -> Interval:
    reach = t_quantile(len(means) - 1) * float(means.std(ddof=1)) / sqrt(len(means))
    middle = float(means.mean())
    return Interval(middle - reach, middle + reach)


def _resampled_means(values: Floats, resamples: int, rng: np.random.Generator) -> Floats:
    """Return ``(resamples,)`` means of draws with replacement, a bounded number of draws at a time."""
    rows = max(1, CHUNK // len(values))
    sizes = [min(rows, resamples - start) for start in range(0, resamples, rows)]
    means = [values[rng.integers(len(values), size=(size, len(values)))].mean(axis=1) for size in sizes]
    return np.concatenate([np.empty(0), *means])


def _percentiles(means: Floats) -> Interval:
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(float(low), float(high))


def _paired(after: npt.ArrayLike, before: npt.ArrayLike) -> Floats:
    new, old = _check_values("after", after), _check_values("before", before)
    if len(new) != len(old):
        raise ValueError(f"after and before must be the same episodes, got {len(new)} and {len(old)} of them.")
    return new - old


def _check_values(name: str, values: npt.ArrayLike) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not len(array):
        raise ValueError(f"{name} must be (m,) with at least one value, got {array.shape}.")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, got {int((~np.isfinite(array)).sum())} that are not.")
    return array


def _check_resamples(resamples: int) -> None:
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, got {resamples}.")


def _check_counts(successes: int, trials: int) -> None:
    if trials < 1:
        raise ValueError(f"trials must be at least 1, got {trials}.")
    if not 0 <= successes <= trials:
        raise ValueError(f"successes must be in [0, {trials}], got {successes}.")


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be in (0, 1), got {confidence}.")
