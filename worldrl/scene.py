"""A labelled scene: what stands on the table, where it is in the picture and in space, and how it is called.

The camera's frame is that of OpenCV: x to the right, y down, z forward, metres; pixels are counted from the upper left
corner, so that the middle of the first pixel is at (0.5, 0.5).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from worldrl.errors import ConfigError, DataError
from worldrl.types import Array

SHAPES = ("cube", "ball", "can", "mug", "bottle", "hammer", "arch", "dumbbell")
COLOURS = {
    "red": (0.85, 0.10, 0.10),
    "green": (0.10, 0.62, 0.18),
    "blue": (0.12, 0.22, 0.85),
    "yellow": (0.95, 0.83, 0.12),
    "purple": (0.52, 0.15, 0.68),
    "orange": (0.96, 0.50, 0.08),
    "white": (0.94, 0.94, 0.94),
    "black": (0.08, 0.08, 0.09),
}
"""Names of colours and what they are, RGB in [0, 1]."""
NAMES = tuple(f"{colour} {shape}" for shape in SHAPES for colour in COLOURS)
"""Every class: a shape in a colour."""
_CORNERS = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])


def is_novel(name: str) -> bool:
    """Return whether a class is held out of training; its shape and its colour are not, each by itself.

    Every shape has two such colours, and every colour two such shapes.

    Raises:
        ConfigError: If there is no such class.
    """
    if name not in NAMES:
        raise ConfigError(f"name must be a colour and a shape, such as 'red cube', got '{name}'.")
    shape, colour = divmod(NAMES.index(name), len(COLOURS))
    return (3 * shape + colour) % 4 == 0


NOVEL = tuple(name for name in NAMES if is_novel(name))
BASE = tuple(name for name in NAMES if name not in NOVEL)


@dataclass(frozen=True)
class Camera:
    """A pinhole camera with square pixels.

    Attributes:
        focal: Focal length in pixels.
        centre: Where the optical axis meets the picture (x, y), pixels.
        rotation: ``(3, 3)`` from the world's axes to the camera's.
        position: ``(3,)`` in the world, metres.
    """

    focal: float
    centre: tuple[float, float]
    rotation: Array
    position: Array

    @property
    def intrinsics(self) -> npt.NDArray[np.float64]:
        """The matrix K ``(3, 3)``, pixels."""
        return np.array([[self.focal, 0.0, self.centre[0]], [0.0, self.focal, self.centre[1]], [0.0, 0.0, 1.0]])

    def project(self, points: Array) -> npt.NDArray[np.float64]:
        """Return the pixels ``(..., 2)`` of points ``(..., 3)`` in the camera's frame, which lie before it."""
        return np.asarray(self.focal * points[..., :2] / points[..., 2:] + np.array(self.centre))

    def back_project(self, pixels: Array, depth: Array) -> npt.NDArray[np.float64]:
        """Return the points ``(..., 3)`` in the camera's frame that pixels ``(..., 2)`` show at a depth ``(...)``."""
        rays = (np.asarray(pixels) - np.array(self.centre)) / self.focal
        return np.asarray(np.concatenate([rays, np.ones_like(rays[..., :1])], axis=-1) * np.asarray(depth)[..., None])

    def to_camera(self, points: Array) -> npt.NDArray[np.float64]:
        """Return points ``(..., 3)`` of the world in the camera's frame."""
        return np.asarray((points - self.position) @ self.rotation.T)


@dataclass(frozen=True)
class Thing:
    """One thing on the table.

    Attributes:
        shape: One of ``SHAPES``.
        colour: One of ``COLOURS``.
        box: ``(4,)`` float32, what is seen of it: left, top, right, bottom in pixels, the last two exclusive.
        centre: ``(3,)`` of its oriented box in the camera's frame, metres.
        size: ``(3,)`` whole extents of that box along its own axes, metres.
        rotation: ``(3, 3)`` from the box's axes to the camera's; the third is the thing's own upward axis.
        visible: Share of its pixels that nothing hides, in (0, 1].
    """

    shape: str
    colour: str
    box: Array
    centre: Array
    size: Array
    rotation: Array
    visible: float

    @property
    def name(self) -> str:
        """What it is called, one of ``NAMES``."""
        return f"{self.colour} {self.shape}"

    @property
    def label(self) -> int:
        """The index of its shape."""
        return SHAPES.index(self.shape)

    def corners(self) -> npt.NDArray[np.float64]:
        """Return the corners of its oriented box ``(8, 3)`` in the camera's frame, metres."""
        return np.asarray((_CORNERS * self.size) @ np.asarray(self.rotation).T + self.centre)


@dataclass(frozen=True)
class Scene:
    """A picture and everything that is known of it.

    Attributes:
        image: ``(h, w, 3)`` uint8.
        instances: ``(h, w)`` uint8: 0 where there is no thing, ``i + 1`` where ``things[i]`` is seen.
        depth: ``(h, w)`` float32, metres along the optical axis.
        things: In no order that means anything.
        camera: Who took it.
        ground: ``(3,)`` the table's normal in the camera's frame.
        captions: Sentences that are true of it.
        questions: Questions about it and their answers, one word each.
    """

    image: npt.NDArray[np.uint8]
    instances: npt.NDArray[np.uint8]
    depth: npt.NDArray[np.float32]
    things: tuple[Thing, ...]
    camera: Camera
    ground: Array
    captions: tuple[str, ...] = ()
    questions: tuple[tuple[str, str], ...] = ()


def check_names(names: Sequence[str]) -> None:
    """Refuse a list of class names that cannot be told apart.

    Raises:
        ConfigError: If there is no name, one is empty, or one stands there twice.
    """
    if isinstance(names, str) or not names:
        raise ConfigError(f"names must be a list of at least one class name, got {names!r}.")
    plain = [name.strip().lower() for name in names]
    if "" in plain:
        raise ConfigError(f"names must not be empty, got an empty one at position {plain.index('')}: take it out.")
    twice = sorted({name for name in plain if plain.count(name) > 1})
    if twice:
        raise ConfigError(f"names must differ, got '{twice[0]}' {plain.count(twice[0])} times: keep one of them.")


def check_boxes(boxes: Array, height: int, width: int) -> None:
    """Refuse boxes that are empty or not inside their picture.

    Args:
        boxes: ``(n, 4)`` left, top, right, bottom in pixels.
        height: Of the picture, pixels.
        width: Of the picture, pixels.

    Raises:
        DataError: If one is not finite, has no area, or reaches beyond the picture.
    """
    rows = np.asarray(boxes, np.float64)
    if rows.ndim != 2 or rows.shape[1] != 4:
        raise DataError(f"boxes must be (n, 4): left, top, right, bottom, got {rows.shape}.")
    inside = (rows[:, :2] >= 0).all(axis=1) & (rows[:, 2] <= width) & (rows[:, 3] <= height)
    bad = ~(inside & (rows[:, 2] > rows[:, 0]) & (rows[:, 3] > rows[:, 1]))
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        told = ", ".join(f"{value:g}" for value in rows[first])
        raise DataError(
            f"boxes must be left, top, right, bottom inside the {height}x{width} picture, got [{told}] at row {first}: "
            "clip them, and drop those that are empty."
        )
