"""How well things are found in space: average precision over classes, by the overlap of oriented boxes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from worldrl.types import Array


@dataclass(frozen=True)
class Judged:
    """What was found in one picture, and what there is.

    Attributes:
        overlaps: ``(n, m)`` IoU in space of ``n`` found and ``m`` true things.
        scores: ``(n,)`` how sure each is; only their order counts, over all pictures.
        found: ``(n,)`` classes of what was found.
        true: ``(m,)`` classes of what there is.
    """

    overlaps: npt.NDArray[np.float64]
    scores: Array
    found: npt.NDArray[np.integer]
    true: npt.NDArray[np.integer]

    def __post_init__(self) -> None:
        expected = (len(self.found), len(self.true))
        if self.overlaps.shape != expected or len(self.scores) != len(self.found):
            raise ValueError(
                f"overlaps must be {expected} with a score for each row, got {self.overlaps.shape} and "
                f"{len(self.scores)} scores."
            )


def mean_average_precision(pictures: Sequence[Judged], *, threshold: float) -> float:
    """Return average precision, averaged over the classes that there are.

    What is found counts where it overlaps a true thing of its class by the threshold that no surer one has taken. A
    symmetric thing has many rotations but one overlap, so that none of them is wrong.

    Args:
        pictures: All that is judged.
        threshold: IoU in (0, 1].

    Raises:
        ValueError: If the threshold is none, or there is no true thing.
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold must be in (0, 1], got {threshold:g}.")
    classes = sorted({int(label) for picture in pictures for label in picture.true})
    if not classes:
        raise ValueError("pictures must hold at least one true thing, got none.")
    return float(np.mean([_of_class(pictures, label, threshold) for label in classes]))


def _of_class(pictures: Sequence[Judged], label: int, threshold: float) -> float:
    scores, right, total = [], [], 0
    for picture in pictures:
        rows, columns = np.flatnonzero(picture.found == label), np.flatnonzero(picture.true == label)
        rows = rows[np.argsort(-np.asarray(picture.scores)[rows], kind="stable")]
        scores += [float(picture.scores[row]) for row in rows]
        right += _taken(picture.overlaps[np.ix_(rows, columns)], threshold)
        total += len(columns)
    return area_under(np.array(scores), np.array(right, np.bool_), total)


def _taken(overlaps: Array, threshold: float) -> list[bool]:
    """Return whether each row ``(n, m)``, surest first, gets a column that is still free."""
    free = np.ones(overlaps.shape[1], np.bool_)
    right = []
    for row in overlaps:
        offered = np.where(free, row, -1.0)
        best = int(offered.argmax()) if len(offered) else 0
        right.append(bool(len(offered) and offered[best] >= threshold))
        if right[-1]:
            free[best] = False
    return right


def area_under(scores: Array, right: npt.NDArray[np.bool_], total: int) -> float:
    """Return the area under precision over recall, precision being that of the best recall at least so large.

    What has one score is counted at once, in no order: where all are as sure, precision is one number.

    Args:
        scores: ``(n,)`` of what was found.
        right: ``(n,)`` whether it is.
        total: How many there are to be found, at least 1.
    """
    if not len(scores):
        return 0.0
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(right[order])
    last = np.append(np.diff(scores[order]) != 0, True)
    recall, precision = hits[last] / total, hits[last] / (np.flatnonzero(last) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * best))
