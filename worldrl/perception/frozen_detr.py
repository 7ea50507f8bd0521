"""Frozen-DETR: what a frozen encoder knows of a picture, put into a detector that is trained beside it.

Two ways in, each a switch. Class tokens of the whole picture and of its quarters join the queries of every decoder
layer, each layer projecting them anew. Patch tokens join the map of the encoder as one more level. Both are dropped
after they were looked at: neither is an answer, and neither is in the memory that the decoder reads.

Source: Fu et al. 2024, "Frozen-DETR: enhancing DETR with image understanding from frozen foundation models"
(arXiv:2410.19635), sections 3.2 and 3.3.
"""

from dataclasses import dataclass

import torch
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor, nn

from worldrl.errors import ConfigError
from worldrl.perception.detector import (
    GUESS,
    DecoderLayer,
    EncoderLayer,
    Found,
    Head,
    Residual,
    middles,
    mlp,
    waves,
)

REGIONS = ((0.5, 0.5, 1.0, 1.0), (0.25, 0.25, 0.5, 0.5), (0.75, 0.25, 0.5, 0.5), (0.25, 0.75, 0.5, 0.5),
           (0.75, 0.75, 0.5, 0.5))  # fmt: skip
"""Where the class tokens are of: the picture and its quarters, row by row; middle, width and height."""


@dataclass(frozen=True)
class Knowledge:
    """What a frozen encoder says of some pictures; what is None is not used.

    Attributes:
        tokens: ``(b, 5, f)`` class tokens of the pictures and of their quarters, row by row.
        patches: ``(b, p, f)`` row-major.
        grid: Rows and columns of patches.
    """

    tokens: Float[Tensor, "b 5 f"] | None = None
    patches: Float[Tensor, "b p f"] | None = None
    grid: tuple[int, int] = (0, 0)

    def __getitem__(self, rows: Tensor | slice) -> "Knowledge":
        """Return that of some of the pictures."""
        tokens, patches = (None if one is None else one[rows] for one in (self.tokens, self.patches))
        return Knowledge(tokens, patches, self.grid)


@dataclass(frozen=True)
class Detected:
    """What a detector says: the guesses of the encoder about every cell, then each decoder layer about its queries.

    ``cells`` ``(n, 2)`` are the middles of the cells.
    """

    guesses: Found
    layers: tuple[Found, ...]
    cells: Float[Tensor, "n 2"]


class FrozenDETR(nn.Module):
    """The detector, with or without what a frozen encoder knows.

    Args:
        classes: How many there are.
        tokens: Width of class tokens that join the queries; 0 for none.
        patches: Width of patch tokens that join the map; 0 for none.
        width: Of everything inside.
        heads: Of all attention.
        encoders: Encoder layers.
        decoders: Decoder layers.
        queries: Things it can find in a picture.

    Raises:
        ConfigError: If a number is out of range.
    """

    regions: Tensor

    def __init__(
        self,
        *,
        classes: int,
        tokens: int = 0,
        patches: int = 0,
        width: int = 128,
        heads: int = 4,
        encoders: int = 2,
        decoders: int = 3,
        queries: int = 20,
    ) -> None:
        if classes < 1 or queries < 1 or width % 32 or width % heads:
            raise ConfigError(
                "classes and queries must be at least 1, width a multiple of 32 and of heads, "
                f"got {classes}, {queries}, {width} and {heads}."
            )
        super().__init__()
        self.width = width
        self.backbone = nn.Sequential(
            Residual(3, 32), Residual(32, 64), Residual(64, width), nn.Conv2d(width, width, 1)
        )
        self.encoder = nn.ModuleList(EncoderLayer(width, heads) for _ in range(encoders))
        self.decoder = nn.ModuleList(DecoderLayer(width, heads) for _ in range(decoders))
        self.norm_map, self.norm_queries = nn.LayerNorm(width), nn.LayerNorm(width)
        self.guess = Head(width, classes)
        self.heads = nn.ModuleList(Head(width, classes) for _ in range(decoders))
        self.queries = nn.Parameter(torch.randn(queries, width))
        self.anchor = mlp(2 * width, width, width, layers=2)
        self.levels = nn.Parameter(0.02 * torch.randn(2, width))
        self.read_patches = nn.Linear(patches, width) if patches else None
        self.norm_patches = nn.GroupNorm(32, width)
        self.read_tokens = nn.ModuleList(
            nn.Sequential(nn.Linear(tokens, width), nn.LayerNorm(width)) for _ in range(decoders if tokens else 0)
        )
        self.register_buffer("regions", torch.tensor(REGIONS), persistent=False)

    def forward(self, pixels: Float[Tensor, "b 3 h w"], known: Knowledge | None = None) -> Detected:
        """Return what is in pictures.

        Args:
            pixels: Standardized; height and width are multiples of 8.
            known: What the frozen encoder says of them, as far as this detector uses it.

        Raises:
            ValueError: If something that it uses is not there.
        """
        known = known or Knowledge()
        memory, places, cells = self._encode(pixels, known)
        guesses = self.guess(memory, torch.cat([cells, torch.full_like(cells, GUESS)], dim=-1))
        best = guesses.logits.amax(dim=-1).topk(len(self.queries), dim=1).indices
        boxes = _pick(guesses.boxes, best).detach()
        queries = self.queries + _pick(memory, best).detach()
        layers = []
        for i, layer in enumerate(self.decoder):
            queries = self._decode(i, layer, queries, boxes, memory, places, known)
            layers.append(self.heads[i](self.norm_queries(queries), boxes))
            boxes = layers[-1].boxes.detach()
        return Detected(guesses, tuple(layers), cells)

    def _encode(self, pixels: Tensor, known: Knowledge) -> tuple[Tensor, Tensor, Tensor]:
        """Return the map ``(b, n, d)``, where its cells are ``(n, d)``, and their middles ``(n, 2)``."""
        # torch 2.13 corrupts the heap in the backward of convolutions over pictures whose channels lie last.
        maps = self.backbone(pixels.contiguous())
        rows, columns = maps.shape[-2:]
        tokens, cells = rearrange(maps, "b d h w -> b (h w) d"), middles(rows, columns).to(pixels.device)
        places = waves(cells, self.width // 2)
        together, where = tokens, places + self.levels[0]
        if self.read_patches is not None:
            if known.patches is None:
                raise ValueError("known must have patches, which this detector was built for, got none.")
            read = rearrange(self.read_patches(known.patches), "b p d -> b d p")
            level = rearrange(self.norm_patches(read), "b d p -> b p d")
            beside = waves(middles(*known.grid).to(pixels.device), self.width // 2) + self.levels[1]
            together, where = torch.cat([tokens, level], dim=1), torch.cat([where, beside])
        for layer in self.encoder:
            together = layer(together, where)
        return self.norm_map(together[:, : tokens.shape[1]]), places, cells

    def _decode(
        self, i: int, layer: nn.Module, queries: Tensor, boxes: Tensor, memory: Tensor, places: Tensor, known: Knowledge
    ) -> Tensor:
        """Run a decoder layer, class tokens among its queries, and return the queries."""
        count, anchors = queries.shape[1], self._anchors(boxes)
        if len(self.read_tokens):
            if known.tokens is None:
                raise ValueError("known must have class tokens, which this detector was built for, got none.")
            at = repeat(self._anchors(self.regions), "r d -> b r d", b=len(queries))
            queries = torch.cat([queries, self.read_tokens[i](known.tokens)], dim=1)
            anchors = torch.cat([anchors, at], dim=1)
        after: Tensor = layer(queries, anchors, memory, places)
        return after[:, :count]

    def _anchors(self, boxes: Float[Tensor, "*b 4"]) -> Float[Tensor, "*b d"]:
        """Return where boxes are: the place of their middle as cells tell theirs, and what is learnt of their size."""
        anchors: Tensor = waves(boxes[..., :2], self.width // 2) + self.anchor(waves(boxes, self.width // 2))
        return anchors


def _pick(rows: Float[Tensor, "b n d"], which: Tensor) -> Float[Tensor, "b q d"]:
    return rows.gather(1, repeat(which, "b q -> b q d", d=rows.shape[-1]))
