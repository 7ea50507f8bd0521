"""How much of where a thing is can be read off some numbers by a linear map."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from worldrl.types import Array

Floats = npt.NDArray[np.float64]
PENALTIES = tuple(10.0**power for power in range(-1, 6))
"""Penalties on weights of standardised inputs, in rows, of which a part of the episodes that are learned from chooses
(our choice)."""
LEAST = 5
"""Episodes that a probe needs: some to fit on, some to choose on, some held out."""
SHARES = (0.6, 0.2)
"""Shares of the episodes to fit on and to choose the penalty on; the rest is held out (our choice)."""


@dataclass(frozen=True)
class ProbeFigures:
    """What a linear probe reads in held-out episodes.

    Attributes:
        r2: Share of the variance of the places that it explains, over all their coordinates together.
        error: Mean distance to the true place, in the unit of the places.
        blind: The same of a guess that reads nothing, the mean place of the other episodes.
        penalty: The one that was chosen.
        rows: How many the probe was fitted on in the end.
    """

    r2: float
    error: float
    blind: float
    penalty: float
    rows: int


def probe(inputs: Array, places: Array, owner: Array, *, seed: int) -> ProbeFigures:
    """Fit a ridge regression to some episodes and measure it on others.

    The penalty is that with the least squared error on episodes of their own; then it is fitted again to these and the
    others together.

    Args:
        inputs: ``(n, d)``.
        places: ``(n, c)``.
        owner: ``(n,)``, which episode a row is of; all rows of an episode are on one side.
        seed: Of which episodes are on which side.

    Raises:
        ValueError: If the three do not go together, or there are fewer than five episodes.
    """
    if not len(inputs) == len(places) == len(owner):
        raise ValueError(
            f"inputs, places and owner must be equally many, got {len(inputs)}, {len(places)} and {len(owner)}."
        )
    fitted, choosing, held_out = split(owner, seed=seed)
    x, y = np.asarray(inputs, np.float64), np.asarray(places, np.float64)
    misses = [float(np.square(guess - y[choosing]).sum()) for guess in _ridge(x[fitted], y[fitted], x[choosing])]
    best = int(np.argmin(misses))
    learned = fitted | choosing
    guess, true = _ridge(x[learned], y[learned], x[held_out])[best], y[held_out]
    left, spread = np.square(guess - true).sum(), np.square(true - true.mean(axis=0)).sum()
    return ProbeFigures(
        r2=float(1 - left / spread),
        error=float(np.linalg.norm(guess - true, axis=1).mean()),
        blind=float(np.linalg.norm(y[learned].mean(axis=0) - true, axis=1).mean()),
        penalty=PENALTIES[best],
        rows=int(learned.sum()),
    )


def split(owner: Array, *, seed: int) -> tuple[Array, Array, Array]:
    """Return which rows ``(n,)`` are to fit on, to choose the penalty on, and held out: whole episodes each.

    Raises:
        ValueError: If there are fewer than five episodes.
    """
    episodes = np.random.default_rng(seed).permutation(np.unique(owner))
    if len(episodes) < LEAST:
        raise ValueError(f"rows must be of at least {LEAST} episodes, got {len(episodes)}.")
    first, second = (round(share * len(episodes)) for share in np.cumsum(SHARES))
    groups = (episodes[:first], episodes[first:second], episodes[second:])
    fitted, choosing, held_out = (np.isin(owner, group) for group in groups)
    return fitted, choosing, held_out


def _ridge(x: Floats, y: Floats, new: Floats) -> list[Floats]:
    """Return what ridge regressions with each of the penalties say of new rows."""
    mean, std = x.mean(axis=0), x.std(axis=0)
    scale = np.where(std > 1e-6, std, np.inf)  # what never moves says nothing
    left, values, right = np.linalg.svd((x - mean) / scale, full_matrices=False)
    answers, read = left.T @ (y - y.mean(axis=0)), (new - mean) / scale @ right.T
    return [read * (values / (values**2 + penalty)) @ answers + y.mean(axis=0) for penalty in PENALTIES]
