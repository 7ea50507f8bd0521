"""What an object looks like: the mean of the patch features under its mask."""

import torch
from einops import einsum, rearrange
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

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


class Prototypes:
    """Soft masks without masks: patches fall to the nearest of ``k`` prototypes found in the training frames.

    The honest observation for runs that say ``masks: none``. The prototypes are k-means centres of frozen patch
    features (our choice; slots that are learned could replace them behind the same call).

    Args:
        centres: ``(k, d)``.
        temperature: Of the softmax over negative squared distances, in units of the median within-group distance.
    """

    def __init__(self, centres: Tensor, temperature: Tensor) -> None:
        self.centres, self.temperature = centres, temperature

    @classmethod
    def fit(cls, patches: Float[Tensor, "m d"], count: int, *, seed: int, rounds: int = 20) -> "Prototypes":
        """Find ``count`` prototypes by k-means with k-means++ starts.

        Raises:
            ValueError: If there are fewer different patches than prototypes.
        """
        if len(patches) < count:
            raise ValueError(f"patches must be at least {count}, got {len(patches)}: encode more frames.")
        rng = torch.Generator().manual_seed(seed)
        centres = patches[torch.randint(len(patches), (1,), generator=rng)]
        while len(centres) < count:
            away = torch.cdist(patches, centres).amin(dim=1).square()
            if not away.any():
                raise ValueError(f"patches must be at least {count} different ones: encode more frames.")
            centres = torch.cat([centres, patches[torch.multinomial(away, 1, generator=rng)]])
        for _ in range(rounds):
            nearest = torch.cdist(patches, centres).argmin(dim=1)
            sums = torch.zeros_like(centres).index_add_(0, nearest, patches)
            counts = torch.bincount(nearest, minlength=count).unsqueeze(1)
            centres = torch.where(counts > 0, sums / counts.clamp_min(1), centres)
        spread = torch.cdist(patches, centres).amin(dim=1).square().median()
        return cls(centres, spread.clamp_min(1e-6))

    def __call__(self, features: Features) -> Float[Tensor, "b k h w"]:
        """Return soft masks on the patch grid; the masks of one patch sum to one."""
        distance = torch.cdist(features.patches, self.centres).square()
        share = (-distance / self.temperature).softmax(dim=-1)
        rows, columns = features.grid
        return rearrange(share, "b (r c) k -> b k r c", r=rows, c=columns)
