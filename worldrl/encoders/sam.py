"""MobileSAM: masks of what points, boxes and earlier masks point at, from one map of the image."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from einops import rearrange, repeat
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from worldrl.encoders.tinyvit import EMBEDDING, MapNorm

HEADS, DEPTH, MLP, MASKS = 8, 2, 2048, 4
LOW = 4
"""A mask has four times the places of the map that it comes from."""
OUTSIDE, BACKGROUND, FOREGROUND, TOP_LEFT, BOTTOM_RIGHT = -1, 0, 1, 2, 3
"""What a point can say: nothing, not this, this, and the two corners of a box."""


@dataclass(frozen=True)
class Masks:
    """What a prompt may have meant.

    Attributes:
        logits: ``(b, 4, 4 i, 4 j)``, positive inside; the first is one mask for all, the others part, whole and group.
        iou: ``(b, 4)``, how well the decoder thinks each fits.
    """

    logits: Float[Tensor, "b m h w"]
    iou: Float[Tensor, "b m"]

    def best(self) -> Float[Tensor, "b h w"]:
        """Return the mask ``(b, h, w)`` that the decoder trusts most."""
        return self.logits[torch.arange(len(self.iou)), self.iou.argmax(dim=1)]


class Attention(nn.Module):
    """Attention of SAM's decoder, whose inside may be narrower.

    Args:
        inner: Width inside; divided by the heads.
    """

    def __init__(self, inner: int) -> None:
        super().__init__()
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(EMBEDDING, inner) for _ in range(3))
        self.out_proj = nn.Linear(inner, EMBEDDING)

    def forward(self, q: Float[Tensor, "b n d"], k: Float[Tensor, "b m d"], v: Float[Tensor, "b m d"]) -> Tensor:
        """Let ``q`` look at ``k`` and fetch from ``v``."""
        parts = (
            rearrange(layer(x), "b n (k d) -> b k n d", k=HEADS)
            for layer, x in ((self.q_proj, q), (self.k_proj, k), (self.v_proj, v))
        )
        mixed: Tensor = self.out_proj(rearrange(F.scaled_dot_product_attention(*parts), "b k n d -> b n (k d)"))
        return mixed


class Lines(nn.Module):
    """Linear layers with ReLU between them.

    Args:
        widths: From what to what.
    """

    def __init__(self, *widths: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        """Transform the last dimension."""
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        out: Tensor = self.layers[-1](x)
        return out


class TwoWayBlock(nn.Module):
    """Tokens look at each other and at the map, and the map looks back."""

    def __init__(self) -> None:
        super().__init__()
        self.self_attn = Attention(EMBEDDING)
        self.cross_attn_token_to_image = Attention(EMBEDDING // 2)
        self.cross_attn_image_to_token = Attention(EMBEDDING // 2)
        self.mlp = nn.ModuleDict({"lin1": nn.Linear(EMBEDDING, MLP), "lin2": nn.Linear(MLP, EMBEDDING)})
        self.norm1, self.norm2, self.norm3, self.norm4 = (nn.LayerNorm(EMBEDDING) for _ in range(4))

    def forward(
        self, tokens: Tensor, image: Tensor, asked: Tensor, places: Tensor, *, first: bool
    ) -> tuple[Tensor, Tensor]:
        """Return tokens ``(b, n, d)`` and map ``(b, p, d)`` after one exchange.

        Args:
            tokens: As they are by now.
            image: The map as it is by now.
            asked: The tokens as the prompt gave them, which say where to look.
            places: Position code of the map.
            first: Whether the tokens are still the prompt, and carry its positions already.
        """
        if first:
            tokens = self.self_attn(tokens, tokens, tokens)
        else:
            q = tokens + asked
            tokens = tokens + self.self_attn(q, q, tokens)
        tokens = self.norm1(tokens)
        tokens = self.norm2(tokens + self.cross_attn_token_to_image(tokens + asked, image + places, image))
        tokens = self.norm3(tokens + self.mlp["lin2"](F.relu(self.mlp["lin1"](tokens))))
        image = self.norm4(image + self.cross_attn_image_to_token(image + places, tokens + asked, tokens))
        return tokens, image


class TwoWayTransformer(nn.Module):
    """SAM's exchange between prompt and image."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TwoWayBlock() for _ in range(DEPTH))
        self.final_attn_token_to_image = Attention(EMBEDDING // 2)
        self.norm_final_attn = nn.LayerNorm(EMBEDDING)

    def forward(self, asked: Tensor, image: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """Return tokens ``(b, n, d)`` and map ``(b, p, d)``."""
        tokens = asked
        for index, layer in enumerate(self.layers):
            tokens, image = layer(tokens, image, asked, places, first=index == 0)
        seen = self.final_attn_token_to_image(tokens + asked, image + places, image)
        return self.norm_final_attn(tokens + seen), image


class SamDecoder(nn.Module):
    """Prompts and the map of an image to masks.

    A new instance has random weights. The map may have any size, not only the 64x64 that it was trained with.

    Source: Kirillov et al. 2023 (arXiv:2304.02643), appendix A; MobileSAM keeps it as it is.
    """

    gaussian: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("gaussian", torch.randn(2, EMBEDDING // 2))
        self.points = nn.Parameter(torch.randn(4, EMBEDDING))
        self.outside, self.no_mask = nn.Parameter(torch.randn(EMBEDDING)), nn.Parameter(torch.randn(EMBEDDING))
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, 4, 2, stride=2), MapNorm(4), nn.GELU(),
            nn.Conv2d(4, 16, 2, stride=2), MapNorm(16), nn.GELU(),
            nn.Conv2d(16, EMBEDDING, 1),
        )  # fmt: skip
        self.queries = nn.Parameter(torch.randn(1 + MASKS, EMBEDDING))
        self.transformer = TwoWayTransformer()
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(EMBEDDING, 64, 2, stride=2), MapNorm(64), nn.GELU(),
            nn.ConvTranspose2d(64, 32, 2, stride=2), nn.GELU(),
        )  # fmt: skip
        self.output_hypernetworks_mlps = nn.ModuleList(Lines(EMBEDDING, EMBEDDING, EMBEDDING, 32) for _ in range(MASKS))
        self.iou_prediction_head = Lines(EMBEDDING, EMBEDDING, EMBEDDING, MASKS)

    def forward(
        self,
        image: Float[Tensor, "b d i j"],
        points: Float[Tensor, "b n 2"],
        labels: Int[Tensor, "b n"],
        *,
        mask: Float[Tensor, "b h w"] | None = None,
    ) -> Masks:
        """Return four masks for each prompt.

        Args:
            image: Map of the image encoder ``(b, 256, i, j)``, one for each prompt.
            points: ``(b, n, 2)``, x and y as shares of the image in ``[0, 1]``; pixel centres are at a half.
            labels: ``(b, n)``: 1 for a point on the object, 0 beside it, 2 and 3 for the corners of a box, -1 for none.
            mask: Logits ``(b, 4 i, 4 j)`` of a mask to begin with, as an earlier call returned them; None for none.
        """
        rows, columns = image.shape[-2:]
        dense = (
            self.no_mask[:, None, None] if mask is None else self.mask_downscaling(rearrange(mask, "b h w -> b 1 h w"))
        )
        asked = torch.cat([self.queries.expand(len(image), -1, -1), self._told(points, labels)], dim=1)
        places = repeat(self._code(_centres(rows, columns, image)), "p d -> b p d", b=len(image))
        tokens, seen = self.transformer(asked, rearrange(image + dense, "b d i j -> b (i j) d"), places)
        fine = self.output_upscaling(rearrange(seen, "b (i j) d -> b d i j", i=rows))
        heads = [head(tokens[:, 1 + m]) for m, head in enumerate(self.output_hypernetworks_mlps)]
        logits = torch.einsum("bmd,bdhw->bmhw", torch.stack(heads, dim=1), fine)
        return Masks(logits, self.iou_prediction_head(tokens[:, 0]))

    def _told(self, points: Tensor, labels: Tensor) -> Tensor:
        """Return the tokens of a prompt ``(b, n, 256)``."""
        kinds = self.points[labels.clamp_min(0)]
        is_outside = (labels == OUTSIDE)[..., None]
        return torch.where(is_outside, self.outside, self._code(points) + kinds)

    def _code(self, places: Float[Tensor, "... 2"]) -> Float[Tensor, "... d"]:
        """Return the position code of places in ``[0, 1]``."""
        angles = 2 * torch.pi * ((2 * places - 1) @ self.gaussian)
        return torch.cat([angles.sin(), angles.cos()], dim=-1)


def _centres(rows: int, columns: int, like: Tensor) -> Tensor:
    """Return the centres of a map's places ``(rows * columns, 2)``, x and y in ``[0, 1]``."""
    y, x = ((torch.arange(count, device=like.device, dtype=like.dtype) + 0.5) / count for count in (rows, columns))
    return torch.stack([x.expand(rows, -1), y[:, None].expand(-1, columns)], dim=-1).reshape(-1, 2)
