"""Cuboids before a camera, as tensors that gradients pass through: corners, projections, rotations, extents."""

from dataclasses import dataclass

import torch
from einops import einsum, rearrange, repeat
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

NEAR = 0.02
"""Metres before the camera that a point is projected from at least: what is behind it has no picture."""


@dataclass(frozen=True)
class Cuboids:
    """Oriented boxes in the frame of their camera: x right, y down, z forward.

    Attributes:
        centres: ``(n, 3)`` metres.
        sizes: ``(n, 3)`` whole extents along a box's own axes, metres.
        rotations: ``(n, 3, 3)`` from a box's axes to the camera's; the third axis is the box's own upward one.
    """

    centres: Float[Tensor, "n 3"]
    sizes: Float[Tensor, "n 3"]
    rotations: Float[Tensor, "n 3 3"]

    def __len__(self) -> int:
        return len(self.centres)

    def corners(self) -> Float[Tensor, "n 8 3"]:
        """Return the corners, metres; of the signs of the three axes, the last one changes fastest."""
        halves = torch.tensor([-0.5, 0.5], dtype=self.sizes.dtype, device=self.sizes.device)
        inside = rearrange(self.sizes, "n c -> n 1 c") * torch.cartesian_prod(halves, halves, halves)
        return einsum(self.rotations, inside, "n c a, n v a -> n v c") + rearrange(self.centres, "n c -> n 1 c")

    def detach(self) -> "Cuboids":
        """Return them without their history."""
        return Cuboids(self.centres.detach(), self.sizes.detach(), self.rotations.detach())

    def pick(self, rows: Tensor) -> "Cuboids":
        """Return some of them, by numbers ``(m,)``."""
        return Cuboids(self.centres[rows], self.sizes[rows], self.rotations[rows])


@dataclass(frozen=True)
class Views:
    """Boxes in pictures, and the pinhole cameras with square pixels that took these.

    Attributes:
        boxes: ``(n, 4)`` left, top, right, bottom in pixels.
        focal: ``(n,)`` focal lengths, pixels.
        middle: ``(n, 2)`` where the optical axes meet the pictures (x, y), pixels.
        pictures: ``(n,)`` which picture each box is in.
        size: Height and width of all pictures, pixels.
    """

    boxes: Float[Tensor, "n 4"]
    focal: Float[Tensor, " n"]
    middle: Float[Tensor, "n 2"]
    pictures: Int[Tensor, " n"]
    size: tuple[int, int]

    def __len__(self) -> int:
        return len(self.boxes)

    def project(self, points: Float[Tensor, "n m 3"]) -> Float[Tensor, "n m 2"]:
        """Return the pixels that show points of the camera's frame."""
        depth = points[..., 2:].clamp_min(NEAR)
        scaled = rearrange(self.focal, "n -> n 1 1") * points[..., :2] / depth
        return scaled + rearrange(self.middle, "n c -> n 1 c")

    def rays(self, pixels: Float[Tensor, "n 2"]) -> Float[Tensor, "n 3"]:
        """Return the points at a depth of one metre that pixels show; times a depth they are the points there."""
        flat = (pixels - self.middle) / rearrange(self.focal, "n -> n 1")
        return torch.cat([flat, torch.ones_like(flat[:, :1])], dim=1)

    def pick(self, rows: Tensor) -> "Views":
        """Return some of them, by numbers ``(m,)``."""
        return Views(self.boxes[rows], self.focal[rows], self.middle[rows], self.pictures[rows], self.size)


def middles(boxes: Float[Tensor, "n 4"]) -> Float[Tensor, "n 2"]:
    """Return the pixels in the middle of boxes."""
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def tight_boxes(cuboids: Cuboids, views: Views) -> Float[Tensor, "n 4"]:
    """Return the smallest boxes that hold the projected corners, pixels; they may reach beyond the picture."""
    corners = views.project(cuboids.corners())
    return torch.cat([corners.amin(dim=1), corners.amax(dim=1)], dim=1)


def rotations_of(numbers: Float[Tensor, "n 6"]) -> Float[Tensor, "n 3 3"]:
    """Return the rotations whose first two columns point most nearly where six numbers say.

    Source: Zhou et al. 2019, On the continuity of rotation representations in neural networks, arXiv 1812.07035,
    section 4.2.
    """
    first = normalize(numbers[:, :3], dim=1)
    second = numbers[:, 3:] - (first * numbers[:, 3:]).sum(dim=1, keepdim=True) * first
    second = normalize(second, dim=1)
    return torch.stack([first, second, torch.linalg.cross(first, second, dim=1)], dim=2)


def turned_to(rays: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3 3"]:
    """Return the shortest rotations that take the optical axis to rays.

    After it an allocentric rotation, what a thing looks like where it is seen, is an egocentric one, how it stands in
    the camera's frame.
    """
    x, y, z = normalize(rays, dim=1).unbind(dim=1)
    zero = torch.zeros_like(x)
    cross = rearrange(torch.stack([zero, zero, x, zero, zero, y, -x, -y, zero]), "(i j) n -> n i j", i=3)
    unit = repeat(torch.eye(3, dtype=rays.dtype, device=rays.device), "i j -> n i j", n=len(rays))
    return unit + cross + cross @ cross / rearrange(1 + z, "n -> n 1 1")


def half_extents(cuboids: Cuboids) -> Float[Tensor, " n"]:
    """Return half of how deep each cuboid is along the rays that meet it, on average, as depth in metres.

    That is its volume over twice the area of its shadow. A body that is its own point reflection has its visible
    surface, on average over its picture, just so far before its centre (our derivation, for parallel rays); the chord
    through the centre alone would add too much.
    """
    rays = normalize(cuboids.centres, dim=1)
    slopes = einsum(cuboids.rotations, rays, "n c a, n c -> n a").abs()
    return rays[:, 2] / (2 * (slopes / cuboids.sizes).sum(dim=1))
