"""Rows of episodes that lie one after the other, in memory or in a file."""

import mmap
from collections.abc import Sequence
from typing import Self, overload

import numpy as np

from worldrl.errors import DataError
from worldrl.types import Array


class Joined(Sequence[Array]):
    """Arrays of episodes that lie one after the other in one array or memory map; item ``i`` is that of episode ``i``.

    What is read of a memory map is let go of at once: a data set larger than memory takes no more of it than a small
    one, and what is read often stays in the system's own cache.

    Args:
        rows: ``(n, *o)``. Integers of 8 bits are pixels of ``[-1, 1]``, and read as such.
        first: The first row of each episode.
        counts: The rows of each.

    Raises:
        DataError: If the rows do not hold all episodes.
    """

    def __init__(self, rows: Array, first: Sequence[int] | Array, counts: Sequence[int] | Array) -> None:
        self.rows, self.first, self.counts = rows, np.asarray(first, np.int64), np.asarray(counts, np.int64)
        if (
            self.first.shape != self.counts.shape
            or (self.first < 0).any()
            or (self.first + self.counts > len(rows)).any()
        ):
            raise DataError(f"rows must hold {int(self.counts.sum())}, those of all episodes, got {len(rows)}.")

    @classmethod
    def of(cls, arrays: Sequence[Array], dtype: type | None = None) -> Self:
        """Join arrays in memory, one an episode.

        Raises:
            DataError: If they have not one shape.
        """
        shapes = sorted({array.shape[1:] for array in arrays})
        if len(shapes) > 1:
            raise DataError(f"obs must have one shape in all episodes, got {shapes}.")
        counts = np.array([len(array) for array in arrays], np.int64)
        return cls(np.concatenate([np.asarray(array, dtype) for array in arrays]), np.cumsum(counts) - counts, counts)

    def __len__(self) -> int:
        return len(self.first)

    @overload
    def __getitem__(self, index: int) -> Array: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Array]: ...

    def __getitem__(self, index: int | slice) -> Array | Sequence[Array]:
        if isinstance(index, slice):
            return self.subset(range(len(self))[index])
        return self.take(np.arange(self.counts[index]) + self.first[index])

    def subset(self, index: Sequence[int]) -> "Joined":
        """Return some of the episodes."""
        chosen = np.asarray(index, np.int64)
        return Joined(self.rows, self.first[chosen], self.counts[chosen])

    def take(self, at: Array) -> Array:
        """Return the rows ``at`` of the whole array, in any shape, as what they stand for."""
        found = np.asarray(self.rows[at])
        if isinstance(self.rows, np.memmap):
            _let_go(self.rows)
        return found.astype(np.float32) / 127.5 - 1.0 if found.dtype == np.uint8 else found


def counts_of(arrays: Sequence[Array]) -> list[int]:
    """Return the rows of each episode."""
    return arrays.counts.tolist() if isinstance(arrays, Joined) else [len(array) for array in arrays]


def some_rows(arrays: Sequence[Array], most: int) -> Array:
    """Return all rows of all episodes, or ``most`` of them that are evenly spaced."""
    counts = np.array(counts_of(arrays))
    total = int(counts.sum())
    if total <= most:
        return np.concatenate(list(arrays))
    chosen, ends = spaced(total, most), np.cumsum(counts)
    episodes = np.searchsorted(ends, chosen, side="right")
    local = chosen - (ends - counts)[episodes]
    if isinstance(arrays, Joined):
        return arrays.take(arrays.first[episodes] + local)
    return np.stack([arrays[i][step] for i, step in zip(episodes, local, strict=True)])


def spaced(total: int, most: int) -> Array:
    """Return ``0 .. total - 1``, or ``most`` of these numbers that are evenly spaced."""
    return np.arange(total) if total <= most else np.linspace(0, total - 1, most).astype(np.int64)


class Rows:
    """Look up observations by episode and step, as finite float32.

    Observations in memory are joined and checked once; those of a memory map are checked as they are read.

    Args:
        obs: One array ``(rows_i, *o)`` an episode.
        counts: The rows of each episode, int64.

    Raises:
        DataError: If sizes do not fit, or a value in memory is not finite.
    """

    def __init__(self, obs: Sequence[Array], counts: Array) -> None:
        lengths = counts_of(obs)
        if lengths != counts.tolist():
            raise DataError(
                f"obs must have one row more than acts in every episode, got {lengths} for {counts.tolist()}."
            )
        self._joined = obs if isinstance(obs, Joined) else Joined.of(obs)
        dtype, pixels = self._joined.rows.dtype, isinstance(obs, Joined) and self._joined.rows.dtype == np.uint8
        if not (np.issubdtype(dtype, np.floating) or pixels):
            raise DataError(f"obs must be floating point, got {dtype}: encode frames first.")
        self._is_mapped = isinstance(self._joined.rows, np.memmap)
        if not self._is_mapped:
            for episode, count in enumerate(counts):
                _check_finite(self._joined[episode], np.full(count, episode), np.arange(count))

    def take(self, episodes: Array, steps: Array) -> Array:
        """Return the observations ``(b, t, *o)`` of ``episodes`` ``(b,)`` at ``steps`` ``(b, t)``.

        Raises:
            DataError: If one is not finite.
        """
        rows = self._joined.first[episodes][:, None] + steps
        obs = np.asarray(self._joined.take(rows), dtype=np.float32)
        if self._is_mapped:
            _check_finite(obs.reshape(rows.size, -1), np.repeat(episodes, steps.shape[1]), steps.ravel())
        return obs


def _let_go(rows: np.memmap[tuple[int, ...], np.dtype[np.generic]]) -> None:
    """Tell the system that what was read of a file need not stay in this process."""
    base = rows
    while isinstance(base.base, np.memmap):
        base = base.base
    mapped = getattr(base, "_mmap", None)
    if isinstance(mapped, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def _check_finite(obs: Array, episodes: Array, steps: Array) -> None:
    """Refuse rows ``(r, ...)`` that are not finite, naming episode and step of the first."""
    finite = np.isfinite(obs).reshape(len(obs), -1).all(axis=1)
    if not finite.all():
        row = int(finite.argmin())
        raise DataError(f"obs must be finite, got nan or inf in episode {episodes[row]} at step {steps[row]}.")
