"""The success classifier: is the task solved in this observation?

It scores the *next* observation and must have seen the policy's own episodes, not only the expert's (World4RL, arXiv
2509.19080); random play is for the dynamics only.
"""

from itertools import pairwise

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from worldrl.objects.gated import GatedTokens


class TokenSuccess(nn.Module):
    """Judge tokens by how far they are from solved: the logit falls with a squared distance, in a learned linear space.

    A task is solved where a few things are close to where they should be. Judges without that shape draw their border
    through the few successes at will, and PPO finds where it is wrong: on the failed episodes of a refined policy in
    MuJoCo, a perceptron took 95 % for successes, this one 5 to 20 %. Objects are read through gates, because where
    successes are few a judge that sees every object remembers where the distractors stood (both our choice; World4RL
    uses a ResNet-18 on frames).

    Args:
        obs_shape: ``(k, d)``.
        width: Dimensions of the learned space.
    """

    def __init__(self, *, obs_shape: tuple[int, int], width: int = 64) -> None:
        super().__init__()
        self.gated = GatedTokens(obs_shape=obs_shape, width=width)
        self.offset = nn.Parameter(torch.tensor(3.0))
        self.log_slope = nn.Parameter(torch.tensor(0.0))

    def forward(self, obs: Float[Tensor, "b k d"]) -> Float[Tensor, " b"]:
        """Return the logit of success."""
        distance = self.gated(obs).square().sum(dim=-1)
        logit: Tensor = self.offset - self.log_slope.exp() * distance
        return logit


class FrameSuccess(nn.Module):
    """Judge frames ``(c, h, w)`` with four strided convolutions.

    Args:
        obs_shape: ``(c, h, w)``.
        width: Channels of the first layer.
    """

    def __init__(self, *, obs_shape: tuple[int, int, int], width: int = 16) -> None:
        super().__init__()
        sizes = [obs_shape[0], width, 2 * width, 4 * width, 4 * width]
        layers = [
            layer
            for a, b in pairwise(sizes)
            for layer in (nn.Conv2d(a, b, 3, stride=2, padding=1), nn.GroupNorm(4, b), nn.SiLU())
        ]
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(64 * width, 64), nn.SiLU())
        self.out = nn.Linear(64, 1)

    def forward(self, obs: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
        """Return the logit of success."""
        logit: Tensor = rearrange(self.out(self.body(obs)), "b 1 -> b")
        return logit
