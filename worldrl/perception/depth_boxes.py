"""What a depth map says of the boxes in its picture, and the cuboids that one can make of that alone."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from einops import rearrange, repeat
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from worldrl.errors import ConfigError
from worldrl.perception.cuboids import Cuboids, Views, half_extents, middles
from worldrl.types import Array

SAMPLES = 16
"""Places across a box, and down it, where its depth is read (our choice: a median needs no more)."""
EXTENT = (0.1, 0.9)
"""Between which quantiles the depth of a thing extends."""


@dataclass(frozen=True)
class DepthMaps:
    """Depth of some pictures, every ``stride``-th pixel of each row and column.

    Attributes:
        metres: ``(b, i, j)`` float32.
        stride: Pixels from one value to the next.
        owners: ``(b, i, j)``, 0 or one more than the number of the thing in its picture that is seen there; None where
            masks are not known. They are privileged: weak labels are boxes.
    """

    metres: Float[Tensor, "b i j"]
    stride: int = 1
    owners: Tensor | None = None


def disturb(depth: Array, *, scale: float, noise: float, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Return depth ``(..., h, w)`` as an instrument would tell it, in error.

    Args:
        depth: True, metres.
        scale: Standard deviation of the factor by which a whole picture is wrong.
        noise: Standard deviation of each pixel, in shares of its depth.
        rng: Of both.

    Raises:
        ConfigError: If one of them is not in [0, 0.2).
    """
    check_errors(scale, noise)
    factors = np.exp(scale * rng.standard_normal((*depth.shape[:-2], 1, 1), np.float32))
    return np.asarray(depth * factors * (1 + noise * rng.standard_normal(depth.shape, np.float32)), np.float32)


def check_errors(scale: float, noise: float) -> None:
    """Refuse errors of depth that no instrument has.

    Raises:
        ConfigError: If one of them is not in [0, 0.2).
    """
    if not 0 <= scale < 0.2 or not 0 <= noise < 0.2:
        raise ConfigError(f"scale and noise of depth must be in [0, 0.2), got {scale:g} and {noise:g}.")


def depth_in(
    maps: DepthMaps, boxes: Float[Tensor, "n 4"], pictures: Int[Tensor, " n"], owners: Tensor | None = None
) -> Float[Tensor, "n s"]:
    """Return depth at ``SAMPLES`` x ``SAMPLES`` places of each box.

    Args:
        maps: Of all pictures.
        boxes: Pixels; what lies beyond the picture is read at its edge.
        pictures: Which picture each is in.
        owners: ``(n,)`` one more than the number of the thing in its picture whose pixels alone count, NaN elsewhere;
            None for all that the box holds. A thing that no place shows has what the box holds.

    Raises:
        ValueError: If owners are asked for and the maps have none.
    """
    steps = (torch.arange(SAMPLES, device=boxes.device) + 0.5) / SAMPLES
    x = boxes[:, 0:1] + steps * (boxes[:, 2:3] - boxes[:, 0:1])
    y = boxes[:, 1:2] + steps * (boxes[:, 3:4] - boxes[:, 1:2])
    rows, columns = maps.metres.shape[1:]
    j = repeat((x / maps.stride).long().clamp(0, columns - 1), "n j -> n i j", i=SAMPLES)
    i = repeat((y / maps.stride).long().clamp(0, rows - 1), "n i -> n i j", j=SAMPLES)
    picture = rearrange(pictures, "n -> n 1 1")
    depth = rearrange(maps.metres[picture, i, j], "n i j -> n (i j)")
    if owners is None:
        return depth
    if maps.owners is None:
        raise ValueError("maps must have owners to be read within masks, got None.")
    own = rearrange(maps.owners[picture, i, j], "n i j -> n (i j)") == rearrange(owners, "n -> n 1")
    own = own | ~own.any(dim=1, keepdim=True)
    return depth.masked_fill(~own, float("nan"))


def medians(depth: Float[Tensor, "n s"]) -> Float[Tensor, " n"]:
    """Return the median of each row, NaN left out."""
    middle: Tensor = depth.nanmedian(dim=1).values
    return middle


def extents(depth: Float[Tensor, "n s"]) -> Float[Tensor, " n"]:
    """Return how far the depth of each row extends, from the 10th to the 90th percentile, NaN left out."""
    ends: Tensor = depth.nanquantile(torch.tensor(EXTENT, device=depth.device), dim=1)
    return ends[1] - ends[0]


def upright(normals: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3 3"]:
    """Return rotations whose third axis is the ground's normal and whose first runs across the picture."""
    across = torch.tensor([1.0, 0.0, 0.0], device=normals.device).expand_as(normals)
    up = normalize(normals, dim=1)
    first = normalize(across - (across * up).sum(dim=1, keepdim=True) * up, dim=1)
    return torch.stack([first, torch.linalg.cross(up, first, dim=1), up], dim=2)


def depth_boxes(
    depth: Float[Tensor, " n"],
    views: Views,
    *,
    sizes: Float[Tensor, "n 3"],
    normals: Float[Tensor, "n 3"],
    surface_to_centre: bool = False,
) -> Cuboids:
    """Return upright cuboids of known size where the middles of boxes are seen at a depth: nothing is learnt.

    Args:
        depth: Metres.
        views: The boxes and their cameras.
        sizes: Of each one's class, metres.
        normals: Of the ground in each one's picture, in the camera's frame.
        surface_to_centre: Whether depth is that of the visible surface, which lies before the centre.
    """
    rays = views.rays(middles(views.boxes))
    cuboids = Cuboids(rays * rearrange(depth, "n -> n 1"), sizes, upright(normals))
    if not surface_to_centre:
        return cuboids
    behind = depth + half_extents(cuboids)
    return Cuboids(rays * rearrange(behind, "n -> n 1"), sizes, cuboids.rotations)
