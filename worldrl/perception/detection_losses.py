"""What a query detector is asked for: each thing by one query, and by several cells of the encoder's map.

Source: Carion et al. 2020, section 3.1 (arXiv:2005.12872) for matching; Zhu et al. 2021 (arXiv:2010.04159) for the
weights of costs and losses; Zong et al. 2023, Co-DETR (arXiv:2211.12860), for the second, which makes the encoder learn
quickly: here every cell whose middle is in the central half of a thing (our choice).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from worldrl.perception.boxes import generalized_iou, to_corners
from worldrl.perception.detector import Found
from worldrl.perception.frozen_detr import Detected

NAME, PLACE, OVERLAP = 2.0, 5.0, 2.0
"""Weights of class, L1 and generalized IoU, of costs and losses alike."""
ALPHA, GAMMA = 0.25, 2.0
"""Of the focal loss (Lin et al. 2017, section 4.1)."""
CENTRAL = 0.25


@dataclass(frozen=True)
class Truth:
    """The things of a picture: ``labels`` ``(m,)``; ``boxes`` ``(m, 4)`` middle, width, height, 1 being the picture."""

    labels: Int[Tensor, " m"]
    boxes: Float[Tensor, "m 4"]


def detection_loss(said: Detected, truth: Sequence[Truth]) -> Tensor:
    """Return the loss of everything a detector says."""
    loss = spread_loss(said.guesses, said.cells, truth)
    for layer in said.layers:
        loss = loss + matched_loss(layer, truth)
    return loss


def matched_loss(found: Found, truth: Sequence[Truth]) -> Tensor:
    """Return the loss of queries, each thing being the answer of one of them: the cheapest matching."""
    pairs = [match(found.logits[i], found.boxes[i], one) for i, one in enumerate(truth)]
    return _loss(found, truth, pairs)


def spread_loss(found: Found, cells: Float[Tensor, "n 2"], truth: Sequence[Truth]) -> Tensor:
    """Return the loss of cells, each thing being the answer of all about its middle, and of the nearest at least."""
    return _loss(found, truth, [about(cells, one) for one in truth])


@torch.no_grad()
def match(logits: Tensor, boxes: Tensor, truth: Truth) -> tuple[Tensor, Tensor]:
    """Return the queries that are nearest to what is there, and what each is nearest to."""
    from scipy.optimize import linear_sum_assignment

    likely = logits[:, truth.labels].sigmoid()
    present = ALPHA * (1 - likely) ** GAMMA * -(likely + 1e-8).log()
    absent = (1 - ALPHA) * likely**GAMMA * -(1 - likely + 1e-8).log()
    overlap = generalized_iou(to_corners(boxes)[:, None], to_corners(truth.boxes)[None])
    cost = NAME * (present - absent) + PLACE * torch.cdist(boxes, truth.boxes, p=1) - OVERLAP * overlap
    queries, things = linear_sum_assignment(cost.cpu().numpy())
    return torch.from_numpy(queries), torch.from_numpy(things)


def about(cells: Float[Tensor, "n 2"], truth: Truth) -> tuple[Tensor, Tensor]:
    """Return the cells in the middle of things, and the thing of each."""
    away = ((cells[:, None] - truth.boxes[None, :, :2]).abs() / truth.boxes[None, :, 2:]).amax(dim=-1)
    least, thing = away.min(dim=1)
    near, thing = away.argmin(dim=0), thing.clone()
    chosen = least < CENTRAL
    chosen[near] = True
    thing[near] = torch.arange(len(truth.labels))
    rows = chosen.nonzero()[:, 0]
    # Where two things have the same nearest cell, it answers for both of them, once each.
    answered = set(thing[rows].tolist())
    left = torch.tensor([i for i in range(len(near)) if i not in answered], dtype=torch.long)
    return torch.cat([rows, near[left]]), torch.cat([thing[rows], left])


def focal(logits: Tensor, target: Tensor) -> Tensor:
    """Return the summed focal loss of logits against targets of 0 and 1 (Lin et al. 2017, equation 5)."""
    likely = logits.sigmoid()
    right = likely * target + (1 - likely) * (1 - target)
    weight = (ALPHA * target + (1 - ALPHA) * (1 - target)) * (1 - right) ** GAMMA
    return (weight * F.binary_cross_entropy_with_logits(logits, target, reduction="none")).sum()


def _loss(found: Found, truth: Sequence[Truth], pairs: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Return the loss of answers ``pairs`` (rows of ``found``, things), by how many there are."""
    target = torch.zeros_like(found.logits)
    for i, (rows, things) in enumerate(pairs):
        target[i, rows, truth[i].labels[things]] = 1.0
    mine = torch.cat([found.boxes[i][rows] for i, (rows, _) in enumerate(pairs)])
    theirs = torch.cat([truth[i].boxes[things] for i, (_, things) in enumerate(pairs)])
    apart = (mine - theirs).abs().sum()
    missed = (1 - generalized_iou(to_corners(mine), to_corners(theirs))).sum()
    return (NAME * focal(found.logits, target) + PLACE * apart + OVERLAP * missed) / max(len(mine), 1)
