"""How alike two pictures look: ST-LPIPS, the shift-tolerant learned perceptual metric."""

import numpy as np
import numpy.typing as npt
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from worldrl.checkpoint import load_state
from worldrl.encoders.registry import describe
from worldrl.encoders.weights import converted_folder, find_packaged, load_weights
from worldrl.evaluation.pictures import check_pictures
from worldrl.types import Array

NAME = "stlpips"
"""Its name among the weights: ``worldrl encoders install stlpips``."""
SMALLEST = 64
"""Pixels a side that the metric was trained on; smaller pictures are enlarged to it (our choice)."""
CHUNK = 32
BINOMIAL = (0.25, 0.5, 0.25)


class ShiftTolerantLpips(nn.Module):
    """Distance between pictures: weighted squared differences of normalised AlexNet features at five depths.

    Where AlexNet strides, this filters and then halves, with a wide reflected margin, so that a shift of one pixel
    hardly counts. A new instance has random weights. It is calibrated to human judgement of pairs of pictures; report
    it as ST-LPIPS, since LPIPS has other weights and other values.

    Source: Ghildyal & Liu 2022, Shift-tolerant perceptual similarity metric (arXiv:2207.13686), AlexNet variant; the
    metric itself is of Zhang et al. 2018 (arXiv:1801.03924), the blurred halving of Zhang 2019 (arXiv:1904.11486).
    """

    mean = (-0.030, -0.088, -0.188)
    """What to subtract from RGB in ``[-1, 1]``."""
    std = (0.458, 0.448, 0.450)
    """What to divide by then."""
    shift: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            [
                nn.Conv2d(3, 64, 11, padding=2),
                nn.Conv2d(64, 192, 5, padding=2),
                nn.Conv2d(192, 384, 3, padding=1),
                nn.Conv2d(384, 256, 3, padding=1),
                nn.Conv2d(256, 256, 3, padding=1),
            ]
        )
        self.lins = nn.ModuleList([nn.Conv2d(width, 1, 1, bias=False) for width in (64, 192, 384, 256, 256)])
        for weight in self.lins.parameters():
            nn.init.uniform_(weight)  # a negative weight would make a negative distance
        self.register_buffer("shift", rearrange(torch.tensor(self.mean), "c -> c 1 1"), persistent=False)
        self.register_buffer("scale", rearrange(torch.tensor(self.std), "c -> c 1 1"), persistent=False)

    def forward(self, x: Float[Tensor, "b 3 h w"], y: Float[Tensor, "b 3 h w"]) -> Float[Tensor, " b"]:
        """Return the distance of each pair of pictures in ``[-1, 1]``, 64 pixels a side or more."""
        total = torch.zeros(len(x), device=x.device)
        for lin, of_x, of_y in zip(self.lins, self._features(x), self._features(y), strict=True):
            total = total + lin((_unit(of_x) - _unit(of_y)).square()).mean(dim=(1, 2, 3))
        return total

    @torch.no_grad()
    def distance(self, real: npt.NDArray[np.uint8], imagined: npt.NDArray[np.uint8]) -> Array:
        """Return the distance of each frame ``(...)``: 0 where nothing differs, about 0.7 under heavy noise.

        Args:
            real: ``(..., h, w, 3)`` uint8.
            imagined: The same.

        Raises:
            ValueError: If the two are not pictures of one shape.
        """
        check_pictures(real, imagined)
        rows = [frames.reshape(-1, *real.shape[-3:]) for frames in (real, imagined)]
        parts = [
            self(*(_pixels(frames[i : i + CHUNK], self.shift.device) for frames in rows)).cpu().numpy()
            for i in range(0, len(rows[0]), CHUNK)
        ]
        return np.concatenate([np.empty(0), *parts]).reshape(real.shape[:-3])

    def _features(self, x: Tensor) -> list[Tensor]:
        """Return the maps after each of the five convolutions, shallow to deep."""
        first, second, third, fourth, fifth = self.convs
        maps = [F.relu(_halve(first((x - self.shift) / self.scale)))]
        for conv in (second, third):
            maps.append(F.relu(conv(_halve(F.max_pool2d(maps[-1], 3, stride=1)))))
        for conv in (fourth, fifth):
            maps.append(F.relu(conv(maps[-1])))
        return maps


def load_stlpips() -> ShiftTolerantLpips:
    """Load the metric with its pretrained weights, frozen.

    On a photo of 128 pixels: shifted by a pixel 0.005; noise of 10 and 40 grey levels 0.15 and 0.75; blurred by 2 and 5
    pixels 0.53 and 0.87. Those are the values that the weights have in their own package.

    Raises:
        CheckpointError: If the weights are missing, damaged or not the pinned ones.
    """
    metric = ShiftTolerantLpips()
    load_state(metric, load_weights(NAME), path=converted_folder(NAME))
    return metric.requires_grad_(False).eval()


def is_installed() -> bool:
    """Return whether its weights are on this machine."""
    return converted_folder(NAME).is_dir() or find_packaged(describe(NAME)) is not None


def _halve(x: Tensor) -> Tensor:
    """Filter with a 3x3 binomial and keep every second pixel; the margin of two is a reflection."""
    line = torch.tensor(BINOMIAL, device=x.device)
    kernel = torch.outer(line, line).expand(x.shape[1], 1, 3, 3)
    return F.conv2d(F.pad(x, (2, 2, 2, 2), mode="reflect"), kernel, stride=2, groups=x.shape[1])


def _unit(maps: Tensor) -> Tensor:
    """Give the features at each place length one."""
    return maps / (maps.square().sum(dim=1, keepdim=True).sqrt() + 1e-10)


def _pixels(frames: npt.NDArray[np.uint8], device: torch.device) -> Tensor:
    """Return frames ``(b, h, w, 3)`` as pixels ``(b, 3, h, w)`` in ``[-1, 1]``, enlarged if they are too small."""
    pixels = rearrange(torch.from_numpy(np.array(frames)), "b h w c -> b c h w").to(device).float() / 127.5 - 1
    size = [max(side, SMALLEST) for side in pixels.shape[-2:]]
    return pixels if size == list(pixels.shape[-2:]) else F.interpolate(pixels, size=size, mode="bilinear")
