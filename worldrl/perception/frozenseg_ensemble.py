"""What FrozenSeg adds at test time: the frozen tower's own word on names, and masks that the decoder did not make.

Source: Chen et al. 2024, "FrozenSeg" (arXiv 2409.03525), section 3.4; the geometric ensemble is that of FC-CLIP
(Yu et al. 2023, arXiv 2308.02487), section 3.4.
"""

from dataclasses import dataclass

import torch
from einops import einsum, rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

from worldrl.errors import ConfigError
from worldrl.perception.frozenseg_parts import text_logits
from worldrl.perception.mask_matching import QueryOutput
from worldrl.perception.masks import pool

ALPHA, BETA = 0.4, 0.8
"""How much the frozen tower counts for classes that training had, and for those that it had not."""
SURE = 0.5
"""What the likeliest unseen class of a proposal must exceed for it to be kept."""
PROPOSED = 0.2
"""What kept proposals count for unseen classes; the decoder counts the rest. For seen classes they count nothing."""
THING = 0.5
"""How surely a pixel must be of some query's thing not to be background (our choice: the paper's data name all)."""


@dataclass(frozen=True)
class Tower:
    """The frozen language-aligned tower, as it judges masks.

    Attributes:
        patches: ``(b, p, e)`` its local features, row-major.
        grid: Rows and columns of them.
        texts: ``(k, m, e)`` its embeddings of every class in every template.
        scale: What its cosines are multiplied by.
    """

    patches: Float[Tensor, "b p e"]
    grid: tuple[int, int]
    texts: Float[Tensor, "k m e"]
    scale: float

    def probabilities(self, masks: Float[Tensor, "b q h w"]) -> Float[Tensor, "b q k"]:
        """Return how likely each class is for what masks in [0, 1] show."""
        inside = pool(self.patches, self.grid, masks)
        none = torch.zeros(inside.shape[-1], device=inside.device)
        return text_logits(inside, self.texts, none, self.scale)[..., :-1].softmax(dim=-1)


@dataclass(frozen=True)
class Scored:
    """What is known of every pixel.

    Attributes:
        classes: ``(b, k, h, w)`` scores, at least 0.
        thing: ``(b, h, w)`` how surely it is of some query's thing, in [0, 1].
    """

    classes: Float[Tensor, "b k h w"]
    thing: Float[Tensor, "b h w"]


def geometric(
    inside: Float[Tensor, "b q k"], outside: Float[Tensor, "b q k"], novel: Bool[Tensor, " k"],
    *, alpha: float = ALPHA, beta: float = BETA,
) -> Float[Tensor, "b q k"]:  # fmt: skip
    """Return p_in ** (1 - w) * p_out ** w, of sum 1, with w alpha for seen and beta for unseen classes.

    Args:
        inside: Probabilities of the trained decoder.
        outside: Those of the frozen tower.
        novel: Which classes training had not.
        alpha: Weight of the tower for the others.
        beta: Weight of the tower for these.

    Raises:
        ConfigError: If a weight is not in [0, 1].
    """
    if not (0 <= alpha <= 1 and 0 <= beta <= 1):
        raise ConfigError(f"alpha and beta must be in [0, 1], got {alpha:g} and {beta:g}.")
    weight = torch.where(novel, beta, alpha)
    logs = (1 - weight) * inside.clamp_min(1e-12).log() + weight * outside.clamp_min(1e-12).log()
    return logs.softmax(dim=-1)


@torch.no_grad()
def score(
    output: QueryOutput, novel: Bool[Tensor, " k"], tower: Tower | None, *, alpha: float = ALPHA, beta: float = BETA
) -> Scored:
    """Return what queries say of every pixel.

    Whether a query is of any thing is the decoder's word alone; what it is called is the ensemble's.

    Args:
        output: Of the last layer.
        novel: Which classes training had not.
        tower: Who else is asked; None for nobody.
        alpha: Weight of the tower for classes that training had.
        beta: Weight of the tower for those it had not.
    """
    present = 1 - output.classes.softmax(dim=-1)[..., -1]
    names = output.classes[..., :-1].softmax(dim=-1)
    if tower is not None:
        outside = tower.probabilities((output.masks > 0).float())
        names = geometric(names, outside, novel, alpha=alpha, beta=beta)
    cover = output.masks.sigmoid() * rearrange(present, "b q -> b q 1 1")
    return Scored(einsum(names, cover, "b q k, b q h w -> b k h w"), cover.amax(dim=1))


@torch.no_grad()
def with_proposals(
    scored: Scored, row: int, masks: Float[Tensor, "n h w"], novel: Bool[Tensor, " k"], tower: Tower
) -> Float[Tensor, "k h w"]:
    """Return a picture's class scores with those of proposals in them; scores of seen classes are the same bits.

    Args:
        scored: What queries say.
        row: Which picture.
        masks: Proposals of that picture, 0 or 1.
        novel: Which classes training had not.
        tower: Who names proposals.
    """
    mine = scored.classes[row]
    one = Tower(tower.patches[row : row + 1], tower.grid, tower.texts, tower.scale)
    likely = one.probabilities(rearrange(masks, "n h w -> 1 n h w"))[0]
    kept = likely[:, novel].amax(dim=1) > SURE if bool(novel.any()) else torch.zeros(len(masks), dtype=torch.bool)
    proposed = einsum(likely[kept], masks[kept], "n k, n h w -> k h w")
    mixed = (1 - PROPOSED) * mine + PROPOSED * proposed
    return torch.where(rearrange(novel, "k -> k 1 1"), mixed, mine)


def labels(scored: Scored) -> Int[Tensor, "b h w"]:
    """Return the class of each pixel: 0 where there is no thing, ``i + 1`` for class ``i``."""
    return torch.where(scored.thing > THING, scored.classes.argmax(dim=1) + 1, 0)


def renamed(
    before: Int[Tensor, "h w"], classes: Float[Tensor, "k h w"], novel: Bool[Tensor, " k"]
) -> Int[Tensor, "h w"]:
    """Return a picture's labels after proposals had their say on unseen classes.

    What the decoder gave to a seen class stays there, and what it did not give to one does not become one: so no
    figure of a seen class can move (our choice; in the paper the seen classes' scores stay, but may be overtaken).

    Args:
        before: Labels without proposals.
        classes: What ``with_proposals`` gives.
        novel: Which classes training had not.
    """
    unseen = torch.cat([torch.zeros(1, dtype=torch.bool), novel])[before]
    best = torch.where(rearrange(novel, "k -> k 1 1"), classes, -torch.inf).argmax(dim=0) + 1
    return torch.where(unseen, best, before)
