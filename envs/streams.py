"""Chance that one environment has to itself."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Rows = npt.NDArray[np.intp]


class Streams:
    """One generator for each environment, on the CPU so that every device sees the same chance.

    Args:
        total: Number of environments ``n``; their streams start from the machine's entropy.
    """

    def __init__(self, total: int) -> None:
        self.generators = [torch.Generator() for _ in range(total)]
        self.seed(np.arange(total), list(np.random.SeedSequence().spawn(total)))

    def seed(self, rows: Rows, seeds: Sequence[np.random.SeedSequence | None]) -> None:
        """Seed the streams of ``rows``; where ``seeds`` ``(n,)`` says None, chance goes on."""
        for i in rows:
            sequence = seeds[i]
            if sequence is not None:
                self.generators[i].manual_seed(int(sequence.generate_state(1, np.uint64)[0]))

    def pick(self, rows: Rows, total: int) -> Tensor:
        """Pick one of ``total`` for each of ``rows``."""
        return torch.cat([torch.randint(total, (1,), generator=self.generators[i]) for i in rows])

    def draw(self, rows: Rows, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Draw normal noise ``(len(rows), *shape)`` and a uniform choice ``(len(rows),)``."""
        noise, choice = torch.empty(len(rows), *shape), torch.empty(len(rows), 1)
        for i, row, pick in zip(rows, noise.unbind(), choice.unbind(), strict=True):
            row.normal_(generator=self.generators[i])
            pick.uniform_(generator=self.generators[i])
        return noise, choice[:, 0]


def seed_sequences(seed: int | Sequence[int | None] | None, total: int) -> list[np.random.SeedSequence | None]:
    """Return what to seed each environment with; a list seeds each as environment 0 would be.

    Raises:
        ValueError: If the number of seeds is not ``total``, or one is negative.
    """
    if seed is None:
        return [None] * total
    if isinstance(seed, int | np.integer):
        keyed: list[tuple[int | None, int]] = [(int(seed), i) for i in range(total)]
    else:
        keyed = [(one, 0) for one in seed]
    if len(keyed) != total:
        raise ValueError(f"seed must be one seed or {total} of them, got {len(keyed)}.")
    for one, _ in keyed:
        if one is not None and one < 0:
            raise ValueError(f"seed must be at least 0, got {one}.")
    return [None if one is None else np.random.SeedSequence(one, spawn_key=(i,)) for one, i in keyed]
