"""Masks that nobody asked for: pieces of a picture whose features are alike.

They stand in for the automatic masks of SAM, which FrozenSeg proposes at test time (our choice: whatever frozen encoder
is here can be clustered).
"""

import numpy as np
import numpy.typing as npt
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from worldrl.clusters import kmeans
from worldrl.errors import ConfigError
from worldrl.perception.masks import to_map

MOST = 50
"""Proposals of a picture at most, the largest."""


@torch.no_grad()
def propose(
    patches: Float[Tensor, "p s"], grid: tuple[int, int], size: tuple[int, int], *, clusters: int = 8, seed: int = 0,
    least: int = 20, share: float = 0.25, most: int = MOST,
) -> npt.NDArray[np.bool_]:  # fmt: skip
    """Return the connected pieces of a picture that k-means on its features leaves, the largest first.

    Features are of unit length, and brought to the size of the masks before they are given to their nearest centre, so
    that borders are not those of patches.

    Args:
        patches: Of one picture, row-major over the grid.
        grid: Rows and columns of patches.
        size: Height and width of masks.
        clusters: How many kinds of features there are.
        seed: Of k-means.
        least: Cells a piece has at least (our choice).
        share: Of the picture that a piece covers at most: what is larger is the table or the wall (our choice).
        most: Pieces at most.

    Returns:
        Masks ``(n, h, w)``; none where nothing fits.

    Raises:
        ConfigError: If there are fewer than two clusters.
    """
    from scipy import ndimage

    if clusters < 2:
        raise ConfigError(f"clusters must be at least 2, got {clusters}.")
    unit = F.normalize(patches.float(), dim=-1)
    centres, _ = kmeans(unit, clusters, seed=seed)
    fine = F.interpolate(
        to_map(rearrange(unit, "p s -> 1 p s"), grid), size=size, mode="bilinear", align_corners=False
    )  # fmt: skip
    kinds = torch.cdist(rearrange(fine, "1 s h w -> (h w) s"), centres).argmin(dim=1).reshape(size).numpy()
    pieces: list[npt.NDArray[np.bool_]] = []
    for kind in range(len(centres)):
        numbers, count = ndimage.label(kinds == kind)
        pieces += [numbers == number for number in range(1, count + 1)]
    kept = [piece for piece in pieces if least <= piece.sum() <= share * piece.size]
    kept.sort(key=lambda piece: -int(piece.sum()))
    return np.stack(kept[:most]) if kept else np.zeros((0, *size), np.bool_)
