"""LiMBeR: patches become words of a frozen language model through one linear map."""

import torch
from einops import rearrange, reduce
from jaxtyping import Float
from torch import Tensor, nn

from worldrl.errors import ConfigError
from worldrl.language.bridges import Shown, Standardised

DROPOUT = 0.1


class LinearPrefix(nn.Module):
    """Map every patch to one vector before the text; there is no layer norm and nothing else to train.

    Source: Merullo et al. 2022, section 3 (arXiv:2209.15162). The spread of the map's first weights is our choice: its
        vectors begin as long as those of words.

    Args:
        example: Patches ``(m, p, d)`` of training pictures, before any pooling to one vector.
        width: Of the language model.

    Raises:
        ConfigError: If a picture is one vector.
    """

    def __init__(self, example: Float[Tensor, "m p d"], *, width: int) -> None:
        if example.ndim != 3 or example.shape[1] < 2:
            raise ConfigError(f"patches must be (m, p, d) with at least 2 a picture, got {tuple(example.shape)}.")
        super().__init__()
        self.length = example.shape[1]
        self.standardised = Standardised(example)
        self.map = nn.Linear(example.shape[2], width)
        self.dropout = nn.Dropout(DROPOUT)
        nn.init.normal_(self.map.weight, std=(example.shape[2] * width) ** -0.5)
        nn.init.zeros_(self.map.bias)

    def forward(self, features: Float[Tensor, "b p d"]) -> Shown:
        """Return a vector for every patch ``(b, p, d)``, in the order of the patches."""
        return Shown(self.dropout(self.map(self.standardised(features))))


def halved(patches: Float[Tensor, "b p d"], grid: tuple[int, int]) -> Float[Tensor, "b q d"]:
    """Average patches two by two: a quarter of the vectors, so that the language model reads faster (our choice).

    Args:
        patches: ``(b, p, d)`` in row-major order.
        grid: Rows and columns, both even.

    Raises:
        ConfigError: If there is an odd number of rows or columns, or they are not as many as the patches.
    """
    rows, columns = grid
    if rows % 2 or columns % 2 or rows * columns != patches.shape[1]:
        raise ConfigError(f"grid must be even and hold the {patches.shape[1]} patches, got {rows}x{columns}.")
    square = rearrange(patches, "b (h w) d -> b h w d", h=rows)
    return rearrange(reduce(square, "b (h i) (w j) d -> b h w d", "mean", i=2, j=2), "b h w d -> b (h w) d")


def by_columns(patches: Float[Tensor, "b p d"], grid: tuple[int, int]) -> Float[Tensor, "b p d"]:
    """Return patches that stand row by row, column by column: from the left of the picture to the right."""
    return rearrange(rearrange(patches, "b (h w) d -> b w h d", h=grid[0]), "b w h d -> b (w h) d")


def painted(labels: Tensor, grid: tuple[int, int], classes: int) -> Float[Tensor, "b p c"]:
    """Return in place of an encoder's patches what a perfect one would say: which share of a patch is of which class.

    Args:
        labels: ``(b, h, w)`` whole numbers: 0 for nothing, else a class from 1.
        grid: Rows and columns of patches; they divide the picture.
        classes: How many there are.

    Returns:
        ``(b, p, classes)`` shares in [0, 1].
    """
    one_hot = torch.stack([(labels == i + 1).float() for i in range(classes)], dim=-1)
    return reduce(one_hot, "b (r i) (c j) k -> b (r c) k", "mean", r=grid[0], c=grid[1])
