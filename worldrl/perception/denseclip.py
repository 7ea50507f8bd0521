"""DenseCLIP: names written into a segmentation decoder by the dense features of a language-aligned image tower.

Class names stand behind learned context vectors in the frozen text tower; a small decoder lets each class look at the
picture (its global and all its local features) and moves its embedding a little; the cosines of local features with
these embeddings are score maps, which go to the segmentation decoder beside the feature map and are asked for labels
themselves.

Source: Rao et al. 2022, "DenseCLIP: language-guided dense prediction with context-aware prompting" (arXiv 2112.01518),
sections 3.2 to 3.4, whose sizes these are. The paper tunes the image tower (at a tenth of the rate); here it is frozen
and its features are computed once, and tuning it is left out.

The paper's decoder has one output for each class of its data set. Ours (our choice) can be asked for other names: it
gives each pixel an embedding whose cosine with a class's is the logit, beside a learned background; and the weights
that read a score map are a linear function of that class's embedding, which is the paper's first layer on the
concatenation with its columns tied to names.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from typing import Protocol

import torch
from einops import einsum, rearrange, repeat
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from worldrl.perception.masks import resized, to_map

CONTEXT = 8
"""Learned vectors between the start token and a class's name."""
LAYERS, HEADS = 3, 4
GAMMA = 1e-4
"""What the change of a class's embedding is multiplied by at first, channel by channel."""
TEMPERATURE = 0.07
"""What score maps are divided by in their own loss; the decoder sees them undivided."""
SCORE_WEIGHT = 0.4
"""What that loss counts beside the decoder's."""
NOTHING = 0
"""The label of a pixel that shows no thing."""
_NOT_ASKED = -1


class TextSide(Protocol):
    """Who embeds class names behind context vectors, such as the two towers of ``worldrl.language``."""

    def texts(self, texts: Sequence[str], context: Tensor | None = None) -> Tensor:
        """Return unit vectors ``(k, e)``, through which a gradient reaches the context ``(m, d)``."""
        ...


@dataclass(frozen=True)
class DenseView:
    """What frozen encoders say of some pictures.

    Attributes:
        whole: ``(b, e)`` the image tower's global feature, in the space of texts, of any length.
        patches: ``(b, p, e)`` its local features, row-major, in the same space.
        stem: ``(b, p, d)`` the map that the tower pools from.
        grid: Rows and columns of both.
    """

    whole: Float[Tensor, "b e"]
    patches: Float[Tensor, "b p e"]
    stem: Float[Tensor, "b p d"]
    grid: tuple[int, int]


@dataclass(frozen=True)
class NamedMap:
    """What a decoder says of some pictures.

    Attributes:
        logits: ``(b, 1 + k, h, w)``, the background first.
        scores: ``(b, k, i, j)`` cosines of local features with class embeddings, in [-1, 1].
    """

    logits: Float[Tensor, "b c h w"]
    scores: Float[Tensor, "b k i j"]


class ContextDecoder(nn.Module):
    """Lets classes look at a picture: t' = t + gamma * what they saw ("post-model" prompting, section 3.3).

    Args:
        width: Of embeddings ``e``.
        inner: Of the transformer (the paper's 256 is for embeddings of 1024).
        layers: Of self-attention among the classes, then cross-attention to the picture.
        heads: Of both.
    """

    def __init__(self, *, width: int, inner: int = 64, layers: int = LAYERS, heads: int = HEADS) -> None:
        super().__init__()
        self.read = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, inner), nn.LayerNorm(inner))
        self.ask = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, inner))
        self.layers = nn.ModuleList(
            nn.TransformerDecoderLayer(inner, heads, 4 * inner, dropout=0.0, activation="gelu", batch_first=True,
                                       norm_first=True)
            for _ in range(layers)
        )  # fmt: skip
        self.out = nn.Sequential(nn.LayerNorm(inner), nn.Linear(inner, width))
        self.gamma = nn.Parameter(torch.full((width,), GAMMA))

    def forward(
        self, texts: Float[Tensor, "k e"], whole: Float[Tensor, "b e"], patches: Float[Tensor, "b p e"]
    ) -> Float[Tensor, "b k e"]:
        """Return the embedding of each class for each picture."""
        memory = self.read(torch.cat([rearrange(whole, "b e -> b 1 e"), patches], dim=1))
        asked = repeat(self.ask(texts), "k c -> b k c", b=len(whole))
        for layer in self.layers:
            asked = layer(asked, memory)
        moved: Tensor = texts + self.gamma * self.out(asked)
        return moved


class DenseCLIP(nn.Module):
    """Segments pictures by names that may be others at every call.

    Args:
        width: Of embeddings ``e``.
        stem: Of the map beside them ``d``.
        text_width: Of context vectors.
        hidden: Channels of the segmentation decoder.
        doublings: How many times it doubles the map (two bring cells of 16 pixels to cells of 4).
        scores: Whether the decoder gets score maps, and these a loss of their own.
        context_decoder: Whether classes look at the picture.
        learned_context: Whether names stand behind learned vectors; without, behind none.
    """

    def __init__(
        self, *, width: int, stem: int, text_width: int, hidden: int = 64, doublings: int = 2, scores: bool = True,
        context_decoder: bool = True, learned_context: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        self.width, self.has_scores = width, scores
        self.context = nn.Parameter(0.02 * torch.randn(CONTEXT, text_width)) if learned_context else None
        self.context_decoder = ContextDecoder(width=width) if context_decoder else None
        self.norm = nn.LayerNorm(stem + width)
        self.enter = nn.Conv2d(stem + width, hidden, 1)
        self.score_weights = nn.Linear(width, hidden, bias=False)
        self.body = nn.ModuleList(_block(hidden) for _ in range(doublings + 1))
        self.out = nn.Conv2d(hidden, width, 1)
        self.background = nn.Parameter(torch.randn(width))
        self.log_scale = nn.Parameter(torch.tensor(-log(TEMPERATURE)))

    def embed(self, tower: TextSide, names: Sequence[str]) -> Float[Tensor, "k e"]:
        """Return the embeddings of names in the frozen text tower, behind the learned context where there is one."""
        return tower.texts(names, context=self.context)

    def forward(self, view: DenseView, texts: Float[Tensor, "k e"]) -> NamedMap:
        """Segment pictures.

        Args:
            view: Of frozen encoders.
            texts: What ``embed`` gives for the names that are asked for.

        Raises:
            ValueError: If the texts are not of this width, or the patches not those of the grid.
        """
        if texts.ndim != 2 or texts.shape[1] != self.width:
            raise ValueError(f"texts must be (k, {self.width}), got {tuple(texts.shape)}.")
        classes = repeat(texts, "k e -> b k e", b=len(view.whole))
        if self.context_decoder is not None:
            classes = self.context_decoder(texts, view.whole, view.patches)
        scores = score_maps(view.patches, view.grid, classes)
        pixels = F.normalize(self._decode(view, classes, scores), dim=1)
        named = einsum(pixels, F.normalize(classes, dim=-1), "b e h w, b k e -> b k h w")
        nothing = einsum(pixels, F.normalize(self.background, dim=0), "b e h w, e -> b h w")
        logits = self.log_scale.exp() * torch.cat([rearrange(nothing, "b h w -> b 1 h w"), named], dim=1)
        return NamedMap(logits, scores)

    def _decode(
        self, view: DenseView, classes: Float[Tensor, "b k e"], scores: Float[Tensor, "b k i j"]
    ) -> Float[Tensor, "b e h w"]:
        """Return the embedding of each pixel from the feature map and, beside it, the score maps."""
        x = self.enter(to_map(self.norm(torch.cat([view.stem, view.patches], dim=-1)), view.grid))
        if self.has_scores:  # the first layer's columns for [features, scores], those of scores read off the names
            x = x + einsum(self.score_weights(F.normalize(classes, dim=-1)), scores, "b k c, b k i j -> b c i j")
        for i, block in enumerate(self.body):
            x = x + block(x)
            if i + 1 < len(self.body):
                x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        pixels: Tensor = self.out(x)
        return pixels


def score_maps(
    patches: Float[Tensor, "b p e"], grid: tuple[int, int], classes: Float[Tensor, "b k e"]
) -> Float[Tensor, "b k i j"]:
    """Return the cosines of local features with class embeddings."""
    return einsum(
        F.normalize(to_map(patches, grid), dim=1), F.normalize(classes, dim=-1), "b e i j, b k e -> b k i j"
    )  # fmt: skip


def dense_loss(found: NamedMap, labels: Int[Tensor, "b h w"], *, scores: bool = True) -> Float[Tensor, ""]:
    """Return the cross-entropy of pixels, and 0.4 of that of the score maps, divided by the temperature.

    Score maps are asked only where there is a thing: they have no background (our choice; the paper's data have none).

    Args:
        found: What the model says.
        labels: 0 for the background, ``i + 1`` for class ``i``.
        scores: Whether score maps have a loss.
    """
    loss = F.cross_entropy(found.logits, labels)
    if not scores:
        return loss
    size = (labels.shape[-2], labels.shape[-1])
    asked = torch.where(labels == NOTHING, _NOT_ASKED, labels - 1)
    summed = F.cross_entropy(
        resized(found.scores, size) / TEMPERATURE, asked, ignore_index=_NOT_ASKED, reduction="sum"
    )  # fmt: skip
    return loss + SCORE_WEIGHT * summed / (asked != _NOT_ASKED).sum().clamp_min(1)


def _block(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.GroupNorm(8, width), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1),
        nn.GroupNorm(8, width), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1),
    )  # fmt: skip
