"""Noise on actions that lasts: it takes an actor off its way, where independent noise averages out."""

import numpy as np

from worldrl.errors import ConfigError
from worldrl.types import Array


class LastingNoise:
    """An Ornstein-Uhlenbeck process for each slot.

    Args:
        sigma: Standard deviation in the long run.
        persistence: Correlation of successive draws, in ``[0, 1)``.

    Source: the exploration of DDPG (Lillicrap et al. 2016).

    Raises:
        ConfigError: If one of them is out of range.
    """

    def __init__(self, *, sigma: float, persistence: float) -> None:
        if sigma < 0 or not 0 <= persistence < 1:
            raise ConfigError(
                f"noise must not be negative and persistence must be in [0, 1), got {sigma} and {persistence}."
            )
        self.sigma, self.persistence = sigma, persistence
        self._rngs: dict[int, np.random.Generator] = {}
        self._next: dict[int, Array] = {}
        self._fresh = sigma * float(np.sqrt(1.0 - persistence**2))

    def begin(self, slot: int, rng: np.random.Generator, dim: int, *, settled: bool) -> None:
        """Start an episode in a slot: settled, at a draw of the long run, or a first step away from zero."""
        self._rngs[slot] = rng
        self._next[slot] = rng.normal(0.0, self.sigma if settled else self._fresh, dim)

    def draw(self, slot: int) -> Array:
        """Return the next noise ``(a,)`` of a slot."""
        noise = self._next[slot]
        self._next[slot] = self.persistence * noise + self._rngs[slot].normal(0.0, self._fresh, noise.shape)
        return noise
