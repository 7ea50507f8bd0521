"""How alike real and imagined pictures are, frame by frame."""

import numpy as np
import numpy.typing as npt
import torch
from einops import rearrange
from torch import Tensor
from torch.nn.functional import conv2d

from worldrl.types import Array

WINDOW, SIGMA = 11, 1.5
"""Pixels of the Gaussian window of SSIM, and its standard deviation in pixels."""
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
"""What keeps SSIM finite where pictures are dark or flat, in grey levels squared."""
CHUNK = 256
"""Frames that SSIM holds as float64 at once."""


def psnr(real: npt.NDArray[np.uint8], imagined: npt.NDArray[np.uint8]) -> Array:
    """Return the peak signal-to-noise ratio of each frame ``(...)`` in decibels; infinite where nothing differs.

    Args:
        real: ``(..., h, w, 3)`` uint8, for instance ``(b, t, h, w, 3)``.
        imagined: The same.

    Raises:
        ValueError: If the two are not pictures of one shape.
    """
    return decibels(squared_error(real, imagined))


def squared_error(real: npt.NDArray[np.uint8], imagined: npt.NDArray[np.uint8]) -> Array:
    """Return the mean squared error of each frame ``(...)`` in grey levels squared.

    Raises:
        ValueError: If the two are not pictures of one shape.
    """
    check_pictures(real, imagined)
    difference = real.astype(np.float32) - imagined.astype(np.float32)
    return np.asarray(np.square(difference, dtype=np.float64).mean(axis=(-3, -2, -1)))


def decibels(error: Array) -> Array:
    """Return squared errors in grey levels squared as peak signal-to-noise ratios.

    A mean over frames is best taken of the errors, before this: one identical frame makes the mean ratio infinite.
    """
    with np.errstate(divide="ignore"):
        return np.asarray(10 * np.log10(255.0**2 / np.asarray(error, np.float64)))


def ssim(real: npt.NDArray[np.uint8], imagined: npt.NDArray[np.uint8]) -> Array:
    """Return the structural similarity of each frame ``(...)``, in ``[-1, 1]``; 1 where nothing differs.

    Local means, variances and covariance under a Gaussian window; the mean is over the windows that lie wholly inside
    the frame, and over the three colours.

    Args:
        real: ``(..., h, w, 3)`` uint8, at least 11 pixels high and wide.
        imagined: The same.

    Raises:
        ValueError: If the two are not pictures of one shape, or smaller than the window.

    Source: Wang et al. 2004, Image quality assessment: from error visibility to structural similarity, section III.
    """
    check_pictures(real, imagined)
    if min(real.shape[-3:-1]) < WINDOW:
        raise ValueError(f"frames must be at least {WINDOW} pixels high and wide for SSIM, got {real.shape}.")
    rows = [frames.reshape(-1, *real.shape[-3:]) for frames in (real, imagined)]
    parts = [_ssim(rows[0][i : i + CHUNK], rows[1][i : i + CHUNK]) for i in range(0, len(rows[0]), CHUNK)]
    return np.concatenate([np.empty(0), *parts]).reshape(real.shape[:-3])


def check_pictures(real: npt.NDArray[np.uint8], imagined: npt.NDArray[np.uint8]) -> None:
    """Refuse what are not pictures of one shape.

    Raises:
        ValueError: If they are not ``(..., h, w, 3)`` uint8, both of one shape.
    """
    for name, frames in (("real", real), ("imagined", imagined)):
        if frames.dtype != np.uint8 or frames.ndim < 3 or frames.shape[-1] != 3:
            raise ValueError(f"{name} must be (..., h, w, 3) uint8, got {frames.shape} {frames.dtype}.")
    if real.shape != imagined.shape:
        raise ValueError(f"imagined must be {real.shape}, as real, got {imagined.shape}: bring them to one size.")


def _ssim(real: npt.NDArray[np.uint8], imagined: npt.NDArray[np.uint8]) -> Array:
    """Return ``(n,)`` for frames ``(n, h, w, 3)``; ``x`` and ``y`` in the paper's letters."""
    x, y = _planes(real), _planes(imagined)
    mu_x, mu_y, xx, yy, xy = (_smooth(plane) for plane in (x, y, x * x, y * y, x * y))
    luminance = (2 * mu_x * mu_y + C1) / (mu_x**2 + mu_y**2 + C1)
    var_x, var_y, cov = xx - mu_x**2, yy - mu_y**2, xy - mu_x * mu_y
    structure = (2 * cov + C2) / (var_x + var_y + C2)
    each = rearrange(luminance * structure, "(n c) 1 h w -> n (c h w)", c=3).mean(dim=1)
    return np.asarray(each.numpy())


def _planes(frames: npt.NDArray[np.uint8]) -> Tensor:
    writable = np.array(frames)  # recorded frames are mapped read-only, which torch warns of
    return rearrange(torch.from_numpy(writable), "n h w c -> (n c) 1 h w").double()


def _smooth(planes: Tensor) -> Tensor:
    """Weigh each window by a Gaussian, one axis after the other."""
    offset = torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2
    line = torch.exp(-(offset**2) / (2 * SIGMA**2))
    line = line / line.sum()
    return conv2d(conv2d(planes, line[None, None, :, None]), line[None, None, None, :])
