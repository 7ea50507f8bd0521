"""What both studies of segmentation share: true labels, training, figures and pictures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import cos, pi
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from worldrl.data.scenes import SceneSet
from worldrl.perception.masks import class_map, numbers_of
from worldrl.recipes.studies.stock import Figures
from worldrl.scene import BASE, NAMES, is_novel
from worldrl.types import Array

STRIDE = 4
"""Pixels of a cell that is judged."""
SHOWN, WARMUP, CLIP_NORM = 6, 30, 1.0


@dataclass(frozen=True)
class Segmented:
    """Scenes and what was found in them.

    Attributes:
        scenes: All of a split.
        rows: ``(n,)`` which of them.
        found: ``(n, h, w)`` by cells of ``STRIDE`` pixels: 0 for the background, ``i + 1`` for ``NAMES[i]``.
    """

    scenes: SceneSet
    rows: Array
    found: Array

    def true(self, place: int) -> Array:
        """Return what is really there, of the scene at a place among the rows."""
        return _true(self.scenes, int(self.rows[place]), NAMES, STRIDE)


def label_maps(scenes: SceneSet, rows: Sequence[int], names: Sequence[str], *, stride: int) -> Tensor:
    """Return the true class of each cell ``(n, h, w)``: 0 for no thing, ``i + 1`` for the ``i``-th name."""
    return torch.from_numpy(np.stack([_true(scenes, row, names, stride) for row in rows]))


def _true(scenes: SceneSet, row: int, names: Sequence[str], stride: int) -> Array:
    things = [thing.name for thing in scenes.things(row)]
    return class_map(np.array(scenes.instances[row]), numbers_of(things, names), stride=stride)


def exchanged(seed: int) -> dict[str, str]:
    """Return another name for every base class, that of another one; novel classes keep theirs."""
    order = np.random.default_rng(seed).permutation(len(BASE))
    ring = {BASE[one]: BASE[other] for one, other in zip(order, np.roll(order, 1), strict=True)}
    return {name: ring.get(name, name) for name in NAMES}


def descend(
    model: nn.Module, loss: Callable[[Tensor], Tensor], count: int, *, steps: int, batch: int, rate: float, seed: int
) -> None:
    """Train a model in place with AdamW, its rate rising, then falling to zero along a cosine.

    Args:
        model: What is trained.
        loss: Of some rows of the training scenes.
        count: How many training scenes there are.
        steps: Gradient steps.
        batch: Scenes in a step.
        rate: The highest.
        seed: Of the batches.
    """
    learning = [weight for weight in model.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(learning, lr=rate, weight_decay=1e-3)
    generator = torch.Generator().manual_seed(seed)
    model.train()
    for step in range(steps):
        pace = min((step + 1) / WARMUP, 1.0) * (1 + cos(pi * step / steps)) / 2
        for group in optimiser.param_groups:
            group["lr"] = rate * pace
        value = loss(torch.randint(count, (batch,), generator=generator))
        optimiser.zero_grad(set_to_none=True)
        value.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(learning, CLIP_NORM)
        optimiser.step()
        if step % 50 == 0:
            print(f"step {step} loss {float(value.detach()):.3f}", flush=True)


def figures_of(segmented: Segmented, *, suffix: str) -> Figures:
    """Return mean IoU of seen and of novel classes, of the background, and of all things whatever they are called."""
    from worldrl.evaluation.segmentation import PixelCounts

    counts = PixelCounts(len(NAMES))
    for place in range(len(segmented.rows)):
        counts.add(segmented.found[place], segmented.true(place))
    found = counts.figures([is_novel(name) for name in NAMES])
    named = {
        "miou_seen": found.seen, "miou_novel": found.novel,
        "iou_background": found.background, "iou_things": found.things,
    }  # fmt: skip
    return {f"{name}{suffix}": value for name, value in named.items()}


def draw(path: Path, segmented: Segmented) -> None:
    """Write a picture of the first scenes: what is there, and below it what was found, with the names of both."""
    import imageio.v3 as iio

    from worldrl.evaluation import drawing

    real, seen, said = list[Array](), list[Array](), list[str]()
    for place in range(min(SHOWN, len(segmented.rows))):
        image = np.array(segmented.scenes.images[segmented.rows[place]])
        for labels, pictures in ((segmented.true(place), real), (segmented.found[place], seen)):
            pictures.append(drawing.masks(image, labels.repeat(STRIDE, axis=0).repeat(STRIDE, axis=1)))
        said.append(_names(segmented.found[place]))
    true = [_names(segmented.true(place)) for place in range(len(real))]
    iio.imwrite(path, drawing.sheet([*real, *seen], columns=len(real), captions=[*true, *said]))


def _names(labels: Array) -> str:
    """Return the names of what covers most of a map, at most six."""
    numbers, counts = np.unique(labels[labels > 0], return_counts=True)
    order: Any = np.argsort(-counts)[:6]
    return ", ".join(NAMES[number - 1] for number in numbers[order])
