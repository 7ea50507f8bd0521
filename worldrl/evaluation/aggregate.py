"""One figure for many tasks and seeds, with how sure it is.

Scores are a sequence of arrays, one a task, each with one score a training seed; tasks may have different numbers of
seeds. The bootstrap draws seeds within each task, so that tasks are fixed and seeds are the chance.

Source: Agarwal et al. 2021, Deep reinforcement learning at the edge of the statistical precipice (arXiv:2108.13264).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from worldrl.evaluation.intervals import Estimate, Interval

Floats = npt.NDArray[np.float64]
Scores = Sequence[npt.ArrayLike]


@dataclass(frozen=True)
class Profile:
    """The share of runs above each threshold, averaged over tasks, with pointwise 95 % intervals; ``(k,)`` each."""

    thresholds: Floats
    share: Floats
    low: Floats
    high: Floats


def interquartile_mean(scores: Scores, *, seed: int, resamples: int = 2000) -> Estimate:
    """Return the mean of the middle half of all runs, and its 95 % stratified bootstrap interval.

    It is robust to outlying runs, as the median is, and uses half of the runs rather than one. A quarter of the runs,
    rounded down, is cut off at each end.

    Raises:
        ValueError: If a task has no scores, one is not finite, or ``resamples`` is less than one.
    """
    return _estimate(_middle_mean, [_check_tasks(scores)], seed, resamples)


def probability_of_improvement(x: Scores, y: Scores, *, seed: int, resamples: int = 2000) -> Estimate:
    """Return how probably a run of ``x`` beats one of ``y`` on a random task, with its 95 % bootstrap interval.

    The Mann-Whitney statistic of each task, averaged over tasks; a tie is half a win.

    Raises:
        ValueError: If the two have different tasks, one has no scores, one is not finite, or ``resamples`` is less
            than one.
    """
    pair = [_check_tasks(x), _check_tasks(y)]
    if len(pair[0]) != len(pair[1]):
        raise ValueError(f"x and y must be scores of the same tasks, got {len(pair[0])} and {len(pair[1])} of them.")
    return _estimate(_wins, pair, seed, resamples)


def performance_profile(scores: Scores, thresholds: npt.ArrayLike, *, seed: int, resamples: int = 2000) -> Profile:
    """Return the share of runs that score above each threshold, averaged over tasks.

    Raises:
        ValueError: If a task has no scores, one is not finite, ``thresholds`` are not ``(k,)``, or ``resamples`` is
            less than one.
    """
    tasks, levels = _check_tasks(scores), np.asarray(thresholds, np.float64)
    if levels.ndim != 1 or not len(levels):
        raise ValueError(f"thresholds must be (k,) with at least one, got {levels.shape}.")
    shares = [_above(tasks, levels), _above(_resampled(tasks, np.random.default_rng(seed), resamples), levels)]
    low, high = np.quantile(shares[1], [0.025, 0.975], axis=0)
    return Profile(levels, shares[0], low, high)


def _estimate(statistic: Callable[..., Floats], sides: list[list[Floats]], seed: int, resamples: int) -> Estimate:
    rng = np.random.default_rng(seed)
    drawn = statistic(*(_resampled(tasks, rng, resamples) for tasks in sides))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Estimate(float(statistic(*sides)), Interval(float(low), float(high)))


def _resampled(tasks: list[Floats], rng: np.random.Generator, resamples: int) -> list[Floats]:
    """Return draws with replacement within each task, ``(resamples, seeds)`` each."""
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, got {resamples}.")
    return [task[rng.integers(len(task), size=(resamples, len(task)))] for task in tasks]


def _middle_mean(tasks: list[Floats]) -> Floats:
    runs = np.sort(np.concatenate(tasks, axis=-1), axis=-1)
    cut = runs.shape[-1] // 4
    return np.asarray(runs[..., cut : runs.shape[-1] - cut].mean(axis=-1))


def _wins(x: list[Floats], y: list[Floats]) -> Floats:
    """Return the mean over tasks of the share of pairs that ``x`` wins."""
    margins = [ours[..., :, None] - theirs[..., None, :] for ours, theirs in zip(x, y, strict=True)]
    return np.asarray(np.mean([((margin > 0) + 0.5 * (margin == 0)).mean(axis=(-2, -1)) for margin in margins], axis=0))


def _above(tasks: list[Floats], levels: Floats) -> Floats:
    """Return ``(..., k)``."""
    return np.asarray(np.mean([(task[..., None, :] > levels[:, None]).mean(axis=-1) for task in tasks], axis=0))


def _check_tasks(scores: Scores) -> list[Floats]:
    tasks = [np.asarray(task, np.float64) for task in scores]
    if not tasks:
        raise ValueError("scores must be of at least 1 task, got 0.")
    for i, task in enumerate(tasks):
        if task.ndim != 1 or not len(task) or not np.isfinite(task).all():
            raise ValueError(f"scores of task {i} must be (seeds,) finite numbers, at least 1, got {task.tolist()}.")
    return tasks
