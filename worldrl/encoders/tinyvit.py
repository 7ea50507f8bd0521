"""TinyViT-5M as MobileSAM distilled it: convolutions, then attention inside windows, then a map for a mask decoder."""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from worldrl.encoders.vit import IMAGENET_MEAN, IMAGENET_STD
from worldrl.types import Features

WIDTHS, DEPTHS, HEADS, WINDOWS = (64, 128, 160, 320), (2, 2, 6, 2), (0, 4, 5, 10), (0, 7, 14, 7)
STRIDES = (4, 8, 16, 16, 16)
"""Of the four stages and of the neck."""
EMBEDDING = 256
"""Width of the map that SAM's decoder reads."""
NORM_EPS = 1e-6


class MapNorm(nn.Module):
    """Layer normalisation over the channels of a map ``(b, c, h, w)``.

    Args:
        width: Channels.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Normalise each place of the map."""
        rows = rearrange(x, "b c h w -> b h w c")
        return rearrange(F.layer_norm(rows, self.weight.shape, self.weight, self.bias, NORM_EPS), "b h w c -> b c h w")


class Bottleneck(nn.Module):
    """Expand fourfold, filter each channel, project, with a shortcut.

    Args:
        width: Channels in and out.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = 4 * width
        self.conv1 = nn.Conv2d(width, inner, 1)
        self.conv2 = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)
        self.conv3 = nn.Conv2d(inner, width, 1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Transform a map."""
        return F.gelu(x + self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x))))))


class Merging(nn.Module):
    """A change of width, with or without halving the map.

    Args:
        width: Channels in.
        out: Channels out.
        stride: 1 or 2.
    """

    def __init__(self, width: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, out, 1)
        self.conv2 = nn.Conv2d(out, out, 3, stride=stride, padding=1, groups=out)
        self.conv3 = nn.Conv2d(out, out, 1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b e i j"]:
        """Transform a map ``(b, c, h, w)`` to ``(b, e, h / stride, w / stride)``."""
        projected: Tensor = self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x)))))
        return projected


class WindowAttention(nn.Module):
    """Attention among the places of a window, with a learned bias for each pair of places.

    Args:
        width: Feature width ``d``.
        heads: Divides ``width``.
        window: Places a window is high and wide.
    """

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.bias = nn.Parameter(torch.zeros(heads, window**2, window**2))

    def forward(self, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Let the tokens of each window look at each other."""
        q, k, v = rearrange(self.qkv(self.norm(tokens)), "b n (k three d) -> three b k n d", three=3, k=self.heads)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=self.bias)
        projected: Tensor = self.proj(rearrange(mixed, "b k n d -> b n (k d)"))
        return projected


class Perceptron(nn.Module):
    """A normalised layer of four times the width and back.

    Args:
        width: Feature width ``d``.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Float[Tensor, "... d"]) -> Float[Tensor, "... d"]:
        """Transform each token."""
        out: Tensor = self.fc2(F.gelu(self.fc1(self.norm(x))))
        return out


class WindowBlock(nn.Module):
    """Attention in windows, a filter over their borders, and a perceptron.

    Args:
        width: Channels.
        heads: Of the attention.
        window: Places a window is high and wide; the map is filled up with zeros to a multiple.
    """

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.attn, self.mlp = WindowAttention(width, heads, window), Perceptron(width)
        self.local_conv = nn.Conv2d(width, width, 3, padding=1, groups=width)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Transform a map."""
        (h, w), size = x.shape[-2:], self.window
        filled = F.pad(x, (0, -w % size, 0, -h % size))
        rows = filled.shape[-2] // size
        windows = rearrange(filled, "b c (i h) (j w) -> (b i j) (h w) c", h=size, w=size)
        seen = rearrange(
            self.attn(windows), "(b i j) (h w) c -> b c (i h) (j w)", b=len(x), i=rows, h=size, w=size
        )[..., :h, :w]  # fmt: skip
        x = self.local_conv(x + seen)
        change: Tensor = self.mlp(rearrange(x, "b c h w -> b h w c"))
        return x + rearrange(change, "b h w c -> b c h w")


class Stage(nn.Module):
    """Blocks of one width, and the step to the next.

    Args:
        index: Which of the four.
    """

    def __init__(self, index: int) -> None:
        super().__init__()
        width = WIDTHS[index]
        self.blocks = nn.Sequential(
            *(
                WindowBlock(width, HEADS[index], WINDOWS[index]) if index else Bottleneck(width)
                for _ in range(DEPTHS[index])
            )
        )
        last = index + 1 == len(WIDTHS)
        stride = STRIDES[index + 1] // STRIDES[index]
        self.downsample = nn.Identity() if last else Merging(width, WIDTHS[index + 1], stride)

    def forward(self, x: Float[Tensor, "b c h w"]) -> tuple[Tensor, Tensor]:
        """Return the map after the blocks, and as the next stage takes it."""
        x = self.blocks(x)
        return x, self.downsample(x)


class TinyViT(nn.Module):
    """MobileSAM's image encoder, read out after any of its four stages or as the map that SAM's decoder reads.

    A new instance has random weights. Batch norms are part of the convolutions, as the packaged weights have them, and
    the biases of attention are stored pair by pair.

    Source: Wu et al. 2022 (arXiv:2207.10666), distilled by Zhang et al. 2023 (arXiv:2306.14289).

    Attributes:
        mean: What to subtract from RGB in ``[0, 255]``.
        std: What to divide by then.
        depth: Four stages and the neck; ``layer`` counts them from one.
        default_layer: The neck: what was distilled.
    """

    mean = IMAGENET_MEAN
    std = IMAGENET_STD
    depth = len(STRIDES)
    default_layer = 5

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.ModuleList([nn.Conv2d(3, 32, 3, stride=2, padding=1), nn.Conv2d(32, 64, 3, stride=2, padding=1)])
        self.layers = nn.ModuleList(Stage(index) for index in range(len(WIDTHS)))
        self.neck = nn.Sequential(
            nn.Conv2d(WIDTHS[-1], EMBEDDING, 1, bias=False),
            MapNorm(EMBEDDING),
            nn.Conv2d(EMBEDDING, EMBEDDING, 3, padding=1, bias=False),
            MapNorm(EMBEDDING),
        )

    def width(self, layer: int) -> int:
        """Return the feature width ``d`` of readout ``layer``."""
        return (*WIDTHS, EMBEDDING)[layer - 1]

    @staticmethod
    def stride(layer: int) -> int:
        """Return how many pixels high and wide a cell of readout ``layer`` is."""
        return STRIDES[layer - 1]

    def forward(self, pixels: Float[Tensor, "b 3 h w"], *, layer: int = default_layer) -> Features:
        """Return the map after a stage, or the neck's, as patches, and its mean as ``cls``.

        Args:
            pixels: Normalised RGB ``(b, 3, h, w)``; ``h`` and ``w`` are multiples of 16.
            layer: The readout, in ``[1, 5]``; later stages are not computed.
        """
        seen = x = self.stem[1](F.gelu(self.stem[0](pixels)))
        for stage in self.layers[:layer]:
            seen, x = stage(x)
        if layer == self.depth:
            seen = self.neck(x)
        patches = rearrange(seen, "b d h w -> b (h w) d")
        return Features(patches.mean(dim=1), patches, (seen.shape[2], seen.shape[3]))
