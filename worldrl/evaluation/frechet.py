"""How far imagined frames and clips are, as a crowd, from real ones: the Frechet distance over our own encoder.

It is that of FID and FVD, but not over their networks: a value over one encoder can only be compared with values over
the same encoder, so that results name it "over <encoder> features".
"""

import numpy as np
import numpy.typing as npt
import torch
from einops import rearrange
from torch.nn.functional import interpolate

from worldrl.types import Array, FrozenEncoder

CLIP = 8
"""Frames of a clip."""

Floats = npt.NDArray[np.float64]


def frechet_distance(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Return the squared Frechet distance of two Gaussians fitted to features ``(n, d)`` and ``(m, d)``.

    ``|mu_1 - mu_2|^2 + tr(S_1 + S_2 - 2 (S_1 S_2)^{1/2})``, by eigenvalues of symmetric matrices, so that no root of a
    negative or complex number is taken. With no more samples than dimensions in either, both covariances are shrunk
    towards a multiple of the identity, by one share for both (the larger that Ledoit and Wolf estimate), so that equal
    crowds stay at distance zero. Even so it falls with the number of samples: compare values of equal ``n`` and ``m``.

    Raises:
        ValueError: If either has fewer than two rows or is not finite, or the two have different widths.

    Source: Heusel et al. 2017, section 3 (arXiv:1706.08500); Ledoit & Wolf 2004, A well-conditioned estimator for
    large-dimensional covariance matrices.
    """
    x, y = _check("first", first), _check("second", second)
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"second must be {x.shape[1]} wide, as first, got {y.shape[1]}: use one encoder for both.")
    apart = float(np.square(x.mean(axis=0) - y.mean(axis=0)).sum())
    x, y = (rows - rows.mean(axis=0) for rows in (x, y))
    d = x.shape[1]
    share = max(_shrinkage(x), _shrinkage(y)) if min(len(x), len(y)) <= d else 0.0
    round_x, round_y = (share * np.square(rows).sum() / (len(rows) - 1) / d for rows in (x, y))
    basis = _span(x, y)
    roots = [_root(_covariance(rows @ basis, share, floor)) for rows, floor in ((x, round_x), (y, round_y))]
    shared = np.linalg.svd(roots[0] @ roots[1], compute_uv=False).sum()
    spread = sum(np.square(root).sum() for root in roots) - 2 * shared
    outside = (d - basis.shape[1]) * (np.sqrt(round_x) - np.sqrt(round_y)) ** 2
    return max(0.0, apart + float(spread + outside))


def frame_features(encoder: FrozenEncoder, frames: npt.NDArray[np.uint8]) -> Array:
    """Return a feature vector of each frame ``(n, d)``: the mean over its patches.

    Frames ``(n, h, w, 3)`` uint8 are resized to the nearest multiple of the encoder's patch; bring both crowds to one
    size before, or the distance is that of their sharpness.
    """
    return np.asarray(encoder(_fit(frames, encoder.patch)).patches.mean(dim=1).cpu().numpy())


def clip_features(features: npt.ArrayLike, *, clip: int = CLIP) -> Array:
    """Return a vector of each clip of consecutive frames: their features, and the changes from one to the next.

    Args:
        features: Of the frames of one episode ``(t, d)``.
        clip: Frames of a clip; clips do not overlap, and what is left over at the end is dropped.

    Returns:
        ``(t // clip, (2 clip - 1) d)``; no rows where the episode is shorter than a clip.

    Raises:
        ValueError: If ``features`` are not ``(t, d)`` or ``clip`` is less than two.
    """
    array = np.asarray(features, np.float64)
    if array.ndim != 2:
        raise ValueError(f"features must be (t, d), got {array.shape}.")
    if clip < 2:
        raise ValueError(f"clip must be at least 2, got {clip}.")
    whole = rearrange(array[: len(array) // clip * clip], "(c f) d -> c f d", f=clip)
    return np.asarray(rearrange(np.concatenate([whole, np.diff(whole, axis=1)], axis=1), "c f d -> c (f d)"))


def _fit(frames: npt.NDArray[np.uint8], patch: int) -> npt.NDArray[np.uint8]:
    height, width = (max(1, round(side / patch)) * patch for side in frames.shape[1:3])
    if (height, width) == frames.shape[1:3]:
        return frames
    pixels = rearrange(torch.from_numpy(np.array(frames)), "n h w c -> n c h w").float()
    resized = interpolate(pixels, size=(height, width), mode="bilinear", antialias=True)
    return np.asarray(rearrange(resized.round().clamp(0, 255).byte(), "n c h w -> n h w c").numpy())


def _shrinkage(x: Floats) -> float:
    """Return how far to shrink the covariance of centred rows ``(n, d)``, in ``[0, 1]``; Ledoit & Wolf, section 3.3."""
    n, d = x.shape
    gram = x @ x.T  # the same Frobenius norm as the covariance, and smaller where d is large
    squares = np.diag(gram)
    size = np.square(gram).sum() / n**2
    away = size - (squares.sum() / n) ** 2 / d
    noise = (np.square(squares).sum() / n - size) / n
    return float(np.clip(noise / away, 0.0, 1.0)) if away > 0 else 1.0


def _span(x: Floats, y: Floats) -> Floats:
    """Return an orthonormal basis ``(d, r)`` of what the rows span; outside it shrunk covariances are round."""
    d = x.shape[1]
    return np.eye(d) if len(x) + len(y) >= d else np.linalg.qr(np.concatenate([x, y]).T)[0]


def _covariance(x: Floats, share: float, floor: float) -> Floats:
    covariance = x.T @ x / (len(x) - 1)
    shrunk: Floats = (1 - share) * covariance + floor * np.eye(len(covariance))
    return shrunk


def _root(covariance: Floats) -> Floats:
    """Return the symmetric root; rounding makes eigenvalues slightly negative, which are zero."""
    values, vectors = np.linalg.eigh(covariance)
    root: Floats = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    return root


def _check(name: str, features: npt.ArrayLike) -> Floats:
    array = np.asarray(features, np.float64)
    if array.ndim != 2 or len(array) < 2:
        raise ValueError(f"{name} must be (n, d) with at least 2 rows, got {array.shape}.")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, got {int((~np.isfinite(array)).sum())} numbers that are not.")
    return array
