"""The losses of Weak Cube R-CNN: what 2D boxes, a depth map and the size of a class ask of a cuboid.

Each is a function of its own and gives one number a thing, before its weight. Lengths that a room gives to the paper's
losses are of about a metre; ``unit`` says how many metres stand for one of theirs.

Of the authors' release three things are not taken over: a chained comparison that always holds, an alignment that is
divided by the pictures it skips, and a ground back-projected with rounded focal lengths (``ground_plane``).

Source: Weak Cube R-CNN, losses as its code weighs them.
"""

from dataclasses import dataclass

import torch
from einops import rearrange, reduce
from jaxtyping import Float, Int
from torch import Tensor

from worldrl.perception.cuboids import Cuboids, Views, tight_boxes

STEPS = 10
"""Steps that a cuboid is slid along its ray, either way, to look for where it covers what it should."""


@dataclass(frozen=True)
class Weights:
    """What each loss counts.

    Attributes:
        box: Projected box.
        depth: Depth that is seen.
        slide: Depth at which the projected box has the right area.
        size: Size beyond a deviation of its class.
        up: Upward axis against the ground's normal.
        alignment: Things of a picture against each other.
        extent: Extent in depth.
    """

    box: float = 1.0
    depth: float = 1.0
    slide: float = 1.0
    size: float = 20.0
    up: float = 20.0
    alignment: float = 7.0
    extent: float = 1.0


@dataclass(frozen=True)
class Evidence:
    """What is known of things without any label in space.

    Attributes:
        depth: ``(n,)`` metres, where each thing's centre should be.
        extent: ``(n,)`` metres of depth that each thing should span.
        sizes: ``(n, 3)`` mean of its class, metres.
        spread: ``(n, 3)`` its standard deviation, metres, above 0.
        normals: ``(n, 3)`` of the ground in its picture, unit.
        confidence: ``(n,)`` in that.
        fill: ``(n, 2)`` how much of the projected cuboid's width and height the 2D box of its class has; 1 where a
            thing fills its cuboid.
    """

    depth: Float[Tensor, " n"]
    extent: Float[Tensor, " n"]
    sizes: Float[Tensor, "n 3"]
    spread: Float[Tensor, "n 3"]
    normals: Float[Tensor, "n 3"]
    confidence: Float[Tensor, " n"]
    fill: Float[Tensor, "n 2"]


def weak_loss(
    cuboids: Cuboids, views: Views, evidence: Evidence, *, weights: Weights, unit: float = 1.0
) -> Float[Tensor, " n"]:
    """Return the sum of all losses of each thing, weighed."""
    metres = (cuboids.centres[:, 2] - evidence.depth).abs() / unit
    return (
        weights.box * box_loss(cuboids, views, evidence.fill)
        + weights.depth * metres
        + weights.slide * slide_loss(cuboids, views, evidence.fill, unit=unit)
        + weights.size * size_loss(cuboids.sizes, evidence.sizes, evidence.spread)
        + weights.up * evidence.confidence * up_loss(cuboids, evidence.normals)
        + weights.alignment * alignment_loss(cuboids, views.pictures)
        + weights.extent * extent_loss(cuboids, evidence.extent) / unit
    )


def scaled(loss: Float[Tensor, " n"], uncertainty: Float[Tensor, " n"]) -> Float[Tensor, ""]:
    """Return the mean of losses, each scaled down by the uncertainty that costs as much as it says.

    The scale that is best for a loss of ``l`` has ``exp(uncertainty) = sqrt(2) l``.
    """
    return (2**0.5 * (-uncertainty).exp() * loss + uncertainty).mean()


def box_loss(cuboids: Cuboids, views: Views, fill: Float[Tensor, "n 2"] | None = None) -> Float[Tensor, " n"]:
    """Return one less the generalised IoU of the projected cuboids' boxes with the 2D boxes, in [0, 2].

    Where a 2D box ends at the picture's edge, so does the projected one: the thing may go on beyond (our choice).
    The paper knows no ``fill``: a thing that does not reach its cuboid's corners then looks too large or too near.
    """
    found, height, width = filled(tight_boxes(cuboids, views), fill), *views.size
    at_edge = torch.cat([views.boxes[:, :2] <= 0, views.boxes[:, 2:3] >= width, views.boxes[:, 3:] >= height], dim=1)
    edge = torch.tensor([0.0, 0.0, width, height], device=found.device)
    inside = torch.cat([torch.maximum(found[:, :2], edge[:2]), torch.minimum(found[:, 2:], edge[2:])], dim=1)
    return 1 - generalised_overlap(torch.where(at_edge, inside, found), views.boxes)


def filled(boxes: Float[Tensor, "n 4"], fill: Float[Tensor, "n 2"] | None) -> Float[Tensor, "n 4"]:
    """Return boxes of the same middles that are smaller by a factor of width and of height ``(n, 2)``."""
    if fill is None:
        return boxes
    middle, half = (boxes[:, :2] + boxes[:, 2:]) / 2, fill * (boxes[:, 2:] - boxes[:, :2]) / 2
    return torch.cat([middle - half, middle + half], dim=1)


def generalised_overlap(some: Float[Tensor, "n 4"], others: Float[Tensor, "n 4"]) -> Float[Tensor, " n"]:
    """Return the generalised IoU of each box with the other of the same number, in [-1, 1] (arXiv 1902.09630)."""
    low, high = torch.maximum(some[:, :2], others[:, :2]), torch.minimum(some[:, 2:], others[:, 2:])
    shared = (high - low).clamp_min(0).prod(dim=1)
    either = area(some) + area(others) - shared
    hull = (torch.maximum(some[:, 2:], others[:, 2:]) - torch.minimum(some[:, :2], others[:, :2])).prod(dim=1)
    return shared / either.clamp_min(1e-6) - (hull - either) / hull.clamp_min(1e-6)


def area(boxes: Float[Tensor, "n 4"]) -> Float[Tensor, " n"]:
    """Return the areas of boxes, square pixels."""
    return (boxes[:, 2:] - boxes[:, :2]).clamp_min(0).prod(dim=1)


def slide_loss(
    cuboids: Cuboids, views: Views, fill: Float[Tensor, "n 2"] | None = None, *, unit: float = 1.0
) -> Float[Tensor, " n"]:
    """Return how far each cuboid is from where it covers as much of the picture as its 2D box, in units of depth.

    It is slid along its ray in steps of a tenth of a unit; where that leads is no part of the gradient.
    """
    with torch.no_grad():
        fixed, depth = cuboids.detach(), cuboids.centres[:, 2].detach()
        steps = torch.arange(-STEPS, STEPS + 1, device=depth.device) * (0.1 * unit)
        offered = (rearrange(depth, "n -> n 1") + steps).clamp_min(0.1 * unit)
        factors = rearrange(offered / rearrange(depth, "n -> n 1"), "n m -> n m 1 1")
        centres = rearrange(fixed.centres, "n c -> n 1 1 c")
        corners = rearrange(fixed.corners(), "n v c -> n 1 v c") - centres + centres * factors
        pixels = views.project(rearrange(corners, "n m v c -> n (m v) c"))
        pixels = rearrange(pixels, "n (m v) c -> n m v c", v=8)
        sides = reduce(pixels, "n m v c -> n m c", "max") - reduce(pixels, "n m v c -> n m c", "min")
        share = 1.0 if fill is None else rearrange(fill.prod(dim=1), "n -> n 1")
        apart = (sides.prod(dim=2) * share - rearrange(area(views.boxes), "n -> n 1")).abs()
        target = offered.gather(1, apart.argmin(dim=1, keepdim=True))[:, 0]
    return (cuboids.centres[:, 2] - target).abs() / unit


def size_loss(
    sizes: Float[Tensor, "n 3"], mean: Float[Tensor, "n 3"], spread: Float[Tensor, "n 3"]
) -> Float[Tensor, " n"]:
    """Return by how many deviations sizes are off by more than one, on average over the axes."""
    return ((sizes - mean).abs() / spread - 1).clamp_min(0).mean(dim=1)


def up_loss(cuboids: Cuboids, normals: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
    """Return one less the size of the cosine between upward axes and the ground's normals, in [0, 1]."""
    return 1 - (cuboids.rotations[:, :, 2] * normals).sum(dim=1).abs()


def alignment_loss(cuboids: Cuboids, pictures: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Return how much the things of a picture are turned against each other, in [0, 1].

    It is one less the size of the cosine of the angle between two, averaged over the pairs of a picture; each thing of
    the picture has that, and a thing alone has 0. Things in a room stand along its walls; things on a table need not.
    """
    rotations = cuboids.rotations
    traces = torch.einsum("nij,mij->nm", rotations, rotations)
    turned = 1 - ((traces - 1) / 2).abs()
    together = rearrange(pictures, "n -> n 1") == rearrange(pictures, "n -> 1 n")
    pairs = together & ~torch.eye(len(pictures), dtype=torch.bool, device=pictures.device)
    own = (turned * pairs).sum(dim=1)
    sums, counts = (together.to(own.dtype) @ values for values in (own, pairs.sum(dim=1).to(own.dtype)))
    return sums / counts.clamp_min(1)


def extent_loss(cuboids: Cuboids, extent: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Return by how many metres the depths that corners span differ from what should be spanned."""
    depth = cuboids.corners()[:, :, 2]
    return (depth.amax(dim=1) - depth.amin(dim=1) - extent).abs()


def supervised_loss(cuboids: Cuboids, true: Cuboids, *, unit: float = 1.0) -> Float[Tensor, " n"]:
    """Return how far cuboids are from the true ones, in units.

    Corners go to the nearest corner of the other, both ways, so that the turns that leave a box as it is cost nothing;
    once as found and once with the centres brought together, which leaves size and rotation (our choice). The centre
    is also asked for by itself.
    """
    moved = Cuboids(true.centres, cuboids.sizes, cuboids.rotations)
    centre = (cuboids.centres - true.centres).abs().sum(dim=1)
    return (corner_distance(cuboids, true) + corner_distance(moved, true) + centre) / unit


def corner_distance(some: Cuboids, others: Cuboids) -> Float[Tensor, " n"]:
    """Return the mean distance from a corner to the nearest one of the other cuboid, over both, metres."""
    gaps = rearrange(some.corners(), "n v c -> n v 1 c") - rearrange(others.corners(), "n w c -> n 1 w c")
    apart = gaps.square().sum(dim=-1).clamp_min(1e-10).sqrt()
    return (apart.amin(dim=1).mean(dim=1) + apart.amin(dim=2).mean(dim=1)) / 2
