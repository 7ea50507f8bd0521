"""A query detector that is trained from nothing on small pictures: what Frozen-DETR is put into.

Convolutions, a transformer encoder over their map, the best cells as first guesses, and a decoder that corrects them
layer by layer. It is DETR with what makes it learn quickly (boxes as anchors of queries, guesses from the encoder,
correction in every layer) and attention over the whole map, which is small enough here for that.

Source: Carion et al. 2020 (arXiv:2005.12872); Liu et al. 2022, DAB-DETR, sections 4.1 and 4.2 (arXiv:2201.12329) for
anchors; Zhu et al. 2021, Deformable DETR, section 4.2 (arXiv:2010.04159) for guesses and correction. Sizes are ours.
"""

import math
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

PRIOR = 0.02
"""How likely a thing is at first (Lin et al. 2017, focal loss, section 4.1)."""
GUESS = 0.2
"""Width and height of a cell's first guess, 1 being the picture."""
SHARP = 2.5
"""What places are multiplied by, so that attention begins within a cell or two of where it asks (see ``local``)."""


@dataclass(frozen=True)
class Found:
    """What one layer says.

    Attributes:
        logits: ``(b, q, c)`` of the classes, each by itself.
        boxes: ``(b, q, 4)`` middle, width and height, 1 being the picture.
    """

    logits: Float[Tensor, "b q c"]
    boxes: Float[Tensor, "b q 4"]


class Residual(nn.Module):
    """Two convolutions beside a shortcut, halving the map."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.short = nn.Conv2d(inputs, outputs, 1, stride=2, bias=False)
        self.norm1, self.norm2 = nn.GroupNorm(8, outputs), nn.GroupNorm(8, outputs)

    def forward(self, maps: Float[Tensor, "b i h w"]) -> Float[Tensor, "b o y x"]:
        """Return maps of half the height and width."""
        inner = F.relu(self.norm1(self.first(maps)))
        return F.relu(self.norm2(self.second(inner)) + self.short(maps))


class EncoderLayer(nn.Module):
    """Cells look at each other."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attend = local(nn.MultiheadAttention(width, heads, batch_first=True))
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.change = mlp(width, 2 * width, width, layers=2)

    def forward(self, cells: Float[Tensor, "b n d"], places: Float[Tensor, "n d"]) -> Float[Tensor, "b n d"]:
        """Return cells that have looked at each other; where they are counts in looking only."""
        normed = self.norm1(cells)
        placed = normed + places
        cells = cells + self.attend(placed, placed, normed, need_weights=False)[0]
        changed: Tensor = cells + self.change(self.norm2(cells))
        return changed


class DecoderLayer(nn.Module):
    """Queries look at each other, then at the map."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.among = nn.MultiheadAttention(width, heads, batch_first=True)
        self.at_map = local(nn.MultiheadAttention(width, heads, batch_first=True))
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))
        self.change = mlp(width, 2 * width, width, layers=2)

    def forward(
        self,
        queries: Float[Tensor, "b q d"],
        anchors: Float[Tensor, "b q d"],
        memory: Float[Tensor, "b n d"],
        places: Float[Tensor, "n d"],
    ) -> Float[Tensor, "b q d"]:
        """Return the queries after this layer; anchors say where each query is."""
        normed = self.norm1(queries)
        placed = normed + anchors
        queries = queries + self.among(placed, placed, normed, need_weights=False)[0]
        asked = self.norm2(queries) + anchors
        queries = queries + self.at_map(asked, memory + places, memory, need_weights=False)[0]
        changed: Tensor = queries + self.change(self.norm3(queries))
        return changed


class Head(nn.Module):
    """Class and box of each token, the box as a correction of where it was looked for."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.name, self.box = nn.Linear(width, classes), mlp(width, width, 4, layers=3)
        nn.init.constant_(self.name.bias, -math.log((1 - PRIOR) / PRIOR))
        last = self.box[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, tokens: Float[Tensor, "b q d"], about: Float[Tensor, "*b q 4"]) -> Found:
        """Return what is at the boxes ``about``, corrected."""
        return Found(self.name(tokens), (self.box(tokens) + torch.logit(about, eps=1e-4)).sigmoid())


def local(attention: nn.MultiheadAttention) -> nn.MultiheadAttention:
    """Let queries and keys be read alike at first, so that what lies near is looked at before anything is learnt.

    Where two tokens are counts in both, and the product of two places is the greater the nearer they are. With keys
    read in a way of their own it takes thousands of steps until attention finds its place (our choice).
    """
    width = attention.embed_dim
    with torch.no_grad():
        attention.in_proj_weight[width : 2 * width] = attention.in_proj_weight[:width]
    return attention


def mlp(inputs: int, inner: int, outputs: int, *, layers: int) -> nn.Sequential:
    """Return linear layers with ReLU between them."""
    sizes = [inputs, *[inner] * (layers - 1), outputs]
    parts: list[nn.Module] = []
    for i in range(layers):
        parts += [nn.Linear(sizes[i], sizes[i + 1]), nn.ReLU()]
    return nn.Sequential(*parts[:-1])


def waves(numbers: Float[Tensor, "*b k"], width: int) -> Float[Tensor, "*b w"]:
    """Return numbers in [0, 1] as sines and cosines, ``width`` of them for each number, one after the other."""
    pace = 8 * math.pi * 10_000.0 ** -(torch.arange(width // 2, device=numbers.device) / (width // 2))
    angles = numbers[..., None] * pace
    return SHARP * torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(-2)


def middles(rows: int, columns: int) -> Float[Tensor, "n 2"]:
    """Return the middles (x, y) of a map's cells, row by row, 1 being the picture."""
    y, x = torch.meshgrid((torch.arange(rows) + 0.5) / rows, (torch.arange(columns) + 0.5) / columns, indexing="ij")
    return rearrange(torch.stack([x, y]), "two h w -> (h w) two")
