"""How well pixels are named, class by class, and how many things a set of masks finds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from worldrl.types import Array

FOUND = 0.5
"""The IoU from which a mask counts as that of a thing."""


@dataclass(frozen=True)
class NamedPixels:
    """How well the pixels of some pictures are named.

    Attributes:
        seen: Mean IoU of the classes that training had, in [0, 1]; None where no picture shows one.
        novel: The same of those that it had not.
        background: IoU of what is no thing; None where nothing is.
        things: IoU of all things taken together, whatever they are called.
        by_class: ``(k,)`` IoU of each class; NaN for those that no picture shows.
    """

    seen: float | None
    novel: float | None
    background: float | None
    things: float | None
    by_class: npt.NDArray[np.float64]


class PixelCounts:
    """Counts over pictures of what pixels are and what they are taken for.

    IoU is over all pixels of all pictures together, as in ADE20K and PASCAL VOC; a class that no picture shows is left
    out of means, and what is wrongly taken for it counts against the class that is there.

    Args:
        classes: How many there are, without the background.
    """

    def __init__(self, classes: int) -> None:
        if classes < 1:
            raise ValueError(f"classes must be at least 1, got {classes}.")
        self.table = np.zeros((classes + 1, classes + 1), np.int64)

    def add(self, found: Array, true: Array) -> None:
        """Count pixels.

        Args:
            found: Integers of any shape: 0 for the background, ``i + 1`` for class ``i``.
            true: The same, as it is.

        Raises:
            ValueError: If the two have different shapes, or a number is of no class.
        """
        if found.shape != true.shape:
            raise ValueError(f"found and true must be of one shape, got {found.shape} and {true.shape}.")
        size = len(self.table)
        both = [np.asarray(one, np.int64).ravel() for one in (true, found)]
        if any(len(one) and (one.min() < 0 or one.max() >= size) for one in both):
            raise ValueError(f"labels must be in [0, {size - 1}], got {max(int(one.max()) for one in both)}.")
        self.table += np.bincount(both[0] * size + both[1], minlength=size * size).reshape(size, size)

    def figures(self, novel: Sequence[bool]) -> NamedPixels:
        """Return the figures.

        Args:
            novel: Of each class, whether training had it not.

        Raises:
            ValueError: If these are not as many as the classes.
        """
        held_out = np.asarray(novel, bool)
        if held_out.shape != (len(self.table) - 1,):
            raise ValueError(f"novel must say something of {len(self.table) - 1} classes, got {len(held_out)}.")
        shown, taken, both = self.table.sum(axis=1), self.table.sum(axis=0), self.table.diagonal()
        ious = np.where(shown > 0, both / np.maximum(shown + taken - both, 1), np.nan)
        apart = self.table[0, 1:].sum() + self.table[1:, 0].sum()
        together = self.table[1:, 1:].sum()
        things = float(together / (together + apart)) if together + apart else None
        by_class = ious[1:]
        background = None if np.isnan(ious[0]) else float(ious[0])
        return NamedPixels(_mean(by_class[~held_out]), _mean(by_class[held_out]), background, things, by_class)


def found_by(masks: Array, instances: Array, *, overlap: float = FOUND) -> tuple[int, int]:
    """Return how many things of a picture some mask finds, whatever it calls them, and how many there are.

    Args:
        masks: ``(q, h, w)`` bool.
        instances: ``(h, w)`` integers: 0 where there is no thing, another number for each thing.
        overlap: IoU from which a thing is found.

    Raises:
        ValueError: If the sizes differ.
    """
    found, true = np.asarray(masks, bool), np.asarray(instances)
    if found.ndim != 3 or found.shape[1:] != true.shape:
        raise ValueError(f"masks must be (q, {true.shape[0]}, {true.shape[1]}), got {found.shape}.")
    things = [number for number in np.unique(true) if number]
    hits = 0
    for number in things:
        mine = true == number
        shared, either = (found & mine).sum(axis=(1, 2)), (found | mine).sum(axis=(1, 2))
        hits += bool((shared >= overlap * either).any() and shared.any())
    return hits, len(things)


def _mean(values: npt.NDArray[np.float64]) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None
