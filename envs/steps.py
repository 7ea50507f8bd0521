"""What enters real environments: actions, checked, and how many steps, so that "no real step" can be asserted."""

from typing import Any

import numpy as np
import numpy.typing as npt

from worldrl.errors import DataError, NumericsError

_COUNT = [0]


def as_action(action: Any, dim: int) -> npt.NDArray[np.float64]:
    """Return an action ``(dim,)`` once it is of that shape and finite; its range is up to the environment.

    Raises:
        DataError: If it is of another shape or not of numbers.
        NumericsError: If it is not finite.
    """
    try:
        act = np.asarray(action, np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"action must be {dim} numbers, got {action!r}.") from error
    if act.shape != (dim,):
        raise DataError(f"action must be ({dim},), got {act.shape}: that is another environment's.")
    if not np.isfinite(act).all():
        raise NumericsError(f"action must be finite, got {action}: check the policy's output.")
    return act


def count_real_step() -> None:
    """Count one step; every real environment of this package calls it."""
    _COUNT[0] += 1


def real_steps() -> int:
    """Return how many there were since the process began."""
    return _COUNT[0]
