"""What an agent has lived through so far, in one row of steps, from which windows are drawn."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from worldrl.errors import DataError
from worldrl.types import Array


@dataclass(frozen=True)
class Window:
    """Windows of ``t`` steps, one a row; see ``ReplayBuffer.add`` for what a step is."""

    tokens: npt.NDArray[np.float32]
    frames: npt.NDArray[np.uint8] | None
    acts: npt.NDArray[np.float32]
    rews: npt.NDArray[np.float32]
    ends: npt.NDArray[np.bool_]
    episodes: npt.NDArray[np.int64]


class ReplayBuffer:
    """Steps in the order in which they happened; the oldest are forgotten when it is full.

    Args:
        capacity: Steps that are kept.
        tokens: Shape ``(k, d)``.
        frame: Pixels a side of frames; 0 keeps none.
        acts: Numbers of an action.

    Raises:
        DataError: If there is no room for a single step.
    """

    def __init__(self, capacity: int, *, tokens: tuple[int, int], frame: int, acts: int) -> None:
        if capacity < 1:
            raise DataError(f"capacity must be at least 1 step, got {capacity}.")
        self.capacity, self._added = capacity, 0
        self._rows: dict[str, Array] = {
            "tokens": np.zeros((capacity, *tokens), np.float32),
            "acts": np.zeros((capacity, acts), np.float32),
            "rews": np.zeros(capacity, np.float32),
            "ends": np.zeros(capacity, np.bool_),
            "episodes": np.zeros(capacity, np.int64),
        }
        if frame:
            self._rows["frames"] = np.zeros((capacity, 3, frame, frame), np.uint8)

    def __len__(self) -> int:
        return min(self._added, self.capacity)

    def add(self, **step: Any) -> None:
        """Add one step.

        Args:
            step: ``tokens`` ``(k, d)`` and, if they are kept, ``frames`` ``(3, h, w)`` that were seen; ``acts``
                ``(a,)`` that was done; ``rews`` and ``ends``, what it brought and whether it ended the episode (not
                where a time limit cut it); ``episodes``, a number of the episode.

        Raises:
            DataError: If something is missing or too much, or is not finite.
        """
        if step.keys() != self._rows.keys():
            raise DataError(f"a step must have {', '.join(sorted(self._rows))}, got {', '.join(sorted(step))}.")
        if not all(np.isfinite(step[name]).all() for name in ("tokens", "acts", "rews")):
            raise DataError(
                "tokens, acts and rews of a step must be finite, got NaN or infinity: check the environment."
            )
        at = self._added % self.capacity
        for name, value in step.items():
            self._rows[name][at] = value
        self._added += 1

    def since(self, first: int) -> dict[str, Array]:
        """Return the steps from number ``first`` on, a row each; none may have been forgotten.

        Raises:
            DataError: If one of them was.
        """
        if self._added > self.capacity or first > self._added:
            raise DataError(f"steps from {first} on must be there, got {self._added} in {self.capacity} places.")
        return {name: values[first : self._added].copy() for name, values in self._rows.items()}

    def extend(self, rows: dict[str, Array]) -> None:
        """Add the steps that ``since`` returned."""
        for i in range(len(rows["acts"])):
            self.add(**{name: values[i] for name, values in rows.items()})

    def sample(self, count: int, length: int, *, rng: np.random.Generator) -> Window:
        """Return ``count`` windows of ``length`` steps that follow each other, from anywhere; they may overlap.

        Raises:
            DataError: If there are not that many steps yet.
        """
        if len(self) < length:
            raise DataError(f"windows of {length} steps must be drawn from as many at least, got {len(self)}.")
        oldest = self._added - len(self)
        starts = oldest + rng.integers(0, len(self) - length + 1, count)
        at = (starts[:, None] + np.arange(length)) % self.capacity
        rows = {name: values[at] for name, values in self._rows.items()}
        return Window(frames=rows.pop("frames", None), **rows)
