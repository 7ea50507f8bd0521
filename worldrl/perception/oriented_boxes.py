"""Oriented boxes in space and how much two of them overlap, exactly: where their half-spaces meet is a polytope."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from worldrl.types import Array

_CORNERS = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
THIN = 1e-6
"""Where the largest ball that both boxes hold has a smaller radius, in shares of the thinnest side, they only touch."""


@dataclass(frozen=True)
class OrientedBoxes:
    """Boxes in space.

    Attributes:
        centres: ``(n, 3)`` metres.
        sizes: ``(n, 3)`` whole extents along each box's own axes, metres.
        rotations: ``(n, 3, 3)`` from a box's axes to those of the frame.
    """

    centres: Array
    sizes: Array
    rotations: Array

    def __post_init__(self) -> None:
        n = len(self.centres)
        shapes = (np.shape(self.centres), np.shape(self.sizes), np.shape(self.rotations))
        if shapes != ((n, 3), (n, 3), (n, 3, 3)):
            raise ValueError(f"centres, sizes and rotations must be (n, 3), (n, 3) and (n, 3, 3), got {shapes}.")
        if not np.all(np.asarray(self.sizes) > 0):
            raise ValueError(f"sizes must be above 0, got {np.min(self.sizes):g}.")

    def __len__(self) -> int:
        return len(self.centres)

    def __getitem__(self, rows: Array) -> "OrientedBoxes":
        """Return some of them, by numbers ``(m,)`` or a mask ``(n,)``."""
        return OrientedBoxes(self.centres[rows], self.sizes[rows], self.rotations[rows])

    def corners(self) -> npt.NDArray[np.float64]:
        """Return their corners ``(n, 8, 3)``; of the signs of the three axes, the last one changes fastest."""
        return np.asarray((_CORNERS * self.sizes[:, None]) @ np.swapaxes(self.rotations, 1, 2) + self.centres[:, None])


def overlaps(some: OrientedBoxes, others: OrientedBoxes) -> npt.NDArray[np.float64]:
    """Return the IoU of every pair ``(n, m)``, in ``[0, 1]``.

    Pairs whose circumscribed spheres are apart are not looked at; any other takes a few milliseconds.
    """
    some_reach, others_reach = (np.linalg.norm(boxes.sizes, axis=1) / 2 for boxes in (some, others))
    apart = np.linalg.norm(some.centres[:, None] - others.centres[None], axis=-1)
    found = np.zeros(apart.shape)
    for i, j in np.argwhere(apart < some_reach[:, None] + others_reach[None]):
        found[i, j] = _iou(some, int(i), others, int(j))
    return found


def paired_overlaps(some: OrientedBoxes, others: OrientedBoxes) -> npt.NDArray[np.float64]:
    """Return the IoU of each box with the other of the same number ``(n,)``.

    Raises:
        ValueError: If there are not as many of the one as of the other.
    """
    if len(some) != len(others):
        raise ValueError(f"boxes must be as many as the others, got {len(some)} and {len(others)}.")
    rows = np.arange(len(some))[:, None]
    return np.array([overlaps(some[row], others[row])[0, 0] for row in rows])


def _iou(some: OrientedBoxes, i: int, others: OrientedBoxes, j: int) -> float:
    volumes = float(np.prod(some.sizes[i])), float(np.prod(others.sizes[j]))
    shared = _shared_volume(np.concatenate([_half_spaces(some, i), _half_spaces(others, j)]))
    return min(shared / (sum(volumes) - shared), 1.0)


def _half_spaces(boxes: OrientedBoxes, i: int) -> npt.NDArray[np.float64]:
    """Return what is inside a box as rows ``(6, 4)`` of ``normal . x + offset <= 0``."""
    axes = np.asarray(boxes.rotations[i], np.float64).T
    normals = np.concatenate([axes, -axes])
    offsets = -(normals @ np.asarray(boxes.centres[i], np.float64)) - np.tile(boxes.sizes[i], 2) / 2
    return np.concatenate([normals, offsets[:, None]], axis=1)


def _shared_volume(half_spaces: Array) -> float:
    """Return the volume of what lies in all half-spaces ``(m, 4)``; units are free, so sizes are first made about 1.

    The largest ball inside (a linear program of four unknowns) gives the inner point that the intersection is built
    from; where it has no radius, the boxes do not share a volume.
    """
    from scipy.optimize import linprog
    from scipy.spatial import ConvexHull, HalfspaceIntersection

    unit = -float((half_spaces[:3, 3] + half_spaces[3:6, 3]).max())  # the thinnest side of the first box
    normals, offsets = half_spaces[:, :3], half_spaces[:, 3] / unit
    origin = _middle(normals[:6], offsets[:6])
    offsets = offsets + normals @ origin
    ball = linprog(
        [0, 0, 0, -1],
        A_ub=np.c_[normals, np.ones(len(normals))],
        b_ub=-offsets,
        bounds=[(None, None)] * 3 + [(0, None)],
    )
    if ball.status != 0 or ball.x[3] < THIN:
        return 0.0
    corners = HalfspaceIntersection(np.c_[normals, offsets], ball.x[:3]).intersections
    return float(ConvexHull(corners).volume) * unit**3


def _middle(normals: Array, offsets: Array) -> npt.NDArray[np.float64]:
    """Return the centre of the box that six half-spaces bound."""
    return np.asarray(normals[:3].T @ ((offsets[3:] - offsets[:3]) / 2))
