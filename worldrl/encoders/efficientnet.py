"""EfficientNet-Lite0: a small, fast convolutional encoder and ImageNet classifier."""

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from worldrl.types import Features

NORM_EPS = 1e-3
STEM_WIDTH, HEAD_WIDTH, CLASSES = 32, 1280, 1000
# repeats, kernel, stride of the first, expansion, width: Tan & Le 2019, table 1 (arXiv:1905.11946), as Lite keeps it
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
# The last block and its width before the map halves again; entry ``i`` has stride ``2 ** (i + 1)``.
READOUTS = ((0, 16), (2, 24), (4, 40), (10, 112), (15, 320))


class SameConv(nn.Conv2d):
    """A convolution without bias that pads as TensorFlow's ``SAME`` does: the odd pixel goes right and below.

    Args:
        width: Channels in.
        out: Channels out.
        kernel: Kernel size, odd.
        stride: 1 or 2; at 2 the input must be even.
        groups: Groups of channels.
    """

    def __init__(self, width: int, out: int, kernel: int, *, stride: int = 1, groups: int = 1) -> None:
        padding = kernel // 2 if stride == 1 else 0
        super().__init__(width, out, kernel, stride=stride, padding=padding, groups=groups, bias=False)
        before = (kernel - 2) // 2
        self.margins = (before, kernel - 2 - before) * 2 if stride == 2 else None
        nn.init.kaiming_normal_(self.weight)

    def forward(self, input: Float[Tensor, "b c h w"]) -> Float[Tensor, "b e i j"]:
        """Convolve ``(b, c, h, w)`` to ``(b, e, h / stride, w / stride)``."""
        return super().forward(F.pad(input, self.margins) if self.margins else input)


class InvertedBottleneck(nn.Module):
    """Expand, filter each channel, project; with a shortcut where the shape stays.

    Source: Sandler et al. 2018, section 3.3 (arXiv:1801.04381).

    Args:
        width: Channels in.
        out: Channels out.
        kernel: Size of the depthwise kernel.
        stride: Stride of the depthwise convolution.
        expand: How many times wider the inside is.
    """

    def __init__(self, *, width: int, out: int, kernel: int, stride: int, expand: int) -> None:
        super().__init__()
        inner = width * expand
        self.expands, self.is_residual = expand > 1, stride == 1 and width == out
        if self.expands:
            self.expand_conv = SameConv(width, inner, 1)
            self.bn0 = nn.BatchNorm2d(inner, eps=NORM_EPS)
        self.depthwise_conv = SameConv(inner, inner, kernel, stride=stride, groups=inner)
        self.bn1 = nn.BatchNorm2d(inner, eps=NORM_EPS)
        self.project_conv = SameConv(inner, out, 1)
        self.bn2 = nn.BatchNorm2d(out, eps=NORM_EPS)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b e i j"]:
        """Transform a map ``(b, c, h, w)``."""
        inner = F.relu6(self.bn0(self.expand_conv(x))) if self.expands else x
        inner = F.relu6(self.bn1(self.depthwise_conv(inner)))
        projected: Tensor = self.bn2(self.project_conv(inner))
        return x + projected if self.is_residual else projected


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0 without squeeze-and-excitation and with ReLU6, read out at any of its five strides.

    A new instance has random weights.

    Source: Tan & Le 2019 (arXiv:1905.11946); the Lite variant is Google's of 2020.

    Attributes:
        mean: What to subtract from RGB in ``[0, 255]``.
        std: What to divide by then.
        depth: The number of readouts; ``layer`` counts them from one, and layer ``i`` has stride ``2 ** i``.
        default_layer: The map of stride 16.
    """

    mean = (127.0, 127.0, 127.0)
    std = (128.0, 128.0, 128.0)
    depth = len(READOUTS)
    default_layer = 4

    def __init__(self) -> None:
        super().__init__()
        self.conv_stem = SameConv(3, STEM_WIDTH, 3, stride=2)
        self.bn0 = nn.BatchNorm2d(STEM_WIDTH, eps=NORM_EPS)
        self.blocks = nn.ModuleList()
        width = STEM_WIDTH
        for repeats, kernel, stride, expand, out in STAGES:
            for i in range(repeats):
                step = stride if i == 0 else 1
                self.blocks.append(InvertedBottleneck(width=width, out=out, kernel=kernel, stride=step, expand=expand))
                width = out
        self.conv_head = SameConv(width, HEAD_WIDTH, 1)
        self.bn1 = nn.BatchNorm2d(HEAD_WIDTH, eps=NORM_EPS)
        self.fc = nn.Linear(HEAD_WIDTH, CLASSES)

    def width(self, layer: int) -> int:
        """Return the feature width ``d`` of readout ``layer``."""
        return READOUTS[layer - 1][1]

    @staticmethod
    def stride(layer: int) -> int:
        """Return how many pixels high and wide a cell of readout ``layer`` is."""
        return int(2**layer)

    def forward(self, pixels: Float[Tensor, "b 3 h w"], *, layer: int = default_layer) -> Features:
        """Return the map at stride ``2 ** layer`` as patches, and its mean as ``cls``; later blocks are not computed.

        Args:
            pixels: Normalised RGB ``(b, 3, h, w)``; ``h`` and ``w`` are multiples of the stride.
            layer: The readout, in ``[1, 5]``.
        """
        x = self._map(pixels, layer)
        patches = rearrange(x, "b d h w -> b (h w) d")
        return Features(patches.mean(dim=1), patches, (x.shape[2], x.shape[3]))

    def logits(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b classes"]:
        """Return the logits ``(b, 1000)`` of the ImageNet classes; ``h`` and ``w`` are multiples of 32."""
        x = F.relu6(self.bn1(self.conv_head(self._map(pixels, self.depth))))
        logits: Tensor = self.fc(x.mean(dim=(2, 3)))
        return logits

    def _map(self, pixels: Float[Tensor, "b 3 h w"], layer: int) -> Float[Tensor, "b c i j"]:
        x = F.relu6(self.bn0(self.conv_stem(pixels)))
        for block in self.blocks[: READOUTS[layer - 1][0] + 1]:
            x = block(x)
        return x
