"""The success classifier: is the task solved in this observation?

It scores the *next* observation and must have seen the policy's own episodes, not only the expert's (World4RL, arXiv
2509.19080); random play is for the dynamics only.
"""

import torch
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor, nn


class TokenSuccess(nn.Module):
    """Judge tokens: every object beside proprioception, then all together.

    Pressing, reaching and grasping are relations between the hand (token 0) and one object, so each object is read
    together with the hand before anything is pooled (our choice; World4RL uses a ResNet-18 on frames).

    Args:
        obs_shape: ``(k, d)``.
        width: Of the hidden layers.
        dropout: Share of hidden numbers left out in training.
    """

    def __init__(self, *, obs_shape: tuple[int, int], width: int = 64, dropout: float = 0.1) -> None:
        super().__init__()
        tokens, features = obs_shape
        self.slot = nn.Parameter(0.1 * torch.randn(tokens - 1, width))
        self.read = nn.Linear(2 * features, width)
        self.each = nn.Sequential(nn.SiLU(), nn.Dropout(dropout), nn.Linear(width, width), nn.SiLU())
        self.all = nn.Sequential(
            nn.Linear((tokens - 1) * width, width), nn.SiLU(), nn.Dropout(dropout), nn.Linear(width, 1)
        )

    def forward(self, obs: Float[Tensor, "b k d"]) -> Float[Tensor, " b"]:
        """Return the logit of success."""
        hand = repeat(obs[:, 0], "b d -> b k d", k=obs.shape[1] - 1)
        h = self.each(self.read(torch.cat([obs[:, 1:], hand], dim=-1)) + self.slot)
        return rearrange(self.all(rearrange(h, "b k w -> b (k w)")), "b 1 -> b")


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
            for a, b in zip(sizes, sizes[1:], strict=False)
            for layer in (nn.Conv2d(a, b, 3, stride=2, padding=1), nn.GroupNorm(4, b), nn.SiLU())
        ]
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(64 * width, 64), nn.SiLU())
        self.out = nn.Linear(64, 1)

    def forward(self, obs: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
        """Return the logit of success."""
        return rearrange(self.out(self.body(obs)), "b 1 -> b")
