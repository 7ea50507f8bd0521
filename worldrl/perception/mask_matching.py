"""Set prediction of masks: each thing is given to one query, and every layer is asked for what its queries got.

Source: Cheng et al. 2022, "Masked-attention mask transformer" (arXiv 2112.01527), section 3.3; weights as FrozenSeg has
them. Costs and losses are over all cells, where the paper samples points (our choice: the maps are small).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from einops import einsum, rearrange
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from worldrl.perception.masks import TrueMasks


@dataclass(frozen=True)
class Weights:
    """What each loss counts, in matching too.

    Attributes:
        named: Cross-entropy of classes.
        cells: Binary cross-entropy of cells.
        dice: Dice loss of masks.
        nothing: A query without a thing, in the cross-entropy of classes.
    """

    named: float = 2.0
    cells: float = 5.0
    dice: float = 5.0
    nothing: float = 0.1


@dataclass(frozen=True)
class QueryOutput:
    """What the queries say after a layer.

    Attributes:
        masks: Logits ``(b, q, h, w)``.
        classes: Logits ``(b, q, k + 1)``, of no thing at all last.
    """

    masks: Float[Tensor, "b q h w"]
    classes: Float[Tensor, "b q c"]


@torch.no_grad()
def match(
    output: QueryOutput, row: int, true: TrueMasks, weights: Weights
) -> tuple[Int[Tensor, " n"], Int[Tensor, " n"]]:
    """Return which query of a picture gets which thing, at the least total cost (Hungarian).

    Args:
        output: Of a layer.
        row: Which picture.
        true: What it shows.
        weights: Of the costs.

    Returns:
        Queries ``(n,)`` and things ``(n,)``, ``n`` the smaller of their numbers.
    """
    from scipy.optimize import linear_sum_assignment

    cost = weights.named * -output.classes[row].softmax(dim=-1)[:, true.classes]
    masks = rearrange(output.masks[row], "q h w -> q (h w)").float()
    wanted = rearrange(true.masks, "n h w -> n (h w)")
    inside, outside = F.softplus(-masks), F.softplus(masks)
    cells = einsum(inside, wanted, "q c, n c -> q n") + einsum(outside, 1 - wanted, "q c, n c -> q n")
    cost = cost + weights.cells * cells / masks.shape[1]
    shared = einsum(masks.sigmoid(), wanted, "q c, n c -> q n")
    total = rearrange(masks.sigmoid().sum(dim=1), "q -> q 1") + wanted.sum(dim=1)
    cost = cost + weights.dice * (1 - (2 * shared + 1) / (total + 1))
    queries, things = linear_sum_assignment(np.nan_to_num(cost.cpu().numpy(), nan=1e4, posinf=1e4, neginf=-1e4))
    return torch.from_numpy(queries), torch.from_numpy(things)


def set_loss(
    outputs: Sequence[QueryOutput], true: Sequence[TrueMasks], *, weights: Weights | None = None
) -> Float[Tensor, ""]:
    """Return the sum over layers (deep supervision) of the losses of matched queries, averaged over things.

    Args:
        outputs: Of every layer.
        true: What each picture shows.
        weights: Of the losses; those of the paper if none are given.

    Raises:
        ValueError: If there are not as many pictures in both.
    """
    if any(len(output.masks) != len(true) for output in outputs):
        raise ValueError(f"true must be of {len(outputs[0].masks)} pictures, got {len(true)}.")
    chosen = weights or Weights()
    losses = [_layer_loss(output, true, chosen) for output in outputs]
    return torch.stack(losses).sum()


def _layer_loss(output: QueryOutput, true: Sequence[TrueMasks], weights: Weights) -> Float[Tensor, ""]:
    nothing = output.classes.shape[-1] - 1
    wanted = torch.full(output.classes.shape[:2], nothing, dtype=torch.long, device=output.classes.device)
    found: list[Tensor] = []
    masks: list[Tensor] = []
    for row, one in enumerate(true):
        if not len(one.classes):
            continue
        queries, things = match(output, row, one, weights)
        wanted[row, queries] = one.classes[things].to(wanted.device)
        found.append(output.masks[row, queries])
        masks.append(one.masks[things])
    share = torch.ones(nothing + 1, device=output.classes.device)
    share[nothing] = weights.nothing
    loss = weights.named * F.cross_entropy(rearrange(output.classes, "b q c -> (b q) c"), wanted.flatten(), share)
    if not found:
        return loss + 0.0 * output.masks.sum()
    logits, target = (rearrange(torch.cat(rows), "n h w -> n (h w)") for rows in (found, masks))
    cells = F.binary_cross_entropy_with_logits(logits, target)
    inside = logits.sigmoid()
    dice = 1 - (2 * (inside * target).sum(dim=1) + 1) / (inside.sum(dim=1) + target.sum(dim=1) + 1)
    return loss + weights.cells * cells + weights.dice * dice.mean()
