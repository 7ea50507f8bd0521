"""Action codes: how an action reaches the world model."""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

BINS = 21
"""Bins an action dimension, as World4RL reports (arXiv 2509.19080, action encoding)."""


def two_hot(acts: Float[Tensor, "... a"], bins: int = BINS) -> Float[Tensor, "... c"]:
    """Spread every action dimension over its two nearest of ``bins`` equally spaced places in ``[-1, 1]``.

    The weights sum to one a dimension and decode exactly, unlike a one-hot of the same size. Actions are clipped first.

    Args:
        acts: Actions in ``[-1, 1]``.
        bins: Places a dimension; the code has ``a * bins`` numbers.

    Raises:
        ValueError: If ``bins`` is less than two.

    Source: World4RL, arXiv 2509.19080; the range ``[-1, 1]`` is our reading.
    """
    if bins < 2:
        raise ValueError(f"bins must be at least 2, got {bins}.")
    place = (acts.clamp(-1.0, 1.0) + 1.0) * ((bins - 1) / 2)
    centres = torch.arange(bins, device=acts.device, dtype=acts.dtype)
    weights = (1.0 - (rearrange(place, "... a -> ... a 1") - centres).abs()).clamp_min(0.0)
    return rearrange(weights, "... a c -> ... (a c)")


def decode_two_hot(code: Float[Tensor, "... c"], bins: int = BINS) -> Float[Tensor, "... a"]:
    """Return the actions that ``two_hot`` coded."""
    centres = torch.linspace(-1.0, 1.0, bins, device=code.device, dtype=code.dtype)
    return rearrange(code, "... (a c) -> ... a c", c=bins) @ centres
