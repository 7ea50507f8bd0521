"""Actions as the nearest entry of a codebook."""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from worldrl.clusters import kmeans

ENTRIES = 64
"""Entries of the codebook (our choice)."""
MOST = 20_000
"""Recorded actions that k-means looks at; more are drawn from at random (our choice)."""


class Codebook(nn.Module):
    """An action as the one-hot of the nearest of 64 recorded ones, all dimensions together: vector quantisation.

    The one-hot and not the entry itself is the code: the first linear layer of the network then learns an embedding for
    each entry. The entries are k-means centres of recorded actions, found once by ``fit`` and fixed from then on; they
    lie in a buffer, so they are saved, hashed and frozen with the world model. Before that, all actions look alike.

    World4RL (arXiv 2509.19080) compares a VQ-VAE and, as far as we know, does not publish its details: k-means instead
    of an encoder, the number of entries and the one-hot are our choice.

    Args:
        act_dim: Action dimensions ``a``.
        entries: Entries ``c``.

    Raises:
        ValueError: If ``entries`` is less than one.
    """

    name = "vq"
    entries: Tensor

    def __init__(self, act_dim: int, *, entries: int = ENTRIES) -> None:
        if entries < 1:
            raise ValueError(f"entries must be at least 1, got {entries}.")
        super().__init__()
        self.dim = entries
        self.register_buffer("entries", torch.zeros(entries, act_dim))

    def forward(self, acts: Float[Tensor, "... a"]) -> Float[Tensor, "... c"]:
        """Code actions; no gradient passes."""
        away = rearrange(acts.clamp(-1.0, 1.0), "... a -> ... 1 a") - self.entries
        return nn.functional.one_hot(away.square().sum(dim=-1).argmin(dim=-1), self.dim).to(acts.dtype)

    def decode(self, codes: Float[Tensor, "... c"]) -> Float[Tensor, "... a"]:
        """Return the entries."""
        return codes @ self.entries.to(codes.dtype)

    def fit(self, acts: Float[Tensor, "n a"], *, seed: int = 0) -> None:
        """Find the entries, unless they were found before: the network has learnt what each of them means.

        Args:
            acts: Recorded actions. Where fewer of them differ than there are entries, the rest repeats and is not used.
            seed: Of the starts of k-means.
        """
        if self.entries.any():
            return
        rng = torch.Generator().manual_seed(seed)
        drawn = acts[torch.randperm(len(acts), generator=rng)[:MOST]].clamp(-1.0, 1.0)
        centres, _ = kmeans(drawn, self.dim, seed=seed)
        self.entries.copy_(centres[torch.arange(self.dim) % len(centres)])
