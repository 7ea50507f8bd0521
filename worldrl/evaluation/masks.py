"""How well masks are found: against the true ones, over whole episodes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from worldrl.evaluation.intervals import Estimate, bootstrap_mean

Labels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class ObjectFigures:
    """How well one object is found.

    Attributes:
        name: Its name.
        iou: Mean IoU over the frames that show it; None where none does.
        shown: Share of the frames that show it.
        missed: Share of the frames that show it in which nothing is taken for it; None where none does.
        invented: Share of the frames that do not show it in which something is taken for it; None where all do.
    """

    name: str
    iou: float | None
    shown: float
    missed: float | None
    invented: float | None


@dataclass(frozen=True)
class MaskFigures:
    """How well the objects of some episodes are found.

    Attributes:
        iou: Mean over episodes of each one's mean IoU over frames and the objects that they show, with the interval of
            a bootstrap over episodes.
        by_episode: That of each episode.
        objects: Figures of each object over all frames.
        frames: How many there are.
    """

    iou: Estimate
    by_episode: tuple[float, ...]
    objects: tuple[ObjectFigures, ...]
    frames: int


def compare(found: Sequence[Labels], true: Sequence[Labels], *, objects: Sequence[str], seed: int = 0) -> MaskFigures:
    """Compare labels with the true ones.

    Args:
        found: Of each episode ``(t, h, w)``: 0 for background, ``i + 1`` for ``objects[i]``.
        true: The same, as it is.
        objects: Their names.
        seed: Of the bootstrap.

    Raises:
        ValueError: If the two are not of the same episodes and frames, or an episode shows no object at all.
    """
    if [one.shape for one in found] != [one.shape for one in true] or not true:
        raise ValueError(f"found and true must be the same episodes, got {len(found)} and {len(true)} of them.")
    shares = [np.stack([_shares(*pair, len(objects)) for pair in zip(*both, strict=True)])
              for both in zip(found, true, strict=True)]  # fmt: skip
    by_episode = tuple(_mean(one[..., 0][one[..., 1] > 0]) for one in shares)
    if None in by_episode:
        raise ValueError(f"every episode must show an object, episode {by_episode.index(None)} shows none.")
    frames = np.concatenate(shares)
    figures = tuple(_figures(name, frames[:, i]) for i, name in enumerate(objects))
    means = tuple(float(mean) for mean in by_episode if mean is not None)
    return MaskFigures(bootstrap_mean(means, seed=seed), means, figures, len(frames))


def _shares(found: Labels, true: Labels, count: int) -> npt.NDArray[np.float64]:
    """Return IoU, whether it is shown, and whether it is found ``(k, 3)`` of each object of a frame."""
    pairs = np.bincount(true.ravel().astype(np.int64) * (count + 1) + found.ravel(), minlength=(count + 1) ** 2)
    table = pairs.reshape(count + 1, count + 1)
    shown, taken, both = table.sum(axis=1)[1:], table.sum(axis=0)[1:], table.diagonal()[1:]
    return np.stack([both / np.maximum(shown + taken - both, 1), shown > 0, taken > 0], axis=1)


def _figures(name: str, frames: npt.NDArray[np.float64]) -> ObjectFigures:
    iou, shown, taken = frames[:, 0], frames[:, 1] > 0, frames[:, 2] > 0
    return ObjectFigures(
        name, _mean(iou[shown]), float(shown.mean()), _mean(~taken[shown]), _mean(taken[~shown])
    )  # fmt: skip


def _mean(values: npt.NDArray[np.generic]) -> float | None:
    return float(np.mean(values.astype(np.float64))) if len(values) else None
