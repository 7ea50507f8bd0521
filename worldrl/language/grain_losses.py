"""The three losses of GRAIN: pictures with captions, regions with descriptions, boxes with boxes."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from worldrl.language.grain import Grounded
from worldrl.language.grain_boxes import GIOU_WEIGHT, L1_WEIGHT, box_costs, match, overlaps, to_middles


@dataclass(frozen=True)
class Pairing:
    """Which region of which picture belongs to which thing of a batch, things counted through all pictures.

    Attributes:
        pictures: ``(m,)`` pictures of the pairs.
        queries: ``(m,)`` their regions.
        things: ``(m,)`` their things.
    """

    pictures: Int[Tensor, " m"]
    queries: Int[Tensor, " m"]
    things: Int[Tensor, " m"]


def contrast(
    some: Float[Tensor, "n e"], others: Float[Tensor, "m e"], same: Bool[Tensor, "n m"], scale: Float[Tensor, ""]
) -> Float[Tensor, ""]:
    """Return the symmetric contrast of two sets of unit vectors: each shall find what it belongs to, and be found.

    Where several belong together (two pictures with one caption), the target is shared among them, not fought over.

    Source: Radford et al. 2021, figure 3 (arXiv:2103.00020); shared targets are our choice.

    Args:
        some: Vectors of pictures or regions.
        others: Vectors of texts.
        same: What belongs together; each row has at least one, columns without one are only distractors.
        scale: What cosines are multiplied by.
    """
    logits = scale * some @ others.T
    targets = same.float()
    forth = -(targets / targets.sum(dim=1, keepdim=True) * logits.log_softmax(dim=1)).sum(dim=1).mean()
    found = same.any(dim=0)
    back = -(targets / targets.sum(dim=0, keepdim=True).clamp_min(1.0) * logits.log_softmax(dim=0)).sum(dim=0)
    return (forth + back[found].mean()) / 2


def pair(
    grounded: Grounded,
    boxes: Sequence[Float[Tensor, "n 4"]],
    descriptions: Float[Tensor, "t e"] | None = None,
) -> Pairing:
    """Pair the regions of each picture with its things.

    Args:
        grounded: Of ``b`` pictures.
        boxes: True boxes of each picture, left, top, right, bottom in [0, 1].
        descriptions: Vectors of what the things are called, through all pictures: for pairing by what regions say
            where boxes are not trained; none for pairing by boxes.
    """
    pictures, queries, things, first = [], [], [], 0
    for i, true in enumerate(boxes):
        if len(true):
            costs = (
                box_costs(grounded.boxes[i], true)
                if descriptions is None
                else -grounded.regions[i] @ descriptions[first : first + len(true)].T
            )
            rows, columns = match(costs)
            pictures.append(torch.full_like(rows, i))
            queries.append(rows)
            things.append(columns + first)
        first += len(true)
    return Pairing(torch.cat(pictures), torch.cat(queries), torch.cat(things))


def box_loss(grounded: Grounded, boxes: Sequence[Float[Tensor, "n 4"]], pairing: Pairing) -> Float[Tensor, ""]:
    """Return the mean over pairs of weighted L1 of middles and sizes, and of 1 - GIoU."""
    found, true = grounded.boxes[pairing.pictures, pairing.queries], torch.cat(list(boxes))[pairing.things]
    l1 = F.l1_loss(to_middles(found), to_middles(true), reduction="none").sum(dim=-1)
    giou = overlaps(found, true)[1].diagonal()
    return (L1_WEIGHT * l1 + GIOU_WEIGHT * (1.0 - giou)).mean()


def same_text(texts: Sequence[str], others: Sequence[str]) -> Bool[Tensor, "n m"]:
    """Return which texts are word for word the same."""
    numbers = {text: i for i, text in enumerate(dict.fromkeys([*texts, *others]))}
    one, other = (torch.tensor([numbers[text] for text in group]) for group in (texts, others))
    return one.unsqueeze(1) == other.unsqueeze(0)
