"""The support of the data: how far an imagined observation is from everything that was recorded."""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

SIZE = 2048
"""Recorded observations that stand for all of them (our choice)."""
SIDE = 8
"""Frames are compared as pictures of this many pixels a side."""


class Support(nn.Module):
    """Measure the distance to the nearest recorded observation.

    A third witness beside the ensemble and the success classifiers: members that are wrong together do not disagree,
    but what they agree on may be like nothing that was ever seen. Tokens are compared number by number in units of
    their spread, frames as pictures of 8 by 8 pixels (our choice; the field measures support in many feature spaces).

    Args:
        obs_shape: ``(k, d)`` for tokens, ``(c, h, w)`` for frames.
        size: Recorded observations that are kept.
    """

    bank: Tensor

    def __init__(self, obs_shape: tuple[int, ...], *, size: int = SIZE) -> None:
        super().__init__()
        self.frames = len(obs_shape) == 3
        numbers = obs_shape[0] * SIDE**2 if self.frames else obs_shape[0] * obs_shape[1]
        self.register_buffer("bank", torch.zeros(size, numbers))

    def fit(self, obs: Float[Tensor, "n *o"], *, seed: int = 0) -> None:
        """Keep some recorded observations, evenly drawn; with repetition where there are fewer than fit in."""
        count = len(self.bank)
        order = torch.randperm(len(obs), generator=torch.Generator().manual_seed(seed))
        self.bank.copy_(self._flat(obs[order[torch.arange(count) % len(obs)]]))

    def forward(self, obs: Float[Tensor, "b *o"]) -> Float[Tensor, " b"]:
        """Return the root mean square distance to the nearest one."""
        flat = self._flat(obs)
        # The distances to all are never written down: of |x - y|^2 only what depends on y decides which is nearest.
        among = torch.addmm(self.bank.square().sum(dim=1), flat, self.bank.T, alpha=-2.0).amin(dim=1)
        nearest: Tensor = (flat.square().sum(dim=1) + among).clamp_min(0.0).div(flat.shape[1]).sqrt()
        return nearest

    def _flat(self, obs: Tensor) -> Tensor:
        if self.frames:
            obs = nn.functional.adaptive_avg_pool2d(obs, SIDE)
        return rearrange(obs, "b ... -> b (...)")
