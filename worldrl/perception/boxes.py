"""Boxes in pictures: their forms, and how much two of them overlap."""

import torch
from jaxtyping import Float
from torch import Tensor


def to_corners(boxes: Float[Tensor, "*b 4"]) -> Float[Tensor, "*b 4"]:
    """Return boxes of middle, width and height as left, top, right, bottom."""
    middle, size = boxes[..., :2], boxes[..., 2:]
    return torch.cat([middle - size / 2, middle + size / 2], dim=-1)


def to_middles(boxes: Float[Tensor, "*b 4"]) -> Float[Tensor, "*b 4"]:
    """Return boxes of left, top, right, bottom as middle, width and height."""
    low, high = boxes[..., :2], boxes[..., 2:]
    return torch.cat([(low + high) / 2, high - low], dim=-1)


def generalized_iou(some: Float[Tensor, "*b 4"], others: Float[Tensor, "*b 4"]) -> Float[Tensor, "*b"]:
    """Return the generalized IoU of boxes ``left, top, right, bottom``, in [-1, 1]; leading axes are broadcast.

    Source: Rezatofighi et al. 2019, algorithm 1 (arXiv:1902.09630).
    """
    shared, union = _shared_and_union(some, others)
    low, high = torch.minimum(some[..., :2], others[..., :2]), torch.maximum(some[..., 2:], others[..., 2:])
    hull = (high - low).clamp(min=0).prod(dim=-1).clamp(min=1e-9)
    return shared / union - (hull - union) / hull


def iou(some: Float[Tensor, "*b 4"], others: Float[Tensor, "*b 4"]) -> Float[Tensor, "*b"]:
    """Return the IoU of boxes ``left, top, right, bottom``, in [0, 1]; leading axes are broadcast."""
    shared, union = _shared_and_union(some, others)
    return shared / union


def _shared_and_union(some: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    low, high = torch.maximum(some[..., :2], others[..., :2]), torch.minimum(some[..., 2:], others[..., 2:])
    shared = (high - low).clamp(min=0).prod(dim=-1)
    areas = [(boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(dim=-1) for boxes in (some, others)]
    return shared, (areas[0] + areas[1] - shared).clamp(min=1e-9)
