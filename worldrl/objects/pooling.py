"""What an object looks like: the mean of the patch features under its mask."""

import torch
from einops import einsum, rearrange
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from worldrl.clusters import kmeans
from worldrl.errors import DataError
from worldrl.types import Features


def pool(features: Features, masks: Float[Tensor, "b k h w"]) -> Float[Tensor, "b k d"]:
    """Average patch features over each mask, each patch weighed by how much of it the mask covers.

    An object that is not seen gets zeros, so that its absence cannot be confused with a look (OC-STORM zeroes absent
    objects too, arXiv 2501.16443; the paper's vectors are object queries of a tracker, mask pooling is our variant).

    Args:
        features: Patches ``(b, p, d)`` over a grid.
        masks: Shares in ``[0, 1]`` of each pixel that belong to each object.
    """
    share = rearrange(adaptive_avg_pool2d(masks, features.grid), "b k r c -> b k (r c)")
    total = share.sum(dim=-1, keepdim=True)
    pooled = einsum(share / total.clamp_min(1e-6), features.patches, "b k p, b p d -> b k d")
    return pooled * (total > 0)


FOREGROUND = 0.05
"""Share of the patches that prototypes are found in: those furthest from what is usual at their place (our choice)."""


class Prototypes:
    """Soft masks without masks: what is not background falls to the nearest of ``k`` prototypes.

    The honest observation for runs that say ``masks: none``. The background is the median feature of each place on the
    patch grid, which the camera must therefore not leave; prototypes are k-means centres of what strays furthest from
    it. Without that, most prototypes divide the table among them: measured on the table-top task, a linear probe from
    the tokens explains 0.48 of the variance of a small ball's place, and 0.82 with it (both our choice; slots that are
    learned could replace them behind the same call).

    Args:
        background: ``(p, d)``.
        reach: How far from the background a patch is foreground for certain.
        centres: ``(k, d)``, differences from the background.
        temperature: Of the softmax over negative squared distances, in units of the median within-group distance.
    """

    def __init__(self, *, background: Tensor, reach: Tensor, centres: Tensor, temperature: Tensor) -> None:
        self.background, self.reach, self.centres, self.temperature = background, reach, centres, temperature

    @classmethod
    def fit(cls, patches: Float[Tensor, "b p d"], count: int, *, seed: int) -> "Prototypes":
        """Find the background, and ``count`` prototypes before it.

        Raises:
            DataError: If there are fewer different foreground patches than prototypes.
        """
        background = patches.median(dim=0).values
        away = rearrange(patches - background, "b p d -> (b p) d")
        length = away.norm(dim=1)
        kept = max(count, round(FOREGROUND * len(length)))
        if kept > len(length):
            raise DataError(f"patches must be at least {count}, got {len(length)}: encode more frames.")
        furthest = length.topk(kept)
        centres, spread = kmeans(away[furthest.indices.sort().values], count, seed=seed)
        if len(centres) < count:
            raise DataError(f"patches must be at least {count} different ones: encode more frames.")
        reach = furthest.values[-1].clamp_min(1e-6)
        return cls(background=background, reach=reach, centres=centres, temperature=spread.clamp_min(1e-6))

    def __call__(self, features: Features) -> Float[Tensor, "b k h w"]:
        """Return soft masks on the patch grid; those of one patch sum to how much of it is foreground.

        Raises:
            DataError: If the grid is another than that of the background.
        """
        if features.patches.shape[1:] != self.background.shape:
            raise DataError(
                f"frames must have {len(self.background)} patches, got {features.patches.shape[1]}: "
                "use frames of the size that the prototypes were found in."
            )
        away = features.patches - self.background
        share = (-torch.cdist(away, self.centres).square() / self.temperature).softmax(dim=-1)
        present = (away.norm(dim=-1, keepdim=True) / self.reach).square().clamp(max=1.0)
        rows, columns = features.grid
        masks: Tensor = rearrange(share * present, "b (r c) k -> b k r c", r=rows, c=columns)
        return masks

    def tensors(self) -> dict[str, Tensor]:
        """Return the constructor's arguments."""
        return {
            "background": self.background,
            "reach": self.reach,
            "centres": self.centres,
            "temperature": self.temperature,
        }
