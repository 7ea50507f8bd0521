"""Action codes: how an action reaches the world model."""

from collections.abc import Callable
from typing import Protocol

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from worldrl.diffusion.codebook import Codebook
from worldrl.errors import ConfigError

BINS = 21
"""Bins an action dimension, as World4RL reports (arXiv 2509.19080, action encoding)."""


class ActionCode(Protocol):
    """The form in which an action reaches the world model.

    World4RL (arXiv 2509.19080, table IV) compares such forms: two-hot best, VQ worst, one-hot and a linear projection
    in between. Actions are clipped to ``[-1, 1]`` first. Every code but ``two_hot`` differs from the others in its
    tensors or in the width of the network after it, so that weights made for one code cannot be loaded for another.

    Attributes:
        name: Its name in ``ACTION_CODES``.
        dim: Numbers ``c`` of the code of one step.
    """

    name: str
    dim: int

    def __call__(self, acts: Float[Tensor, "... a"]) -> Float[Tensor, "... c"]:
        """Code actions in ``[-1, 1]``."""
        ...

    def decode(self, codes: Float[Tensor, "... c"]) -> Float[Tensor, "... a"]:
        """Return the actions that codes mean: all that the world model can know of them."""
        ...

    def fit(self, acts: Float[Tensor, "n a"], *, seed: int = 0) -> None:
        """Fit the code to recorded actions, where it is one that is fitted."""
        ...


class TwoHot(nn.Module):
    """Every dimension spread over its two nearest of 21 places, ``a * bins`` numbers; see ``two_hot``.

    Args:
        act_dim: Action dimensions ``a``.
        bins: Places a dimension.
    """

    name = "two_hot"

    def __init__(self, act_dim: int, *, bins: int = BINS) -> None:
        super().__init__()
        self.bins, self.dim = bins, act_dim * bins

    def forward(self, acts: Float[Tensor, "... a"]) -> Float[Tensor, "... c"]:
        """Code actions; differentiable."""
        return two_hot(acts, self.bins)

    def decode(self, codes: Float[Tensor, "... c"]) -> Float[Tensor, "... a"]:
        """Return the actions exactly."""
        return decode_two_hot(codes, self.bins)

    def fit(self, acts: Tensor, *, seed: int = 0) -> None:
        """Do nothing: the places are fixed."""


class OneHot(nn.Module):
    """Every dimension as the nearest of 21 places, ``a * bins`` numbers; half a bin, 0.05, may be lost.

    The places are a tensor of the model, so that its weights are not taken for those of the equally wide ``two_hot``.

    Args:
        act_dim: Action dimensions ``a``.
        bins: Places a dimension, at least two.

    Source: World4RL, arXiv 2509.19080; the number and range of its bins are those of ``two_hot`` by our choice.
    """

    name = "one_hot"
    places: Tensor

    def __init__(self, act_dim: int, *, bins: int = BINS) -> None:
        super().__init__()
        self.dim = act_dim * bins
        self.register_buffer("places", torch.linspace(-1.0, 1.0, bins))

    def forward(self, acts: Float[Tensor, "... a"]) -> Float[Tensor, "... c"]:
        """Code actions; no gradient passes."""
        away = (rearrange(acts.clamp(-1.0, 1.0), "... a -> ... a 1") - self.places).abs()
        hot = nn.functional.one_hot(away.argmin(dim=-1), len(self.places))
        return rearrange(hot.to(acts.dtype), "... a c -> ... (a c)")

    def decode(self, codes: Float[Tensor, "... c"]) -> Float[Tensor, "... a"]:
        """Return the places."""
        return rearrange(codes, "... (a c) -> ... a c", c=len(self.places)) @ self.places.to(codes.dtype)

    def fit(self, acts: Tensor, *, seed: int = 0) -> None:
        """Do nothing: the places are fixed."""


class Linear(nn.Module):
    """The action as it is, ``a`` numbers: the projection is the first linear layer of the network that reads it.

    Args:
        act_dim: Action dimensions ``a``.

    Source: World4RL, arXiv 2509.19080, names a linear projection; that it needs no layer of its own is our reading.
    """

    name = "linear"

    def __init__(self, act_dim: int) -> None:
        super().__init__()
        self.dim = act_dim

    def forward(self, acts: Float[Tensor, "... a"]) -> Float[Tensor, "... c"]:
        """Clip actions; differentiable."""
        return acts.clamp(-1.0, 1.0)

    def decode(self, codes: Float[Tensor, "... c"]) -> Float[Tensor, "... a"]:
        """Return the actions exactly."""
        return codes

    def fit(self, acts: Tensor, *, seed: int = 0) -> None:
        """Do nothing."""


ACTION_CODES: dict[str, Callable[[int], ActionCode]] = {
    "two_hot": TwoHot,
    "one_hot": OneHot,
    "linear": Linear,
    "vq": Codebook,
}
"""Action codes by name, each made from the number of action dimensions."""


def make_code(name: str, act_dim: int) -> ActionCode:
    """Make an action code by name.

    Raises:
        ConfigError: If there is none of that name.
    """
    if name not in ACTION_CODES:
        raise ConfigError(f"action_code must be one of {', '.join(ACTION_CODES)}, got '{name}'.")
    return ACTION_CODES[name](act_dim)


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
