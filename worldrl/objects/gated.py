"""Reading objects through gates that close: few episodes have few layouts, and what does not matter is memorised.

A network that sees every object will explain its few training layouts by where the distractors stood. Each object
therefore passes a gate, and every open gate costs: those that help in all layouts stay open, the others close (a lasso
over objects, our choice).
"""

from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pad

GATE_LR = 0.02
"""Learning rate of the gates: a gate has a second or so to close, not an hour."""


class GatedTokens(nn.Module):
    """Read tokens ``(b, k, d)`` to features ``(b, w)``; token 0, proprioception, has no gate.

    Args:
        obs_shape: ``(k, d)``.
        width: Of the features.
        proprio: How many numbers of proprioception are read, the first ones; 0 for all.
    """

    def __init__(self, *, obs_shape: tuple[int, int], width: int, proprio: int = 0) -> None:
        super().__init__()
        tokens, features = obs_shape
        self.proprio = proprio or features
        self.gate = nn.Parameter(torch.ones(tokens - 1))
        self.read = nn.Parameter(torch.randn(tokens - 1, features, width) * features**-0.5)
        self.own = nn.Linear(self.proprio, width)

    def forward(self, obs: Float[Tensor, "b k d"]) -> Float[Tensor, "b w"]:
        """Return the features."""
        # Of fixed size, or weights would grow while gates shrink and the price would buy nothing.
        read = self.read / self.read.square().mean(dim=(1, 2), keepdim=True).sqrt() * self.read.shape[1] ** -0.5
        read = read * rearrange(self.gate.clamp(0.0, 1.0), "k -> k 1 1")
        # One product for all that is read, on tokens as they lie in memory: the numbers of proprioception that are not
        # read have zeros.
        own = pad(self.own.weight.T, (0, 0, 0, obs.shape[2] - self.proprio))
        weight = torch.cat([own, rearrange(read, "k d w -> (k d) w")])
        out: Tensor = torch.addmm(self.own.bias, rearrange(obs, "b k d -> b (k d)"), weight)
        return out

    def cost(self) -> Tensor:
        """Return how far the gates are open, summed: what a loss adds, times a price."""
        return self.gate.clamp_min(0.0).sum()

    def parameter_groups(self, weights: list[nn.Parameter]) -> list[dict[str, Any]]:
        """Return an optimiser's groups for some weights and the gates, which learn fast and do not decay."""
        others = [p for p in weights if p is not self.gate]
        return [{"params": others}, {"params": [self.gate], "weight_decay": 0.0, "lr": GATE_LR}]
