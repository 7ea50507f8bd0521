"""Pure reward terms in ``[0, 1]``: rewards of different tasks can be compared, and tested without a simulator."""

import numpy as np


def closeness(distance: float, *, radius: float, margin: float) -> float:
    """Return one within ``radius`` and fall smoothly to 0.1 at ``radius + margin``.

    A Gaussian in the distance beyond the radius, so that the gradient never dies (shape: our choice).

    Args:
        distance: Metres, not negative.
        radius: Metres, within which the term is one.
        margin: Metres beyond the radius at which it has fallen to 0.1.

    Raises:
        ValueError: If ``margin`` is not positive.
    """
    if margin <= 0:
        raise ValueError(f"margin must be positive, got {margin}.")
    excess = max(0.0, distance - radius) / margin
    return float(np.exp(np.log(0.1) * excess**2))


def progress(value: float, *, goal: float) -> float:
    """Return the share of the way from zero to ``goal`` that is done, in ``[0, 1]``.

    Raises:
        ValueError: If ``goal`` is zero.
    """
    if goal == 0:
        raise ValueError("goal must not be zero.")
    return float(np.clip(value / goal, 0.0, 1.0))
