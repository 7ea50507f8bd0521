"""Numbers of unknown size as a distribution over fixed places: what reward and value heads of world models predict."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import log_softmax

BINS = 255
"""Places a number is spread over."""
LIMIT = 20.0
"""The outermost places are ``symexp(20)`` on either side."""


def symlog(x: Tensor) -> Tensor:
    """Return ``sign(x) log(1 + |x|)``: large numbers are tamed (DreamerV3, arXiv 2301.04104, eq. 9)."""
    return x.sign() * x.abs().log1p()


def symexp(x: Tensor) -> Tensor:
    """Undo ``symlog``."""
    return x.sign() * x.abs().expm1()


def decode(logits: Float[Tensor, "... bins"]) -> Float[Tensor, "..."]:
    """Return the number that a distribution over the places means."""
    bins = logits.shape[-1]
    places = torch.linspace(-LIMIT, LIMIT, bins, device=logits.device)
    return symexp((logits.softmax(dim=-1) * places).sum(dim=-1))


def encode(x: Float[Tensor, "..."], bins: int = BINS) -> Float[Tensor, "... bins"]:
    """Return the distribution over ``bins`` places that means ``x``: its two nearest share it, the nearer has more."""
    at = ((symlog(x).clamp(-LIMIT, LIMIT) + LIMIT) * ((bins - 1) / (2 * LIMIT))).unsqueeze(-1)
    return (1.0 - (at - torch.arange(bins, device=x.device)).abs()).clamp_min(0.0)


def two_hot_loss(logits: Float[Tensor, "... bins"], x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Return the cross-entropy of a predicted distribution against the number that was found."""
    return -(encode(x, logits.shape[-1]) * log_softmax(logits, dim=-1)).sum(dim=-1)
