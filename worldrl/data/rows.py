"""Rows of observations, gathered from memory or from memory maps."""

from collections.abc import Sequence

import numpy as np

from worldrl.errors import DataError
from worldrl.types import Array


class Rows:
    """Look up observations by episode and step, as float32.

    Arrays in memory are joined and checked once. If any is a memory map, all stay where they are; each look-up visits
    the arrays it touches, and checks what it read.

    Args:
        obs: One array ``(rows_i, *o)`` an episode, or one array that holds the rows of all of them.
        counts: The rows of each episode, int64.
        offsets: The first row of each episode in a joined array; None if they follow one another.

    Raises:
        DataError: If sizes do not fit, or a value in memory is not finite.
    """

    def __init__(self, obs: Sequence[Array] | Array, counts: Array, offsets: Sequence[int] | Array | None) -> None:
        follow = np.cumsum(counts) - counts
        pieces = [obs] if isinstance(obs, np.ndarray) else list(obs)
        self._first = follow if offsets is None else np.asarray(offsets, dtype=np.int64)
        self._counts = counts
        self._is_mapped = any(isinstance(piece, np.memmap) for piece in pieces)
        if isinstance(obs, np.ndarray):
            _check_joined(obs, self._first, counts, is_whole=offsets is None)
        else:
            _check_pieces(pieces, counts, has_offsets=offsets is not None)
            if not self._is_mapped:
                pieces = [np.concatenate(pieces)]
        if not np.issubdtype(pieces[0].dtype, np.floating):
            raise DataError(f"obs must be floating point, got {pieces[0].dtype}: encode frames first.")
        self._pieces = pieces
        self._piece_first = np.cumsum([0, *map(len, pieces)])[:-1]
        if not self._is_mapped:
            for episode, (first, count) in enumerate(zip(self._first, counts, strict=True)):
                _check_finite(pieces[0][first : first + count], np.full(count, episode), np.arange(count))

    def take(self, episodes: Array, steps: Array) -> Array:
        """Return the observations ``(b, t, *o)`` of ``episodes`` ``(b,)`` at ``steps`` ``(b, t)``.

        Raises:
            DataError: If one is not finite.
        """
        rows = self._first[episodes][:, None] + steps
        obs = self._gather(rows)
        if self._is_mapped:
            _check_finite(obs.reshape(rows.size, -1), np.repeat(episodes, steps.shape[1]), steps.ravel())
        return obs

    def _gather(self, rows: Array) -> Array:
        if len(self._pieces) == 1:
            return np.asarray(self._pieces[0][rows], dtype=np.float32)
        piece = np.searchsorted(self._piece_first, rows, side="right") - 1
        obs = np.empty((*rows.shape, *self._pieces[0].shape[1:]), dtype=np.float32)
        for index in np.unique(piece):
            here = piece == index
            obs[here] = self._pieces[index][rows[here] - self._piece_first[index]]
        return obs


def _check_joined(obs: Array, first: Array, counts: Array, *, is_whole: bool) -> None:
    if first.shape != counts.shape or (first < 0).any() or (first + counts > len(obs)).any():
        raise DataError(f"obs must hold {int(counts.sum())} rows, t+1 an episode, got {len(obs)} (offsets {first}).")
    if is_whole and len(obs) != counts.sum():
        raise DataError(f"obs must hold {int(counts.sum())} rows, t+1 an episode, got {len(obs)}.")


def _check_pieces(pieces: list[Array], counts: Array, *, has_offsets: bool) -> None:
    if has_offsets:
        raise DataError("offsets must be None unless obs is one joined array, got both.")
    lengths = [len(piece) for piece in pieces]
    if lengths != counts.tolist():
        raise DataError(f"obs must have one row more than acts in every episode, got {lengths} for {counts.tolist()}.")
    shapes = sorted({piece.shape[1:] for piece in pieces})
    if len(shapes) > 1:
        raise DataError(f"obs must have one shape in all episodes, got {shapes}.")


def _check_finite(obs: Array, episodes: Array, steps: Array) -> None:
    """Refuse rows ``(r, ...)`` that are not finite, naming episode and step of the first."""
    finite = np.isfinite(obs).reshape(len(obs), -1).all(axis=1)
    if not finite.all():
        row = int(finite.argmin())
        raise DataError(f"obs must be finite, got nan or inf in episode {episodes[row]} at step {steps[row]}.")
