"""How many steps the real environments of this process have taken, so that "no real step" can be asserted."""

_COUNT = [0]


def count_real_step() -> None:
    """Count one step; every MuJoCo environment of this package calls it."""
    _COUNT[0] += 1


def real_steps() -> int:
    """Return how many there were since the process began."""
    return _COUNT[0]
