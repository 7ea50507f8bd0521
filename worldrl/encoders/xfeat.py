"""XFeat: small convolutional descriptors that the same point keeps from frame to frame."""

from dataclasses import dataclass

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from worldrl.types import Features

STRIDE, WIDTH = 8, 64
STAGES = (
    ((4, 1, 3), (8, 2, 3), (8, 1, 3), (24, 2, 3)),
    ((24, 1, 3), (24, 1, 3)),
    ((64, 2, 3), (64, 1, 3), (64, 1, 1)),
    ((64, 2, 3), (64, 1, 3), (64, 1, 3)),
    ((128, 2, 3), (128, 1, 3), (128, 1, 3), (64, 1, 1)),
)
"""Channels out, stride and kernel of the layers of each block."""


@dataclass(frozen=True)
class Points:
    """Where a frame has points that can be found again.

    Attributes:
        chance: ``(b, h, w)``, in ``[0, 1]``: how likely each pixel is such a point, within its cell of 8 pixels.
        reliability: ``(b, i, j)``, in ``[0, 1]``: how far the descriptor of each cell can be relied upon.
    """

    chance: Float[Tensor, "b h w"]
    reliability: Float[Tensor, "b i j"]


class Layer(nn.Module):
    """Convolution, batch norm without weights, ReLU.

    Args:
        width: Channels in.
        out: Channels out.
        stride: Of the convolution.
        kernel: 1 or 3.
    """

    def __init__(self, width: int, out: int, stride: int = 1, kernel: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, out, kernel, stride=stride, padding=kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(out, affine=False)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b e i j"]:
        """Transform a map."""
        return F.relu(self.norm(self.conv(x)))


class XFeat(nn.Module):
    """XFeat's descriptors, read out at one layer; its heads say where points are.

    A new instance has random weights. The matcher that refines pairs of points is left out.

    Source: Potje et al. 2024 (arXiv:2404.19174), section 3.

    Attributes:
        mean: What to subtract from RGB in ``[0, 255]``.
        std: What to divide by then; the frame is made grey and of unit contrast besides.
        depth: One layer.
        default_layer: That one.
    """

    mean = (0.0, 0.0, 0.0)
    std = (255.0, 255.0, 255.0)
    depth = 1
    default_layer = 1

    def __init__(self) -> None:
        super().__init__()
        self.contrast = nn.InstanceNorm2d(1)
        self.skip = nn.Conv2d(1, 24, 1)
        self.block1, self.block2, self.block3, self.block4, self.block5 = _stacks()
        self.block_fusion = nn.Sequential(
            Layer(WIDTH, WIDTH, kernel=3), Layer(WIDTH, WIDTH, kernel=3), nn.Conv2d(WIDTH, WIDTH, 1)
        )
        self.heatmap_head = nn.Sequential(*(Layer(WIDTH, WIDTH) for _ in range(2)), nn.Conv2d(WIDTH, 1, 1))
        self.keypoint_head = nn.Sequential(*(Layer(WIDTH, WIDTH) for _ in range(3)), nn.Conv2d(WIDTH, STRIDE**2 + 1, 1))

    def width(self, layer: int) -> int:
        """Return the width of a descriptor."""
        return WIDTH

    @staticmethod
    def stride(layer: int) -> int:
        """Return how many pixels high and wide a cell is."""
        return STRIDE

    def forward(self, pixels: Float[Tensor, "b 3 h w"], *, layer: int = default_layer) -> Features:
        """Return a descriptor for each cell of 8 pixels as patches, and their mean as ``cls``.

        Args:
            pixels: RGB ``(b, 3, h, w)`` in ``[0, 1]``; ``h`` and ``w`` are multiples of 8.
            layer: 1.
        """
        x = self._describe(self._grey(pixels))
        patches = rearrange(x, "b d i j -> b (i j) d")
        return Features(patches.mean(dim=1), patches, (x.shape[2], x.shape[3]))

    def points(self, pixels: Float[Tensor, "b 3 h w"]) -> Points:
        """Return where the points of a frame are that can be found again."""
        grey = self._grey(pixels)
        reliability = self.heatmap_head(self._describe(grey)).sigmoid()
        chance = self.keypoint_head(F.pixel_unshuffle(grey, STRIDE)).softmax(dim=1)[:, :-1]  # the last says: none here
        return Points(F.pixel_shuffle(chance, STRIDE)[:, 0], reliability[:, 0])

    def _grey(self, pixels: Tensor) -> Tensor:
        grey: Tensor = self.contrast(pixels.mean(dim=1, keepdim=True))
        return grey

    def _describe(self, grey: Tensor) -> Tensor:
        quarter = self.block2(self.block1(grey) + self.skip(F.avg_pool2d(grey, 4)))
        eighth = self.block3(quarter)
        half = self.block4(eighth)
        parts = (F.interpolate(x, eighth.shape[-2:], mode="bilinear") for x in (half, self.block5(half)))
        described: Tensor = self.block_fusion(eighth + sum(parts))
        return described


def _stacks() -> list[nn.Sequential]:
    """Return the blocks; each goes on where the one before it ended."""
    width, stacks = 1, []
    for layers in STAGES:
        stack = nn.Sequential()
        for out, stride, kernel in layers:
            stack.append(Layer(width, out, stride, kernel))
            width = out
        stacks.append(stack)
    return stacks
