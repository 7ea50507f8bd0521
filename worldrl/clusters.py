"""Groups of points that lie close together."""

import torch
from jaxtyping import Float
from torch import Tensor


def kmeans(
    points: Float[Tensor, "m d"], count: int, *, seed: int, rounds: int = 20
) -> tuple[Float[Tensor, "k d"], Tensor]:
    """Find centres by k-means with k-means++ starts.

    Args:
        points: At least one.
        count: Centres wanted; there are fewer where fewer points differ.
        seed: Of the starts.
        rounds: Of moving every centre to the mean of the points nearest to it.

    Returns:
        The centres, and the median squared distance of a point to the nearest of them.

    Source: Arthur & Vassilvitskii 2007, "k-means++: the advantages of careful seeding".
    """
    rng = torch.Generator().manual_seed(seed)
    centres = points[torch.randint(len(points), (1,), generator=rng)]
    while len(centres) < count:
        away = torch.cdist(points, centres).amin(dim=1).square()
        if not away.any():
            break
        centres = torch.cat([centres, points[torch.multinomial(away, 1, generator=rng)]])
    for _ in range(rounds):
        nearest = torch.cdist(points, centres).argmin(dim=1)
        sums = torch.zeros_like(centres).index_add_(0, nearest, points)
        counts = torch.bincount(nearest, minlength=len(centres)).unsqueeze(1)
        centres = torch.where(counts > 0, sums / counts.clamp_min(1), centres)
    return centres, torch.cdist(points, centres).amin(dim=1).square().median()
