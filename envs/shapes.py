"""What the things of labelled scenes are made of: a few primitives each, and how far they reach."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from worldrl.types import Array


@dataclass(frozen=True)
class Part:
    """A primitive of MuJoCo in the frame of its thing, which stands on z = 0.

    Attributes:
        kind: ``box``, ``sphere``, ``cylinder`` or ``capsule``.
        size: As MuJoCo counts it: half extents; radius; radius and half length. Metres.
        position: ``(x, y, z)``, metres.
        axis: For cylinders and capsules, the axis they lie along: ``x``, ``y`` or ``z``.
        dark: Whether it is the dark inside of something rather than in the thing's colour.
    """

    kind: str
    size: tuple[float, ...]
    position: tuple[float, float, float]
    axis: str = "z"
    dark: bool = False


_HANDLE = [
    Part("capsule", (0.006, 0.013), (0.044, 0.0, 0.062), axis="x"),
    Part("capsule", (0.006, 0.013), (0.044, 0.0, 0.024), axis="x"),
    Part("capsule", (0.006, 0.019), (0.057, 0.0, 0.043)),
]
PARTS: dict[str, tuple[Part, ...]] = {
    "cube": (Part("box", (0.036, 0.036, 0.036), (0.0, 0.0, 0.036)),),
    "ball": (Part("sphere", (0.041,), (0.0, 0.0, 0.041)),),
    "can": (
        Part("cylinder", (0.031, 0.048), (0.0, 0.0, 0.048)),
        Part("cylinder", (0.025, 0.001), (0.0, 0.0, 0.096), dark=True),
    ),
    "mug": (
        Part("cylinder", (0.036, 0.043), (0.0, 0.0, 0.043)),
        Part("cylinder", (0.030, 0.001), (0.0, 0.0, 0.086), dark=True),
        *_HANDLE,
    ),
    "bottle": (
        Part("cylinder", (0.029, 0.034), (0.0, 0.0, 0.034)),
        Part("sphere", (0.029,), (0.0, 0.0, 0.068)),
        Part("cylinder", (0.011, 0.02), (0.0, 0.0, 0.112)),
    ),
    "hammer": (
        Part("capsule", (0.010, 0.05), (-0.01, 0.0, 0.018), axis="x"),
        Part("box", (0.017, 0.04, 0.018), (0.052, 0.0, 0.018)),
    ),
    "arch": (
        Part("box", (0.013, 0.026, 0.03), (-0.04, 0.0, 0.03)),
        Part("box", (0.013, 0.026, 0.03), (0.04, 0.0, 0.03)),
        Part("box", (0.053, 0.026, 0.013), (0.0, 0.0, 0.073)),
    ),
    "dumbbell": (
        Part("sphere", (0.028,), (-0.042, 0.0, 0.028)),
        Part("sphere", (0.028,), (0.042, 0.0, 0.028)),
        Part("capsule", (0.010, 0.04), (0.0, 0.0, 0.028), axis="x"),
    ),
}
"""The parts of every shape of ``worldrl.scene.SHAPES``."""
MAY_LIE = ("can", "mug", "bottle")
"""Shapes that now and then lie on their side."""
_AXES = {
    "x": np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]]),
    "y": np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]]),
    "z": np.eye(3),
}
"""For each axis the rotation that turns z to it."""


def orientation(part: Part) -> npt.NDArray[np.float64]:
    """Return the rotation ``(3, 3)`` from a part's axes to its thing's."""
    return _AXES[part.axis]


def bounds(shape: str, rotation: Array | None = None, scale: float = 1.0) -> npt.NDArray[np.float64]:
    """Return how far a shape reaches: the lowest and highest coordinates ``(2, 3)``, metres.

    Args:
        shape: One of ``PARTS``.
        rotation: ``(3, 3)`` that the shape is turned by; none for standing.
        scale: How much larger than usual it is.
    """
    turn = np.eye(3) if rotation is None else np.asarray(rotation)
    centres = np.array([turn @ part.position for part in PARTS[shape]])
    reach = np.array([_reach(part, turn @ orientation(part)) for part in PARTS[shape]])
    return scale * np.stack([(centres - reach).min(axis=0), (centres + reach).max(axis=0)])


def _reach(part: Part, turn: Array) -> npt.NDArray[np.float64]:
    """Return how far a turned primitive reaches from its centre along each axis ``(3,)``."""
    if part.kind == "box":
        return np.asarray(np.abs(turn) @ part.size)
    if part.kind == "sphere":
        return np.full(3, part.size[0])
    radius, half = part.size
    along = np.abs(turn[:, 2])
    round_off = np.ones(3) if part.kind == "capsule" else np.sqrt(np.maximum(1.0 - along**2, 0.0))
    return np.asarray(half * along + radius * round_off)
