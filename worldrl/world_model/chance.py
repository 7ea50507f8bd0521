"""Chance of one gradient step, the same however many processes share it."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

BLOCK = 16
"""Rows that share a stream."""


class Chance:
    """Draw what one gradient step leaves to chance, for some rows of its batch.

    Everything follows from seed and step: a run that goes on after a stop draws what an unbroken one would have drawn.
    Rows come in blocks with a stream each, so that a process draws its own share alone, and the same numbers whoever
    draws the others.

    Args:
        seed: Of the run, and of what else has chance of its own.
        step: Which gradient step.
        total: Rows of the whole batch.
        rows: Which of them are drawn here.

    Attributes:
        whole: Draws what concerns the whole batch.
        windows: Likewise, and in numpy: which windows make up the batch.
    """

    def __init__(self, seed: tuple[int, ...], step: int, *, total: int, rows: slice) -> None:
        first, after = rows.start // BLOCK, -(-rows.stop // BLOCK)
        self.total, self.rows = total, rows
        seeds = np.random.SeedSequence([*seed, step]).generate_state(2 + after)
        self.windows = np.random.default_rng(seeds[0])
        self.whole = torch.Generator().manual_seed(int(seeds[1]))
        self._blocks = [torch.Generator().manual_seed(int(one)) for one in seeds[2 + first :]]
        self._mine = slice(rows.start - first * BLOCK, rows.stop - first * BLOCK)

    def normal(self, *shape: int) -> Tensor:
        """Draw standard normal numbers ``(rows, *shape)``."""
        return self._draw(torch.randn, shape)

    def uniform(self, *shape: int) -> Tensor:
        """Draw numbers in ``[0, 1)`` ``(rows, *shape)``."""
        return self._draw(torch.rand, shape)

    def _draw(self, draw: Callable[..., Tensor], shape: tuple[int, ...]) -> Tensor:
        return torch.cat([draw(BLOCK, *shape, generator=block) for block in self._blocks])[self._mine]
