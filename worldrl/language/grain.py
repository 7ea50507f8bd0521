"""GRAIN: a picture tower that names the whole picture and the regions in it, trained on captions and descriptions.

Captions say which things are in a picture, not where; contrast of whole pictures with whole sentences leaves it to the
towers to find out which word is which thing. GRAIN adds queries that point at regions, and pulls every region to the
description of what is there. The frozen map, the blocks above it and the text tower are the same with and without.

Source: Halbe et al. 2024, "Grounding descriptions in images informs zero-shot visual recognition" (arXiv:2412.04429).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from worldrl import checkpoint
from worldrl.errors import ConfigError
from worldrl.language.grain_boxes import to_corners
from worldrl.language.image_tower import ImageTower
from worldrl.language.text_tower import TextTower

KIND = "grain"
SCALE, MOST = 1 / 0.07, 100.0
"""Where the scale of cosines begins, and the most it grows to, as in CLIP (arXiv:2103.00020, section 2.5)."""
REACH = 0.1
"""How far from where it looks a query may put the middle of its box, in widths of the picture (our choice)."""


@dataclass(frozen=True)
class Grounded:
    """What the picture tower says of pictures.

    Attributes:
        whole: ``(b, e)`` unit vectors of whole pictures.
        regions: ``(b, q, e)`` unit vectors of regions.
        boxes: ``(b, q, 4)`` left, top, right, bottom of the regions, 1 being the width or height of the picture.
    """

    whole: Float[Tensor, "b e"]
    regions: Float[Tensor, "b q e"]
    boxes: Float[Tensor, "b q 4"]


class Regions(nn.Module):
    """Queries that look for things among a picture's places, a transformer decoder.

    GRAIN's decoder predicts boxes outright; here a query's box stands about where the query looks (the mean place of
    its last attention), and its vector is what it says itself and what the places say there. Both are our choice: a
    small model learns from few pictures to correct a place, not to guess it.

    Args:
        width: Of the tokens of places and of the queries.
        layers: Of the decoder.
        heads: Of its attention.
        embedding: Numbers ``e`` of a vector that texts are compared with.
        queries: Regions ``q``.
    """

    def __init__(self, *, width: int, layers: int, heads: int, embedding: int, queries: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(0.5 * torch.randn(queries, width))
        self.decoder = nn.ModuleList(
            nn.TransformerDecoderLayer(
                width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        self.look, self.seen = nn.Linear(width, width), nn.Linear(width, width)
        self.project = nn.Linear(width, embedding, bias=False)
        self.box = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, 4))

    def forward(
        self, tokens: Float[Tensor, "b p d"], places: Float[Tensor, "b p e"], grid: tuple[int, int]
    ) -> tuple[Float[Tensor, "b q e"], Float[Tensor, "b q 4"]]:
        """Return the unit vectors and the boxes of regions."""
        queries = self.queries.expand(len(tokens), -1, -1)
        for block in self.decoder:
            queries = block(queries, tokens)
        queries = self.norm(queries)
        attention = einsum(self.look(queries), self.seen(tokens), "b q d, b p d -> b q p") / tokens.shape[-1] ** 0.5
        attention = attention.softmax(dim=-1)
        said = self.project(queries) + einsum(attention, places, "b q p, b p e -> b q e")
        middles = einsum(attention, middles_of(grid), "b q p, p xy -> b q xy")
        nudge, size = self.box(queries).split(2, dim=-1)
        boxes = torch.cat([middles + REACH * torch.tanh(nudge), torch.sigmoid(size - 1.0)], dim=-1)
        return F.normalize(said, dim=-1), to_corners(boxes)


class Grain(nn.Module):
    """A picture tower with regions and a text tower, both above what is frozen.

    The vector of a whole picture is the mean of those of its places, so that captions teach places at once (our choice;
    in one trial of 400 steps with one seed, a class token instead named regions 5 to 9 points less often, novel crops 2
    to 5 points less, and base crops between 4 less and 2 more).

    Args:
        inputs: Channels of the frozen map.
        width: Of the blocks of both towers.
        layers: Blocks of each, and of the decoder.
        heads: Of their attention.
        embedding: Numbers ``e`` of a vector that pictures and texts share.
        queries: Regions of a picture; GRAIN has five.

    Raises:
        ConfigError: If there is no query, or the heads do not divide the width.
    """

    def __init__(
        self, *, inputs: int, width: int = 64, layers: int = 2, heads: int = 4, embedding: int = 64, queries: int = 5
    ) -> None:
        if queries < 1 or width % heads:
            raise ConfigError(f"queries must be at least 1 and heads divide {width}, got {queries} and {heads}.")
        super().__init__()
        self.config = {
            "inputs": inputs, "width": width, "layers": layers, "heads": heads, "embedding": embedding,
            "queries": queries,
        }  # fmt: skip
        self.image = ImageTower(inputs=inputs, width=width, embedding=embedding, depth=layers, heads=heads)
        self.text = TextTower(width=width, embedding=embedding, depth=layers, heads=heads)
        self.regions = Regions(width=width, layers=layers, heads=heads, embedding=embedding, queries=queries)
        self.log_scale = nn.Parameter(torch.full((2,), math.log(SCALE)))

    def scales(self) -> Float[Tensor, " 2"]:
        """Return what cosines of whole pictures and of regions are multiplied by."""
        return self.log_scale.exp().clamp_max(MOST)

    def whole(self, patches: Float[Tensor, "b p c"], grid: tuple[int, int]) -> Float[Tensor, "b e"]:
        """Return the unit vectors of whole pictures, from their frozen maps of any grid."""
        return F.normalize(self.image(patches, grid)[:, 1:].mean(dim=1), dim=-1)

    def forward(self, patches: Float[Tensor, "b p c"], grid: tuple[int, int]) -> Grounded:
        """Return the vectors of pictures and of their regions."""
        tokens = self.image.start(patches, grid)
        for block in self.image.blocks:
            tokens = block(tokens)
        vectors = self.image.finish(tokens)
        regions, boxes = self.regions(self.image.norm(tokens[:, 1:]), vectors[:, 1:], grid)
        return Grounded(F.normalize(vectors[:, 1:].mean(dim=1), dim=-1), regions, boxes)

    def embed(self, texts: Sequence[str]) -> Float[Tensor, "k e"]:
        """Return the unit vectors of texts.

        Raises:
            DataError: If a text is too long.
        """
        return F.normalize(self.text(texts), dim=-1)

    def classes(self, texts: Sequence[Sequence[str]]) -> Float[Tensor, "k e"]:
        """Return the unit vector of every class: the mean of the normalised vectors of its descriptions.

        Args:
            texts: The descriptions of each class.
        """
        means = torch.stack([self.embed(list(one)).mean(dim=0) for one in texts])
        return F.normalize(means, dim=-1)

    def save_pretrained(self, folder: Path) -> None:
        """Save both towers.

        Raises:
            StorageError: If the folder cannot be written.
        """
        checkpoint.save(Path(folder), kind=KIND, config=self.config, tensors=self.state_dict())

    @classmethod
    def from_pretrained(cls, folder: Path) -> "Grain":
        """Load towers for use.

        Raises:
            CheckpointError: If there are none, or they are damaged.
        """
        found = checkpoint.load(Path(folder), kind=KIND)
        with checkpoint.described(found.path, "the towers of GRAIN"):
            grain = cls(**found.config)
        checkpoint.load_state(grain, found.tensors, path=found.path)
        return grain.eval()


def middles_of(grid: tuple[int, int]) -> Float[Tensor, "p 2"]:
    """Return the middles (x, y) of a map's cells, row by row, 1 being the width or height of the picture."""
    rows, columns = grid
    y, x = torch.meshgrid((torch.arange(rows) + 0.5) / rows, (torch.arange(columns) + 0.5) / columns, indexing="ij")
    return torch.stack([x.flatten(), y.flatten()], dim=-1)
