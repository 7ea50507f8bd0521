"""Critics: networks that say what an observation, or an action in it, is worth."""

import torch
from torch import Tensor, nn

from worldrl.agents.extractors import TokenExtractor, make_extractor


class Critic(nn.Module):
    """The worth of an observation, or of an action in it, read by the same kind of extractor as a policy's.

    Args:
        obs_shape: Tokens ``(k, d)`` or frames ``(c, h, w)``.
        act_dim: Numbers of an action; 0 for the worth of the observation alone.
        width: Of the two hidden layers (256 in the papers; our choice, for speed on a CPU).
    """

    def __init__(self, obs_shape: tuple[int, ...], act_dim: int = 0, width: int = 128) -> None:
        super().__init__()
        self.extractor = make_extractor(obs_shape)
        if isinstance(self.extractor, TokenExtractor):
            self.extractor.gated.gate.requires_grad_(False)  # a critic sees every layout there is, and may look at all
        self.head = nn.Sequential(
            nn.Linear(self.extractor.features_dim + act_dim, width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Linear(width, 1),
        )

    def forward(self, obs: Tensor, *acts: Tensor) -> Tensor:
        """Return the worth ``(b,)`` of ``obs`` ``(b, *o)``, or of the actions ``(b, a)`` in it."""
        worth: Tensor = self.head(torch.cat([self.extractor(obs), *acts], dim=-1))
        return worth.squeeze(-1)


class TwinCritic(nn.Module):
    """Two critics of actions that learn the same; the lower of their answers does not overestimate.

    Source: Fujimoto et al. 2018, "TD3" (arXiv 1802.09477), section 4.2.

    Args:
        obs_shape: Tokens ``(k, d)`` or frames ``(c, h, w)``.
        act_dim: Numbers of an action.
    """

    def __init__(self, obs_shape: tuple[int, ...], act_dim: int) -> None:
        super().__init__()
        self.first, self.second = Critic(obs_shape, act_dim), Critic(obs_shape, act_dim)

    def forward(self, obs: Tensor, acts: Tensor) -> tuple[Tensor, Tensor]:
        """Return both answers, each ``(b,)``."""
        return self.first(obs, acts), self.second(obs, acts)

    def lower(self, obs: Tensor, acts: Tensor) -> Tensor:
        """Return the lower of both answers ``(b,)``."""
        return torch.minimum(*self(obs, acts))
