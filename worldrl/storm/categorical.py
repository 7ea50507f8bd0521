"""Latents made of categorical variables: how they are drawn, and how far two distributions of them are apart."""

import torch
from einops import rearrange, reduce
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import one_hot

UNIFORM = 0.01
"""Share of the uniform distribution that is mixed in, so that no class is ever impossible."""


def mix(logits: Float[Tensor, "... g c"]) -> Float[Tensor, "... g c"]:
    """Return log-probabilities of the classes with a hundredth of the uniform distribution mixed in."""
    return ((1.0 - UNIFORM) * logits.softmax(dim=-1) + UNIFORM / logits.shape[-1]).log()


def draw(log_probs: Float[Tensor, "... g c"], chance: Float[Tensor, "... g"]) -> Float[Tensor, "... g c"]:
    """Draw one class of every variable, as one-hot vectors.

    The class is where the distribution function passes ``chance``, so that a draw is a function of its arguments. The
    gradient goes straight through to the probabilities.

    Args:
        log_probs: Of the classes.
        chance: Uniform in ``[0, 1)``.
    """
    probs = log_probs.exp()
    passed = probs.detach().cumsum(dim=-1) < chance.unsqueeze(-1)
    hard = one_hot(passed.sum(dim=-1).clamp_max(probs.shape[-1] - 1), probs.shape[-1]).to(probs)
    return hard + probs - probs.detach()


def best(log_probs: Float[Tensor, "... g c"]) -> Float[Tensor, "... g c"]:
    """Return the likeliest class of every variable, as one-hot vectors."""
    return one_hot(log_probs.argmax(dim=-1), log_probs.shape[-1]).to(log_probs)


def divergence(p: Float[Tensor, "... g c"], q: Float[Tensor, "... g c"]) -> Float[Tensor, "..."]:
    """Return the Kullback-Leibler divergence of log-probabilities ``p`` from ``q``, summed over the variables."""
    return reduce(p.exp() * (p - q), "... g c -> ...", "sum")


def flat(latents: Float[Tensor, "... g c"]) -> Float[Tensor, "... n"]:
    """Return latents as one vector."""
    return rearrange(latents, "... g c -> ... (g c)")


def uniform(like: Float[Tensor, "... g c"], rng: torch.Generator | None) -> Float[Tensor, "... g"]:
    """Return the chance that one draw from ``like`` needs."""
    return torch.rand(like.shape[:-1], generator=rng, device=like.device)
