"""Parts of FrozenSeg: the pixel decoder, an attention between maps, positions, and logits of texts."""

from collections.abc import Sequence

import torch
from einops import einsum, rearrange, reduce
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class PixelDecoder(nn.Module):
    """Language-aligned cells to maps of the same, half and a quarter of their size.

    Args:
        width: Of the features.
        out: Channels of every map, a multiple of 8.
    """

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.enter = nn.Sequential(nn.Conv2d(width, out, 1), nn.GroupNorm(8, out))
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.SiLU(), nn.Conv2d(out, out, 3, padding=1), nn.GroupNorm(8, out)) for _ in range(3)
        )

    def forward(self, features: Float[Tensor, "b e i j"]) -> list[Tensor]:
        """Return three maps ``(b, d, i, j)``, the coarsest first, each twice as fine as the one before."""
        x = self.enter(F.normalize(features, dim=1) * features.shape[1] ** 0.5)
        maps = []
        for i, block in enumerate(self.blocks):
            if i:
                x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
            x = x + block(x)
            maps.append(x)
        return maps


class Attention(nn.Module):
    """Lets some cells look at others, beside what they are.

    Args:
        width: Of cells.
        heads: Of attention.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attend = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm = nn.LayerNorm(width)

    def forward(self, asking: Float[Tensor, "b n d"], asked: Float[Tensor, "b m d"]) -> Float[Tensor, "b n d"]:
        """Return the asking cells after their look."""
        seen, _ = self.attend(asking, asked, asked, need_weights=False)
        told: Tensor = self.norm(asking + seen)
        return told


def places(maps: Sequence[Float[Tensor, "b d i j"]], marks: Float[Tensor, "l d"]) -> list[Tensor]:
    """Return the positions of each map's cells ``(n, d)``: sines of row and column, and the level's mark."""
    return [
        sines((one.shape[-2], one.shape[-1]), one.shape[1]).to(one.device) + mark
        for one, mark in zip(maps, marks, strict=True)
    ]


def sines(grid: tuple[int, int], width: int) -> Float[Tensor, "n d"]:
    """Return sines and cosines of the middles of cells, in shares of the map, half of them for rows (row-major).

    Args:
        grid: Rows and columns.
        width: Numbers of a position, a multiple of 4.
    """
    rates = 2 * torch.pi * 2.0 ** torch.linspace(0, 4, width // 4)
    rows, columns = (
        rearrange((torch.arange(size) + 0.5) / size, "n -> n 1") * rates for size in grid
    )  # fmt: skip
    across = torch.cat([columns.sin(), columns.cos()], dim=1)
    down = torch.cat([rows.sin(), rows.cos()], dim=1)
    both = torch.cat(
        [down[:, None].expand(-1, grid[1], -1), across[None].expand(grid[0], -1, -1)], dim=-1
    )  # fmt: skip
    return rearrange(both, "i j d -> (i j) d")


def text_logits(
    embeddings: Float[Tensor, "b q e"], texts: Float[Tensor, "k m e"], void: Float[Tensor, " e"], scale: Tensor | float
) -> Float[Tensor, "b q c"]:
    """Return cosines with each class's likest sentence, and with the void last, times the scale."""
    asked = F.normalize(embeddings, dim=-1)
    named = reduce(einsum(asked, F.normalize(texts, dim=-1), "b q e, k m e -> b q k m"), "b q k m -> b q k", "max")
    nothing = einsum(asked, F.normalize(void, dim=0), "b q e, e -> b q")
    return scale * torch.cat([named, rearrange(nothing, "b q -> b q 1")], dim=-1)
