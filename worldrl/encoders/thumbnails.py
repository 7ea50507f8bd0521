"""Frames, shrunk to the size that small networks read and draw."""

import numpy as np
import numpy.typing as npt
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

SIZE = 64
"""Pixels a frame is high and wide then."""


def shrink(frames: npt.NDArray[np.uint8], size: int = SIZE) -> Float[Tensor, "b 3 h w"]:
    """Return frames ``(b, h, w, 3)`` uint8 as floats in ``[0, 1]`` at another size, averaged over areas."""
    writable = np.array(frames)  # recorded frames are mapped read-only, which torch warns of
    pixels = rearrange(torch.from_numpy(writable), "b h w c -> b c h w").float() / 255
    return interpolate(pixels, size=(size, size), mode="area")


def to_frames(pixels: Float[Tensor, "b 3 h w"]) -> npt.NDArray[np.uint8]:
    """Return pixels in ``[0, 1]``, cut to it, as frames ``(b, h, w, 3)`` uint8."""
    grey = (pixels.clamp(0.0, 1.0) * 255).round().byte()
    return np.asarray(rearrange(grey, "b c h w -> b h w c").cpu().numpy())
