"""Where an object is and how it lies, in ten numbers read off its mask."""

import torch
from einops import einsum, rearrange
from jaxtyping import Float
from torch import Tensor

NUMBERS = ("x", "y", "left", "top", "right", "bottom", "extent", "visible", "tilt_cos", "tilt_sin")
"""What the geometry of an object says, in this order.

Centroid and box in ``[-1, 1]`` across the image (x to the right, y down), ``extent`` the square root of the share of
the image it covers, ``visible`` 0 or 1, and the doubled angle of its long axis scaled by how long it is, because a box
alone does not tell which way a thing is turned.
"""


def soften(labels: Tensor, objects: int) -> Float[Tensor, "b k h w"]:
    """Turn a label map into one mask an object.

    Args:
        labels: ``(b, h, w)`` integers, 0 for background and ``i + 1`` for object ``i``.
        objects: Number of objects ``k``.
    """
    ids = rearrange(torch.arange(1, objects + 1), "k -> 1 k 1 1")
    return (rearrange(labels, "b h w -> b 1 h w") == ids).float()


def describe(masks: Float[Tensor, "b k h w"]) -> Float[Tensor, "b k 10"]:
    """Return the numbers of ``NUMBERS`` for every mask; all zero where nothing of the object is seen.

    Soft masks are weighed by their values; their box is that of the part above half of their maximum.

    Args:
        masks: Shares in ``[0, 1]`` of each pixel that belong to each object.
    """
    _, _, h, w = masks.shape
    xs, ys = _centres(w), _centres(h)
    area = masks.sum(dim=(2, 3))
    weight = masks / rearrange(area.clamp_min(1e-6), "b k -> b k 1 1")
    columns, rows = weight.sum(dim=2), weight.sum(dim=3)
    x, y = einsum(columns, xs, "b k w, w -> b k"), einsum(rows, ys, "b k h, h -> b k")
    var_x = einsum(columns, xs**2, "b k w, w -> b k") - x**2
    var_y = einsum(rows, ys**2, "b k h, h -> b k") - y**2
    cov = einsum(weight, ys, xs, "b k h w, h, w -> b k") - x * y
    extent = (area / (h * w)).sqrt()
    visible = (area > 0.5).float()
    # The moments are areas; divided by the extent they are lengths, like everything else here.
    tilt = torch.stack([(var_x - var_y), 2 * cov]) / extent.clamp_min(0.01)
    left, right = _span(masks.amax(dim=2), xs)
    top, bottom = _span(masks.amax(dim=3), ys)
    numbers = torch.stack([x, y, left, top, right, bottom, extent, visible, tilt[0], tilt[1]], dim=-1)
    return numbers * rearrange(visible, "b k -> b k 1")


def _centres(size: int) -> Tensor:
    """Return the pixel centres of an axis in ``[-1, 1]``."""
    return (torch.arange(size) + 0.5) * (2.0 / size) - 1.0


def _span(profile: Float[Tensor, "b k s"], centres: Tensor) -> tuple[Tensor, Tensor]:
    """Return the first and last place along an axis where a mask is above half of its maximum."""
    inside = profile > 0.5 * profile.amax(dim=-1, keepdim=True).clamp_min(1e-6)
    low = torch.where(inside, centres, torch.inf).amin(dim=-1).nan_to_num(posinf=0.0)
    high = torch.where(inside, centres, -torch.inf).amax(dim=-1).nan_to_num(neginf=0.0)
    return low, high
