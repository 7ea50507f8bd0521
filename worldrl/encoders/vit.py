"""DINOv2 ViT-S/14, as far as frozen features need it."""

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from worldrl.types import Features

PATCH, WIDTH, HEADS, DEPTH, GRID = 14, 384, 6, 12, 37
NORM_EPS = 1e-6
IMAGENET_MEAN = (255 * 0.485, 255 * 0.456, 255 * 0.406)
IMAGENET_STD = (255 * 0.229, 255 * 0.224, 255 * 0.225)


class Block(nn.Module):
    """A pre-norm transformer block with LayerScale.

    Source: Touvron et al. 2021, section 2 (arXiv:2103.17239).

    Args:
        width: Feature width ``d``.
        heads: Attention heads; divides ``width``.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width, eps=NORM_EPS)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.scale1 = nn.Parameter(torch.ones(width))
        self.norm2 = nn.LayerNorm(width, eps=NORM_EPS)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)
        self.scale2 = nn.Parameter(torch.ones(width))

    def forward(
        self, tokens: Float[Tensor, "b n d"], allowed: Bool[Tensor, "n n"] | None = None
    ) -> Float[Tensor, "b n d"]:
        """Let the tokens ``(b, n, d)`` look at each other, then transform each.

        Args:
            tokens: Of any number.
            allowed: Whether the token of a row may look at that of a column; all may if left out.
        """
        tokens = tokens + self.scale1 * self._attend(self.norm1(tokens), allowed)
        change: Tensor = self.scale2 * self.fc2(F.gelu(self.fc1(self.norm2(tokens))))
        return tokens + change

    def _attend(self, tokens: Float[Tensor, "b n d"], allowed: Bool[Tensor, "n n"] | None) -> Float[Tensor, "b n d"]:
        q, k, v = rearrange(self.qkv(tokens), "b n (three k d) -> three b k n d", three=3, k=self.heads)
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=allowed)
        mixed: Tensor = self.out(rearrange(seen, "b k n d -> b n (k d)"))
        return mixed


class DinoV2(nn.Module):
    """ViT-S/14 with a 37x37 position grid that is resized to the image, read out after any of its 12 blocks.

    A new instance has random weights. The packaged ones were fine-tuned for saliency, which spoilt CLS as a summary of
    a photograph and narrowed the last block: prefer patches of blocks 8 to 10.

    Source: Oquab et al. 2023 (arXiv:2304.07193).

    Attributes:
        mean: What to subtract from RGB in ``[0, 255]``.
        std: What to divide by then.
        depth: The number of blocks; ``layer`` counts them from one.
        default_layer: The block whose patches serve most purposes.
    """

    mean = IMAGENET_MEAN
    std = IMAGENET_STD
    depth = DEPTH
    default_layer = 9

    def __init__(self) -> None:
        super().__init__()
        self.patchify = nn.Conv2d(3, WIDTH, kernel_size=PATCH, stride=PATCH)
        self.cls_token = nn.Parameter(torch.empty(1, 1, WIDTH))
        self.positions = nn.Parameter(torch.empty(1, 1 + GRID * GRID, WIDTH))
        self.blocks = nn.ModuleList(Block(WIDTH, HEADS) for _ in range(DEPTH))
        self.norm = nn.LayerNorm(WIDTH, eps=NORM_EPS)
        for parameter in (self.cls_token, self.positions):
            nn.init.normal_(parameter, std=0.02)

    def width(self, layer: int) -> int:
        """Return the feature width ``d`` after block ``layer``."""
        return WIDTH

    @staticmethod
    def stride(layer: int) -> int:
        """Return how many pixels high and wide a patch is."""
        return PATCH

    def forward(self, pixels: Float[Tensor, "b 3 h w"], *, layer: int = default_layer) -> Features:
        """Return the features after block ``layer``, through the final norm; later blocks are not computed.

        Args:
            pixels: Normalised RGB ``(b, 3, h, w)``; ``h`` and ``w`` are multiples of 14.
            layer: The block to stop at, in ``[1, 12]``.
        """
        tokens, grid = self.embed(pixels)
        for block in self.blocks[:layer]:
            tokens = block(tokens)
        tokens = self.norm(tokens)
        return Features(tokens[:, 0], tokens[:, 1:], grid)

    def embed(self, pixels: Float[Tensor, "b 3 h w"]) -> tuple[Float[Tensor, "b n d"], tuple[int, int]]:
        """Return what the first block reads, the class token and then the patches, and their rows and columns."""
        x = self.patchify(pixels)
        rows, columns = x.shape[-2:]
        tokens = torch.cat([self.cls_token.expand(len(x), -1, -1), rearrange(x, "b d h w -> b (h w) d")], dim=1)
        return tokens + self.resized_positions(rows, columns), (rows, columns)

    def resized_positions(self, rows: int, columns: int) -> Float[Tensor, "1 n d"]:
        """Return the position embeddings ``(1, 1 + rows * columns, d)``: that of CLS, then the grid resized."""
        if (rows, columns) == (GRID, GRID):
            return self.positions
        grid = rearrange(self.positions[:, 1:], "b (h w) d -> b d h w", h=GRID)
        grid = F.interpolate(grid, size=(rows, columns), mode="bicubic", align_corners=False)
        return torch.cat([self.positions[:, :1], rearrange(grid, "b d h w -> b (h w) d")], dim=1)
