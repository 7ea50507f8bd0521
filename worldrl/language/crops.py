"""Square windows of scenes around things, and what is true of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor

from worldrl.data.captions import in_order
from worldrl.data.scenes import SceneSet
from worldrl.scene import Thing
from worldrl.types import Array

SIZE = 112
"""Pixels a window is high and wide when it is shown."""
SCALE = 1.6
"""How many times the longer side of its thing a window is wide when things are asked for their names."""
LEAST = 24.0
"""Pixels of the scene that a window shows at least."""


@dataclass(frozen=True)
class View:
    """A window of a scene, or a whole one.

    Attributes:
        frame: ``(s, s, 3)`` uint8.
        names: Of the things whose middles it shows, from left to right.
        boxes: ``(m, 4)`` of those things, 1 being the side of the window; cut off where the window ends.
        about: Which of them it was cut for; -1 for a whole scene.
    """

    frame: npt.NDArray[np.uint8]
    names: tuple[str, ...]
    boxes: Array
    about: int


def window_of(box: Array, *, scale: float, side: int, shift: tuple[float, float] = (0.0, 0.0)) -> Array:
    """Return the square around a box ``(4,)``: left, top, right, bottom; moved to where it fits into the picture.

    Args:
        box: Left, top, right, bottom in pixels.
        scale: How many times the box's longer side it is wide.
        side: Of the picture, pixels.
        shift: How far its middle is from that of the box, in sides of the window.
    """
    left, top, right, bottom = (float(value) for value in box)
    wide = min(max(scale * max(right - left, bottom - top), LEAST), side)
    x, y = (left + right) / 2 + shift[0] * wide, (top + bottom) / 2 + shift[1] * wide
    corner = np.clip(np.array([x, y]) - wide / 2, 0.0, side - wide)
    return np.array([*corner, *(corner + wide)])


def cut(image: npt.NDArray[np.uint8], window: Array, *, size: int = SIZE) -> npt.NDArray[np.uint8]:
    """Return what a window shows, resized to ``(size, size, 3)``."""
    from PIL import Image

    left, top, right, bottom = (float(value) for value in window)
    whole_image = Image.fromarray(np.ascontiguousarray(image))
    shown = whole_image.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, right, bottom))
    return np.asarray(shown)


def view(image: npt.NDArray[np.uint8], things: Sequence[Thing], window: Array, about: Thing | None) -> View:
    """Return what a window of a scene shows.

    Args:
        image: ``(h, w, 3)`` uint8.
        things: Of the scene.
        window: Left, top, right, bottom in pixels; square.
        about: The thing that it was cut for.
    """
    seen = [thing for thing in in_order(things) if thing is about or _shows(window, thing.box)]
    wide = window[2] - window[0]
    boxes = [(np.asarray(thing.box) - np.tile(window[:2], 2)) / wide for thing in seen]
    return View(
        cut(image, window), tuple(thing.name for thing in seen),
        np.clip(np.stack(boxes), 0.0, 1.0) if boxes else np.zeros((0, 4)),
        next((i for i, thing in enumerate(seen) if thing is about), -1),
    )  # fmt: skip


def whole(image: npt.NDArray[np.uint8], things: Sequence[Thing]) -> View:
    """Return a whole scene, whose picture is square, in its own size."""
    side = float(len(image))
    names = tuple(thing.name for thing in in_order(things))
    boxes = np.stack([np.asarray(thing.box) / side for thing in in_order(things)]) if things else np.zeros((0, 4))
    return View(np.array(image), names, boxes, -1)


def around(scenes: SceneSet, *, scale: float = SCALE, least_visible: float = 0.6) -> Iterator[View]:
    """Yield one window for each thing of each scene that is seen well enough, all at one scale.

    Args:
        scenes: Where to look.
        scale: How many times its thing's longer side a window is wide.
        least_visible: Share of a thing that nothing hides, from which it is asked for.
    """
    for i in range(len(scenes)):
        things = scenes.things(i)
        for thing in things:
            if thing.visible >= least_visible:
                yield view(scenes.images[i], things, window_of(thing.box, scale=scale, side=scenes.size), thing)


def at_random(scenes: SceneSet, count: int, *, seed: int, scales: tuple[float, float] = (1.3, 3.0)) -> Iterator[View]:
    """Yield windows around things, each drawn at random, at random scales and a little beside their middles.

    Args:
        scenes: Where to look.
        count: Windows.
        seed: What chooses them.
        scales: Least and most sides of a window in longer sides of its thing; logarithms of scales are uniform.
    """
    rng = np.random.default_rng(seed)
    order = [(i, j) for i in range(len(scenes)) for j in range(len(scenes.things(i)))]
    rng.shuffle(order)
    for k in range(count):
        i, j = order[k % len(order)]
        things = scenes.things(i)
        scale = float(np.exp(rng.uniform(*np.log(scales))))
        dx, dy = (float(value) for value in rng.uniform(-0.1, 0.1, size=2))
        window = window_of(things[j].box, scale=scale, side=scenes.size, shift=(dx, dy))
        yield view(scenes.images[i], things, window, things[j])


def box_weights(boxes: Float[Tensor, "m 4"], grid: tuple[int, int]) -> Float[Tensor, "m p"]:
    """Return how much of each box lies in each cell of a map; rows sum to 1.

    Args:
        boxes: Left, top, right, bottom, 1 being the side of the picture; none of them empty.
        grid: Rows and columns.
    """
    rows, columns = grid
    across = _overlap(boxes[:, 0], boxes[:, 2], columns)
    down = _overlap(boxes[:, 1], boxes[:, 3], rows)
    shares = rearrange(rearrange(down, "m i -> m i 1") * rearrange(across, "m j -> m 1 j"), "m i j -> m (i j)")
    return shares / shares.sum(dim=1, keepdim=True).clamp_min(1e-9)


def _overlap(low: Float[Tensor, " m"], high: Float[Tensor, " m"], cells: int) -> Float[Tensor, "m c"]:
    edges = torch.linspace(0.0, 1.0, cells + 1)
    left, right = (repeat(side, "c -> m c", m=len(low)) for side in (edges[:-1], edges[1:]))
    return (right.minimum(rearrange(high, "m -> m 1")) - left.maximum(rearrange(low, "m -> m 1"))).clamp_min(0.0)


def _shows(window: Array, box: Array) -> bool:
    middle = (np.asarray(box)[:2] + np.asarray(box)[2:]) / 2
    return bool((middle > window[:2]).all() and (middle < window[2:]).all())
