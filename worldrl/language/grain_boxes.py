"""Boxes of regions: how far a predicted one is from the true one, and which belongs to which."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

L1_WEIGHT, GIOU_WEIGHT = 5.0, 2.0
"""Weights of the two distances of boxes, as in DETR (Carion et al. 2020, arXiv:2005.12872, appendix A.4)."""


def to_corners(boxes: Float[Tensor, "... 4"]) -> Float[Tensor, "... 4"]:
    """Turn middle, width and height into left, top, right and bottom."""
    middle, size = boxes[..., :2], boxes[..., 2:]
    return torch.cat([middle - size / 2, middle + size / 2], dim=-1)


def to_middles(boxes: Float[Tensor, "... 4"]) -> Float[Tensor, "... 4"]:
    """Turn left, top, right and bottom into middle, width and height."""
    low, high = boxes[..., :2], boxes[..., 2:]
    return torch.cat([(low + high) / 2, high - low], dim=-1)


def overlaps(
    one: Float[Tensor, "n 4"], other: Float[Tensor, "m 4"]
) -> tuple[Float[Tensor, "n m"], Float[Tensor, "n m"]]:
    """Return IoU in [0, 1] and generalised IoU in [-1, 1] of every box with every other.

    Source: Rezatofighi et al. 2019, algorithm 1 (arXiv:1902.09630).

    Args:
        one: Left, top, right, bottom.
        other: The same.
    """
    left, right = one.unsqueeze(1), other.unsqueeze(0)
    areas = _area(left), _area(right)
    inner = _area(torch.cat([left[..., :2].maximum(right[..., :2]), left[..., 2:].minimum(right[..., 2:])], dim=-1))
    union = (areas[0] + areas[1] - inner).clamp_min(1e-9)
    outer = _area(torch.cat([left[..., :2].minimum(right[..., :2]), left[..., 2:].maximum(right[..., 2:])], dim=-1))
    iou = inner / union
    return iou, iou - (outer - union) / outer.clamp_min(1e-9)


def box_costs(found: Float[Tensor, "q 4"], true: Float[Tensor, "n 4"]) -> Float[Tensor, "q n"]:
    """Return how far every found box is from every true one: weighted L1 of middles and sizes, and 1 - GIoU.

    Args:
        found: Left, top, right, bottom in [0, 1] of the picture.
        true: The same.
    """
    l1 = torch.cdist(to_middles(found), to_middles(true), p=1)
    return L1_WEIGHT * l1 + GIOU_WEIGHT * (1.0 - overlaps(found, true)[1])


def match(costs: Float[Tensor, "q n"]) -> tuple[Int[Tensor, " m"], Int[Tensor, " m"]]:
    """Pair queries with things, each at most once, so that the costs sum to least; the fewer are all paired.

    Source: Kuhn 1955, "The Hungarian method for the assignment problem".

    Returns:
        Rows and columns of the pairs.
    """
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(costs.detach().numpy())
    return torch.as_tensor(rows), torch.as_tensor(columns)


def _area(boxes: Float[Tensor, "... 4"]) -> Float[Tensor, "..."]:
    return (boxes[..., 2:] - boxes[..., :2]).clamp_min(0.0).prod(dim=-1)
