"""Training and use of a detector on pictures with boxes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import cos, pi

import numpy as np
import numpy.typing as npt
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from worldrl.data.scenes import SceneSet
from worldrl.errors import ConfigError, DataError
from worldrl.perception.boxes import to_corners, to_middles
from worldrl.perception.detection_losses import Truth, detection_loss
from worldrl.perception.frozen_detr import FrozenDETR, Knowledge
from worldrl.scene import SHAPES, check_boxes, check_names

WARMUP, CLIP_NORM, DECAY = 50, 1.0, 1e-4
GREY, SPREAD = 0.5, 0.25
"""What pixels in [0, 1] are standardized by."""
CHUNK = 50


@dataclass(frozen=True)
class Detections:
    """Boxes found in some pictures.

    Attributes:
        scores: ``(n, q, c)`` of every box for each class, in [0, 1].
        boxes: ``(n, q, 4)`` left, top, right, bottom in shares of the picture.
    """

    scores: npt.NDArray[np.float32]
    boxes: npt.NDArray[np.float32]


def to_pixels(frames: npt.NDArray[np.uint8], *, size: int) -> Float[Tensor, "n 3 s s"]:
    """Return standardized pixels of frames ``(n, h, w, 3)`` uint8, shrunk to ``size``.

    Raises:
        ConfigError: If the frames are not a whole number of times as large.
    """
    if frames.shape[1] % size or frames.shape[1] != frames.shape[2] or size % 8:
        raise ConfigError(f"size must be a multiple of 8 that divides {frames.shape[1]}, got {size}.")
    pixels = rearrange(torch.from_numpy(np.array(frames)), "n h w c -> n c h w").contiguous().float() / 255
    return (F.avg_pool2d(pixels, frames.shape[1] // size) - GREY) / SPREAD


def truth_of(scenes: SceneSet, names: Sequence[str] = SHAPES) -> list[Truth]:
    """Return the boxes of scenes, their classes being shapes.

    Raises:
        ConfigError: If a name is empty or twice there.
        DataError: If a box is not inside its picture, or a scene has no thing of these.
    """
    check_names(names)
    rows = []
    for i in range(len(scenes)):
        things = [thing for thing in scenes.things(i) if thing.shape in names]
        if not things:
            raise DataError(f"scene {i} must show one of {', '.join(names)}, got none: leave it out.")
        boxes = np.stack([thing.box for thing in things])
        check_boxes(boxes, scenes.size, scenes.size)
        labels = torch.tensor([list(names).index(thing.shape) for thing in things])
        rows.append(Truth(labels, to_middles(torch.from_numpy(boxes).float() / scenes.size)))
    return rows


def fit_detector(
    detector: FrozenDETR,
    pixels: Float[Tensor, "n 3 h w"],
    truth: Sequence[Truth],
    known: Knowledge,
    *,
    steps: int,
    seed: int,
    batch: int = 16,
    rate: float = 6e-4,
    told: Callable[[int, float], None] = lambda step, loss: None,
) -> list[float]:
    """Train a detector in place and return its losses.

    Args:
        detector: With random weights.
        pixels: Standardized.
        truth: What is in each picture, at least one thing.
        known: What a frozen encoder says of each picture.
        steps: Of AdamW.
        seed: Of the batches.
        batch: Pictures in a step.
        rate: The highest, after which it falls to zero along a cosine.
        told: Called with the step and its loss.
    """
    optimiser = torch.optim.AdamW(detector.parameters(), lr=rate, weight_decay=DECAY)
    generator, losses = torch.Generator().manual_seed(seed), []
    detector.train()
    for step in range(steps):
        pace = min((step + 1) / WARMUP, 1.0) * (1 + cos(pi * step / steps)) / 2
        for group in optimiser.param_groups:
            group["lr"] = rate * pace
        rows = torch.randint(len(pixels), (batch,), generator=generator)
        loss = detection_loss(detector(pixels[rows], known[rows]), [truth[row] for row in rows.tolist()])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(detector.parameters(), CLIP_NORM)
        optimiser.step()
        losses.append(float(loss.detach()))
        told(step, losses[-1])
    return losses


@torch.no_grad()
def detect(detector: FrozenDETR, pixels: Float[Tensor, "n 3 h w"], known: Knowledge) -> Detections:
    """Return what the last layer of a detector finds in pictures."""
    detector.eval()
    scores, boxes = [], []
    for start in range(0, len(pixels), CHUNK):
        part = slice(start, start + CHUNK)
        last = detector(pixels[part], known[part]).layers[-1]
        scores.append(last.logits.sigmoid())
        boxes.append(to_corners(last.boxes).clamp(0.0, 1.0))
    return Detections(torch.cat(scores).numpy(), torch.cat(boxes).numpy())
