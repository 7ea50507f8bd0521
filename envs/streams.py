"""Chance that one environment has to itself."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Rows = npt.NDArray[np.intp]


AHEAD = 8192
"""Numbers that a stream draws at once: a call costs as much as drawing a few hundred."""


class Streams:
    """One generator for each environment, on the CPU so that every device sees the same chance.

    Args:
        total: Number of environments ``n``; their streams start from the machine's entropy.
        shape: Of the noise of one step.
    """

    def __init__(self, total: int, shape: tuple[int, ...]) -> None:
        self.generators = [torch.Generator() for _ in range(total)]
        self._steps = max(1, AHEAD // math.prod(shape))
        self._noise = torch.empty(self._steps, total, *shape)
        self._choice = torch.empty(self._steps, total)
        self._next = np.full(total, self._steps)
        self.seed(np.arange(total), list(np.random.SeedSequence().spawn(total)))

    def seed(self, rows: Rows, seeds: Sequence[np.random.SeedSequence | None]) -> None:
        """Seed the streams of ``rows``; where ``seeds`` ``(n,)`` says None, chance goes on."""
        for i in rows:
            sequence = seeds[i]
            if sequence is not None:
                self.generators[i].manual_seed(int(sequence.generate_state(1, np.uint64)[0]))
                self._next[i] = self._steps

    def pick(self, rows: Rows, total: int) -> Tensor:
        """Pick one of ``total`` for each of ``rows``."""
        return torch.cat([torch.randint(total, (1,), generator=self.generators[i]) for i in rows])

    def draw(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Draw normal noise ``(len(rows), *shape)`` and a uniform choice ``(len(rows),)``."""
        for i in rows[self._next[rows] == self._steps]:
            self._noise[:, i] = torch.randn(self._noise[:, i].shape, generator=self.generators[i])
            self._choice[:, i] = torch.rand(self._steps, generator=self.generators[i])
            self._next[i] = 0
        at, self._next[rows] = self._next[rows], self._next[rows] + 1
        if len(rows) == len(self._next) and (at == at[0]).all():  # nobody began at another time than the others
            return self._noise[at[0]], self._choice[at[0]]
        steps, which = torch.from_numpy(at), torch.from_numpy(rows)
        return self._noise[steps, which], self._choice[steps, which]

    def state(self) -> dict[str, Tensor]:
        """Return all that chance is made of: the generators ``(n, g)`` uint8, and what they have drawn ahead."""
        generators = torch.stack([generator.get_state() for generator in self.generators])
        drawn = {"noise": self._noise.clone(), "choice": self._choice.clone(), "next": torch.tensor(self._next)}
        return {"generators": generators, **drawn}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Let chance go on from where ``state`` was taken, of as many environments with noise of the same shape."""
        for generator, one in zip(self.generators, state["generators"], strict=True):
            generator.set_state(one.clone())  # torch reads a row as if it were the first
        self._noise.copy_(state["noise"])
        self._choice.copy_(state["choice"])
        self._next[:] = state["next"].numpy()


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
