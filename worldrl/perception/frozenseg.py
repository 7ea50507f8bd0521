"""FrozenSeg: mask queries over a language-aligned encoder, told by a spatial one where things end.

Two encoders stay frozen: one whose local features lie in the space of texts, and one that was taught where things are.
The pixel decoder reads the first alone; the second enters the mask decoder by two injectors, every third layer each.

Source: Chen et al. 2024, "FrozenSeg: harmonizing frozen foundation models for open-vocabulary segmentation"
(arXiv 2409.03525), sections 3.2 to 3.4, on Mask2Former (arXiv 2112.01527). Small here (our choice): plain convolutions
in place of deformable attention, three levels of cells of 16, 8 and 4 pixels, about 20 queries.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from einops import einsum, rearrange, repeat
from jaxtyping import Bool, Float
from torch import Tensor, nn

from worldrl.errors import ConfigError
from worldrl.perception.frozenseg_parts import Attention, PixelDecoder, places, text_logits
from worldrl.perception.mask_matching import QueryOutput
from worldrl.perception.masks import pool, resized, to_map

LEVELS = 3
"""Maps that layers attend to in turn, and so the period of the injectors."""
FEATURES_AT, QUERIES_AT = 0, 2
"""The layers, modulo three, before which features and queries are injected."""


@dataclass(frozen=True)
class TwoViews:
    """What two frozen encoders say of some pictures.

    Attributes:
        language: ``(b, p, e)`` local features in the space of texts, row-major.
        language_grid: Rows and columns of them.
        spatial: ``(b, p', s)`` local features of the other encoder; None where there is none.
        spatial_grid: Rows and columns of them.
    """

    language: Float[Tensor, "b p e"]
    language_grid: tuple[int, int]
    spatial: Float[Tensor, "b r s"] | None = None
    spatial_grid: tuple[int, int] = (0, 0)


class FrozenSeg(nn.Module):
    """Finds masks and names them by texts that may be others at every call.

    Args:
        language: Width of language-aligned features and texts ``e``.
        spatial: Width of spatial features ``s``; 0 for no second encoder.
        width: Of queries and maps.
        queries: How many masks there are.
        layers: Of the mask decoder.
        heads: Of every attention.
        feature_injector: Whether spatial features are attended to by the coarsest map, in layers 0, 3, ...
        query_injector: Whether queries get spatial features from within their masks, in layers 2, 5, ...

    Raises:
        ConfigError: If there is no layer or query, or an injector without a second encoder.
    """

    def __init__(
        self, *, language: int, spatial: int, width: int = 64, queries: int = 20, layers: int = 6, heads: int = 4,
        feature_injector: bool = True, query_injector: bool = True,
    ) -> None:  # fmt: skip
        if layers < 1 or queries < 1:
            raise ConfigError(f"layers and queries must be at least 1, got {layers} and {queries}.")
        if not spatial and (feature_injector or query_injector):
            raise ConfigError("injectors must be off without a second encoder: set spatial, or both of them to false.")
        super().__init__()
        self.language_width, self.spatial_width = language, spatial
        self.pixel_decoder = PixelDecoder(language, width)
        self.spatial_in = nn.Sequential(nn.LayerNorm(spatial), nn.Linear(spatial, width)) if spatial else None
        self.level_marks = nn.Parameter(0.02 * torch.randn(LEVELS, width))
        self.queries = nn.Parameter(torch.randn(queries, width))
        self.query_places = nn.Parameter(torch.randn(queries, width))
        self.layers = nn.ModuleList(MaskLayer(width, heads) for _ in range(layers))
        starts = [i for i in range(layers) if i % LEVELS == FEATURES_AT] if feature_injector else []
        self.feature_injectors = nn.ModuleDict({str(i): Attention(width, heads) for i in starts})
        self.query_injector = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width)) if query_injector else None
        self.norm = nn.LayerNorm(width)
        self.to_mask = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))
        self.to_name = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, 2 * width), nn.GELU(),
            nn.Linear(2 * width, language),
        )  # fmt: skip
        self.void = nn.Parameter(torch.randn(language))
        self.log_scale = nn.Parameter(torch.tensor(10.0).log())

    def forward(self, views: TwoViews, texts: Float[Tensor, "k m e"]) -> list[QueryOutput]:
        """Return what the queries say at first and after every layer; the last is the answer.

        Args:
            views: Of the frozen encoders.
            texts: Unit vectors of ``m`` sentences for each of ``k`` classes.

        Raises:
            ValueError: If texts or features are not of the widths this was built for.
        """
        self._check(views, texts)
        maps = self.pixel_decoder(to_map(views.language, views.language_grid))
        keys = places(maps, self.level_marks)
        spatial = self._spatial(views)
        x: Tensor = repeat(self.queries, "q d -> b q d", b=len(views.language))
        outputs = [self._say(x, maps[-1], texts)]
        for i, layer in enumerate(self.layers):
            level = rearrange(maps[i % LEVELS], "b d i j -> b (i j) d")
            if str(i) in self.feature_injectors:
                level = self._inject_features(i, level, maps[i % LEVELS], spatial)
            if i % LEVELS == QUERIES_AT and self.query_injector is not None:
                x = x + self._inject_queries(outputs[-1].masks, spatial)
            blocked = blocked_cells(outputs[-1].masks, (maps[i % LEVELS].shape[-2], maps[i % LEVELS].shape[-1]))
            x = layer(x, self.query_places, level, keys[i % LEVELS], blocked)
            outputs.append(self._say(x, maps[-1], texts))
        return outputs

    def _check(self, views: TwoViews, texts: Tensor) -> None:
        if texts.ndim != 3 or texts.shape[2] != self.language_width:
            raise ValueError(f"texts must be (k, m, {self.language_width}), got {tuple(texts.shape)}.")
        if bool(self.spatial_width) != (views.spatial is not None):
            had = "none" if views.spatial is None else "some"
            raise ValueError(f"spatial features must be {self.spatial_width} wide, or absent for 0, got {had}.")

    def _spatial(self, views: TwoViews) -> Float[Tensor, "b d i j"] | None:
        if self.spatial_in is None or views.spatial is None:
            return None
        return to_map(self.spatial_in(views.spatial), views.spatial_grid)

    def _inject_features(
        self, i: int, level: Float[Tensor, "b n d"], shape: Tensor, spatial: Tensor | None
    ) -> Float[Tensor, "b n d"]:
        """Let a level's language-aligned cells ask the spatial ones, of as many cells, for what they know."""
        if spatial is None:
            raise AssertionError("an injector without spatial features")
        known = resized(spatial, (shape.shape[-2], shape.shape[-1]))
        injected: Tensor = self.feature_injectors[str(i)](level, rearrange(known, "b d i j -> b (i j) d"))
        return injected

    def _inject_queries(self, masks: Tensor, spatial: Tensor | None) -> Float[Tensor, "b q d"]:
        """Return what spatial features say within each query's present mask, through which no gradient passes."""
        if spatial is None or self.query_injector is None:
            raise AssertionError("an injector without spatial features")
        grid = (spatial.shape[-2], spatial.shape[-1])
        inside = pool(rearrange(spatial, "b d i j -> b (i j) d"), grid, (masks.detach() > 0).float())
        told: Tensor = self.query_injector(inside)
        return told

    def _say(self, x: Float[Tensor, "b q d"], pixels: Float[Tensor, "b d h w"], texts: Tensor) -> QueryOutput:
        """Return masks, and classes of the query and of the pixel features within its mask together."""
        x = self.norm(x)
        masks = einsum(self.to_mask(x), pixels, "b q d, b d h w -> b q h w")
        grid = (pixels.shape[-2], pixels.shape[-1])
        inside = pool(rearrange(pixels, "b d h w -> b (h w) d"), grid, (masks.detach() > 0).float())
        return QueryOutput(masks, text_logits(self.to_name(x + inside), texts, self.void, self.log_scale.exp()))


class MaskLayer(nn.Module):
    """A layer of masked attention to a map, attention among the queries, and a perceptron (Mask2Former, section 3.2).

    Args:
        width: Of queries.
        heads: Of attention.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.cross = nn.MultiheadAttention(width, heads, batch_first=True)
        self.among = nn.MultiheadAttention(width, heads, batch_first=True)
        self.inner = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))

    def forward(
        self,
        x: Float[Tensor, "b q d"],
        own: Float[Tensor, "q d"],
        level: Float[Tensor, "b n d"],
        keys: Float[Tensor, "n d"],
        blocked: Bool[Tensor, "b q n"],
    ) -> Float[Tensor, "b q d"]:
        """Return the queries after a look at a map.

        Args:
            x: Queries.
            own: Their positions, added where they ask.
            level: Cells of the map.
            keys: Positions of the cells, added where they are asked.
            blocked: Which cells a query must not look at; no row may be all blocked.
        """
        mask = repeat(blocked, "b q n -> (b h) q n", h=self.heads)
        seen, _ = self.cross(x + own, level + keys, level, attn_mask=mask, need_weights=False)
        x = self.norms[0](x + seen)
        told, _ = self.among(x + own, x + own, x, need_weights=False)
        x = self.norms[1](x + told)
        out: Tensor = self.norms[2](x + self.inner(x))
        return out


@torch.no_grad()
def blocked_cells(masks: Float[Tensor, "b q h w"], grid: tuple[int, int]) -> Bool[Tensor, "b q n"]:
    """Return which cells of a map each query must not look at: those outside its mask, or none if that is all of them.

    Args:
        masks: Logits.
        grid: Rows and columns of the map.
    """
    outside = rearrange(resized(masks, grid) < 0, "b q i j -> b q (i j)")
    return outside & ~outside.all(dim=-1, keepdim=True)


def stacked(texts: Sequence[Float[Tensor, "k e"]]) -> Float[Tensor, "k m e"]:
    """Return the embeddings of ``k`` classes in ``m`` templates as ``FrozenSeg`` takes them."""
    return torch.stack(list(texts), dim=1)
