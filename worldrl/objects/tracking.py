"""Masks that follow objects through an episode: a promptable segmenter, asked about where each was a frame ago."""

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from worldrl.encoders.sam import BOTTOM_RIGHT, FOREGROUND, OUTSIDE, TOP_LEFT
from worldrl.errors import DataError
from worldrl.types import Array

MARGIN = 0.05
"""How much the box of the frame before is widened on each side, in shares of its size: things move (our choice)."""
GROWTH = 2.0
"""How many times its first area a mask may have; beyond it the prompt has slipped to something else (our choice)."""
AREA = 0.5
"""What a mask loses by having another area than the first, in IoU a factor of e (our choice: on table-top episodes with
MobileSAM at 512 pixels, a mean IoU of 0.73 and 0.76 in place of 0.69 and 0.71 without it and with a margin of 0.15)."""
SURE = 20.0
"""Logit of the mask that is shown beside point and box (our choice: three episodes of PickPlace with hints have a mean
IoU of 0.75 without it, 0.85 with 8, 0.90 with 20 and with 30; that of the hand alone, 0.19, 0.57, 0.85 and 0.87)."""


class Promptable(Protocol):
    """What answers prompts with masks; ``worldrl.encoders.segmenter.Segmenter`` is one."""

    def embed(self, frames: npt.NDArray[np.uint8]) -> Tensor:
        """Return maps ``(b, d, i, j)`` of frames ``(b, h, w, 3)``."""
        ...

    def __call__(
        self, maps: Tensor, points: Array, labels: npt.NDArray[np.integer], *, size: tuple[int, int], mask: Tensor
    ) -> Any:
        """Return masks with ``logits`` ``(b, m, h, w)`` and ``iou`` ``(b, m)``; ``mask`` are logits ``(b, h, w)``."""
        ...


class PromptedMasks:
    """Labels of a video, frame after frame.

    Each object is asked for by its mask, the pixel in its middle and its widened box, as they were in the frame before
    or as a hint has them in this one. Of the masks that are offered, the one is taken that agrees best with that mask.
    Where an object is lost (nothing is offered of a likely size), its last prompt is asked again in the next frame.
    What moves by more than its own size from frame to frame is lost without a hint.

    Args:
        segmenter: Answers prompts.
        objects: How many there are.
    """

    def __init__(self, segmenter: Promptable, *, objects: int) -> None:
        self.segmenter, self.objects = segmenter, objects
        self._masks = np.zeros((objects, 1, 1), np.bool_)
        self._areas = np.zeros(objects)

    def begin(self, labels: npt.NDArray[np.uint8]) -> None:
        """Begin an episode with the labels ``(h, w)`` of its first frame.

        Raises:
            DataError: If a label is of none of the objects.
        """
        if labels.max() > self.objects:
            raise DataError(f"labels must be at most {self.objects}, one an object, got {labels.max()}.")
        self._masks = self._apart(labels)
        self._areas = self._masks.sum(axis=(1, 2))

    def follow(
        self, frame: npt.NDArray[np.uint8], *, hint: npt.NDArray[np.integer] | None = None
    ) -> npt.NDArray[np.uint8]:
        """Return the labels ``(h, w)`` of the next frame ``(h, w, 3)``.

        Args:
            frame: Uint8.
            hint: Labels ``(h, w)`` of this frame from elsewhere, such as ``FewShotMasks``; where they show an object,
                it is asked for there.

        Raises:
            DataError: If the frame has another size than the first labels.
        """
        size = (frame.shape[0], frame.shape[1])
        if self._masks.shape[1:] != size:
            raise DataError(
                f"frames must have the size of the labels to begin with, {self._masks.shape[1:]}, got {size}."
            )
        if hint is not None:
            shown = self._apart(hint)
            found_there = shown.any(axis=(1, 2))
            self._masks[found_there] = shown[found_there]
        present = np.flatnonzero(self._masks.any(axis=(1, 2)))
        labels = np.zeros(size, np.uint8)
        if not len(present):
            return labels
        points, kinds = prompts_of(self._masks[present], margin=MARGIN)
        maps = self.segmenter.embed(frame[None]).expand(len(present), -1, -1, -1)
        asked = SURE * (2.0 * torch.from_numpy(self._masks[present]).float() - 1.0)
        found = self.segmenter(maps, points, kinds, size=size, mask=asked)
        surest = np.full(size, 0.0, np.float32)
        for logits, i in zip(found.logits.float().cpu().numpy(), present, strict=True):
            chosen = self._choose(logits > 0, int(i))
            if chosen is None:
                continue
            self._masks[i] = logits[chosen] > 0
            mine = logits[chosen] > surest
            labels[mine], surest[mine] = i + 1, logits[chosen][mine]
        return labels

    def _apart(self, labels: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
        """Return the mask of each object ``(k, h, w)``."""
        return np.asarray(labels[None] == np.arange(1, self.objects + 1)[:, None, None])

    def _choose(self, offered: npt.NDArray[np.bool_], i: int) -> int | None:
        """Return which of the masks ``(m, h, w)`` is most like the prompt's, or None where none can be the object."""
        asked, areas = self._masks[i], offered.sum(axis=(1, 2))
        either, both = (offered | asked).sum(axis=(1, 2)), (offered & asked).sum(axis=(1, 2))
        first = self._areas[i] or asked.sum()  # an object that the first frame did not show
        likely = (areas <= GROWTH * first) & (both > 0)
        likeness = both / np.maximum(either, 1) - AREA * np.abs(np.log(np.maximum(areas, 1) / first))
        return int(np.where(likely, likeness, -np.inf).argmax()) if likely.any() else None


def prompts_of(masks: npt.NDArray[np.bool_], *, margin: float = 0.0) -> tuple[Array, npt.NDArray[np.int64]]:
    """Return prompts that describe masks ``(b, h, w)``: a point inside each, and its box.

    The point is the pixel of the mask that is nearest to its centre. A mask without a pixel asks for nothing.

    Args:
        masks: Of the objects.
        margin: By how much of its size a box is widened on each side.

    Returns:
        ``points`` ``(b, 3, 2)`` in pixels and ``labels`` ``(b, 3)``: 1 for the point, 2 and 3 for the corners, -1 where
        there is nothing.
    """
    points, labels = np.zeros((len(masks), 3, 2), np.float32), np.full((len(masks), 3), OUTSIDE)
    for i, mask in enumerate(masks):
        rows, columns = np.nonzero(mask)
        if not len(rows):
            continue
        middle = np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2)
        low, high = np.array([columns.min(), rows.min()]), np.array([columns.max() + 1, rows.max() + 1])
        wider = margin * (high - low)
        points[i, 0] = columns[middle] + 0.5, rows[middle] + 0.5
        points[i, 1] = np.maximum(low - wider, 0)
        points[i, 2] = np.minimum(high + wider, mask.shape[::-1])
        labels[i] = (FOREGROUND, TOP_LEFT, BOTTOM_RIGHT)
    return points, labels
