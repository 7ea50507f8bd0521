"""Windows of recorded episodes, as a world model is trained on them and as imagined episodes start from them.

A window ends at one transition. Where it reaches back before the episode began, the first observation stands in, with
zero actions, and ``padding`` says so. Training batches and imagined starts share that rule, because both are made by
one function here.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from worldrl.data.rows import Joined, Rows, counts_of, spaced
from worldrl.errors import DataError
from worldrl.types import Array, Starts


@dataclass(frozen=True)
class Batch:
    """Equal windows of ``t`` past observations, the actions after them, and what came next.

    Attributes:
        obs: ``(b, t+1, *o)`` float32; ``obs[:, :-1]`` is the history, newest last, ``obs[:, -1]`` the next observation.
        acts: ``(b, t, a)`` float32; ``acts[:, i]`` was taken in ``obs[:, i]``.
        success: ``(b,)`` bool, whether the next observation is a success.
        padding: ``(b, t)`` bool, where the history lies before the episode's start: the first observation, zero action.
        episode: ``(b,)`` int64, the index of the episode that each window is from.
    """

    obs: Tensor
    acts: Tensor
    success: Tensor
    padding: Tensor
    episode: Tensor

    def __len__(self) -> int:
        return len(self.obs)

    def to(self, device: torch.device | str) -> "Batch":
        """Return the batch on another device."""
        return Batch(*(tensor.to(device) for tensor in (self.obs, self.acts, self.success, self.padding, self.episode)))


class SegmentSampler:
    """Draw windows uniformly over the transitions of recorded episodes.

    Arrays in memory are joined once and then gathered without a loop. Memory maps (in ``worldrl.data.rows.Joined``) are
    never read whole, so data larger than memory trains; their values are checked as they are read.

    Args:
        obs: ``(t_i+1, *o)`` of every episode.
        acts: ``(t_i, a)`` of every episode.
        success: ``(t_i+1,)`` bool of every episode.
        history: The number ``t`` of past observations in a window.
        seed: Of the draws.
        weights: How often a transition of each episode is drawn, relative to those of the others; None for equally.

    Raises:
        ValueError: If ``history`` is less than one.
        DataError: If lengths, shapes or weights do not fit together, or an observation is not finite.
    """

    def __init__(
        self,
        obs: Sequence[Array],
        acts: Sequence[Array],
        success: Sequence[Array],
        *,
        history: int,
        seed: int,
        weights: Sequence[float] | Array | None = None,
    ) -> None:
        if history < 1:
            raise ValueError(f"history must be at least 1, got {history}.")
        self.history = history
        self.rng = np.random.default_rng(seed)
        self._lengths = _lengths(acts, success)
        self._rows = Rows(obs, self._lengths + 1)
        self._acts = acts if isinstance(acts, Joined) else Joined.of(acts, np.float32)
        self._success = success if isinstance(success, Joined) else Joined.of(success, np.bool_)
        share = self._lengths * _weights(weights, len(self._lengths))
        self._ladder = np.cumsum(share) / share.sum()

    def __len__(self) -> int:
        return int(self._lengths.sum())

    def sample(self, batch_size: int) -> Batch:
        """Draw ``b = batch_size`` windows, with replacement.

        Raises:
            DataError: If an observation is not finite.
        """
        return self.at(*self.draw(batch_size, self.rng))

    def draw(self, batch_size: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Draw where ``b = batch_size`` windows end: episodes and transitions within them ``(b,)``."""
        episodes = np.minimum(
            np.searchsorted(self._ladder, rng.random(batch_size), side="right"), len(self._lengths) - 1
        )
        return episodes, rng.integers(0, self._lengths[episodes])

    def at(self, episodes: Array, steps: Array) -> Batch:
        """Return the windows that end at transitions ``steps`` ``(b,)`` of ``episodes`` ``(b,)``.

        Raises:
            DataError: If an observation is not finite.
        """
        local, acts, padding = self._window(episodes, steps)
        obs = self._rows.take(episodes, np.concatenate([local, steps[:, None] + 1], axis=1))
        success = self._success.take(self._success.first[episodes] + steps + 1)
        return Batch(*map(torch.from_numpy, (obs, acts, success, padding, episodes)))

    def epoch(self, batch_size: int, *, most: int | None = None) -> Iterator[Batch]:
        """Yield the windows of all transitions once, in order; the last batch may be smaller.

        Args:
            batch_size: Windows in a batch.
            most: Of how many transitions, evenly spaced, where there are more; None for all.

        Raises:
            DataError: If an observation is not finite.
        """
        ends = np.cumsum(self._lengths)
        chosen = spaced(len(self), len(self) if most is None else most)
        for start in range(0, len(chosen), batch_size):
            index = chosen[start : start + batch_size]
            episodes = np.searchsorted(ends, index, side="right")
            yield self.at(episodes, index - (ends - self._lengths)[episodes])

    def starts(self, *, first_only: bool = True, stride: int = 1) -> Starts:
        """Return histories from which to imagine: at the start of every episode, or within it too, but not in success.

        Args:
            first_only: Whether to take only the first observation of each episode (its history is all padding).
            stride: Otherwise, take every ``stride``-th observation that an action followed.

        Raises:
            ValueError: If ``stride`` is less than one.
            DataError: If an observation is not finite.
        """
        if stride < 1:
            raise ValueError(f"stride must be at least 1, got {stride}.")
        counts = np.ones_like(self._lengths) if first_only else -(-self._lengths // stride)
        episodes = np.repeat(np.arange(len(counts)), counts)
        steps = stride * (np.arange(len(episodes)) - np.repeat(np.cumsum(counts) - counts, counts))
        unsolved = first_only | ~self._success.take(self._success.first[episodes] + steps)
        episodes, steps = episodes[unsolved], steps[unsolved]
        local, acts, _ = self._window(episodes, steps)
        return Starts(torch.from_numpy(self._rows.take(episodes, local)), torch.from_numpy(acts[:, :-1].copy()))

    def _window(self, episodes: Array, steps: Array) -> tuple[Array, Array, Array]:
        """Return the history that ends at ``steps``: rows within the episode, actions, and what is padding."""
        local = steps[:, None] + np.arange(1 - self.history, 1)
        padding = local < 0
        local = np.maximum(local, 0)
        acts = self._acts.take(self._acts.first[episodes][:, None] + local)
        acts[padding] = 0
        return local, acts, padding


def _lengths(acts: Sequence[Array], success: Sequence[Array]) -> Array:
    lengths = counts_of(acts)
    if not lengths or min(lengths) < 1:
        raise DataError(f"acts must hold at least 1 episode of at least 1 step, got lengths {lengths}.")
    got = counts_of(success)
    if got != [t + 1 for t in lengths]:
        raise DataError(f"success must have one value more than acts in every episode, got {got} for {lengths}.")
    return np.array(lengths, dtype=np.int64)


def _weights(weights: Sequence[float] | Array | None, count: int) -> Array:
    chosen = np.ones(count) if weights is None else np.asarray(weights, dtype=np.float64)
    if chosen.shape != (count,) or not np.isfinite(chosen).all() or (chosen < 0).any() or not chosen.any():
        raise DataError(f"weights must be {count} numbers of at least 0, one of them positive, got {weights}.")
    return chosen
