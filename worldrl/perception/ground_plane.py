"""The plane that things stand on, from the depth of what is not a thing."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from worldrl.scene import Camera
from worldrl.types import Array

TRIES = 64
"""Planes through three points that are tried."""
NEAR = 0.01
"""Metres from a plane within which a point lies on it: a few times the noise of a depth camera (our choice)."""
SAMPLES = 400
"""Points that are looked at."""
LEAST = 0.3
"""Share of the points that must lie on a plane for it to be believed (our choice)."""
DOUBT = 0.1
"""Confidence in a plane that is not believed."""


@dataclass(frozen=True)
class Plane:
    """A plane ``normal . x = offset`` in the camera's frame.

    Attributes:
        normal: ``(3,)`` unit, towards the camera.
        offset: Metres; below zero, because the camera is on the normal's side.
        share: Of the points that lie on it.
        confidence: 1, or ``DOUBT`` where too few do.
    """

    normal: npt.NDArray[np.float64]
    offset: float
    share: float
    confidence: float


UNKNOWN = Plane(np.array([0.0, -1.0, 0.0]), 0.0, 0.0, DOUBT)
"""Where there is nothing to see a plane in: the picture is taken to be upright."""


def outside(boxes: Array, size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Return the pixels ``size`` that no box ``(n, 4)`` holds: what may be ground, where only boxes are known."""
    free = np.ones(size, np.bool_)
    for left, top, right, bottom in np.asarray(boxes):
        free[int(np.floor(top)) : int(np.ceil(bottom)), int(np.floor(left)) : int(np.ceil(right))] = False
    return free


def ground_of(depth: Array, mask: npt.NDArray[np.bool_], camera: Camera, *, seed: int) -> Plane:
    """Find the plane of the ground by RANSAC on back-projected pixels.

    Pixels are drawn from all of the picture and keep the camera's own focal length and principal point, so that no
    sub-sampling bends the plane.

    Args:
        depth: ``(h, w)`` metres.
        mask: ``(h, w)``, which pixels may be ground.
        camera: Who took it.
        seed: Of the pixels and the tries.

    Raises:
        ValueError: If depth and mask are not of one shape.
    """
    if depth.shape != mask.shape or depth.ndim != 2:
        raise ValueError(f"depth and mask must be (h, w), both of one shape, got {depth.shape} and {mask.shape}.")
    rows, columns = np.nonzero(mask & (depth > 0) & np.isfinite(depth))
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(rows))[:SAMPLES]
    rows, columns = rows[chosen], columns[chosen]
    pixels = np.stack([columns, rows], axis=1) + 0.5
    return fit_plane(camera.back_project(pixels, depth[rows, columns].astype(np.float64)), rng=rng)


def fit_plane(points: Array, *, rng: np.random.Generator, near: float = NEAR, tries: int = TRIES) -> Plane:
    """Fit a plane to points ``(n, 3)`` of which some do not lie on it.

    The plane through three points that most others lie on is fitted once more to all that do, by least squares.

    Args:
        points: In the camera's frame, metres.
        rng: Of the tries.
        near: Metres from the plane within which a point lies on it.
        tries: How many planes.
    """
    if len(points) < 3:
        return UNKNOWN
    triples = points[rng.integers(0, len(points), (tries, 3))]
    normals = np.cross(triples[:, 1] - triples[:, 0], triples[:, 2] - triples[:, 0])
    lengths = np.linalg.norm(normals, axis=1)
    proper = lengths > 1e-9
    if not proper.any():
        return UNKNOWN
    normals, anchors = normals[proper] / lengths[proper, None], triples[proper, 0]
    close = np.abs(normals @ points.T - (normals * anchors).sum(axis=1)[:, None]) < near
    on = points[close[close.sum(axis=1).argmax()]]
    middle = on.mean(axis=0)
    normal = np.linalg.svd(on - middle, full_matrices=False)[2][-1]
    normal = -normal if normal @ middle > 0 else normal
    share = float((np.abs((points - middle) @ normal) < near).mean())
    return Plane(normal, float(normal @ middle), share, 1.0 if share >= LEAST else DOUBT)
