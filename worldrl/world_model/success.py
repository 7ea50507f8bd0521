"""The success classifier: is the task solved in this observation?

It scores the *next* observation and must have seen the policy's own episodes, not only the expert's (World4RL, arXiv
2509.19080); random play is for the dynamics only.
"""

from itertools import pairwise

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from worldrl.objects.gated import GatedTokens


class TokenSuccess(nn.Module):
    """Judge tokens, reading objects through gates.

    Where successes are few, a classifier that sees every object remembers where the distractors stood; measured,
    closing their gates halves the failures that it takes for successes (our choice; World4RL uses a ResNet-18 on
    frames).

    Args:
        obs_shape: ``(k, d)``.
        width: Of the hidden layers.
        dropout: Share of hidden numbers left out in training.
    """

    def __init__(self, *, obs_shape: tuple[int, int], width: int = 128, dropout: float = 0.1) -> None:
        super().__init__()
        self.gated = GatedTokens(obs_shape=obs_shape, width=width)
        self.rest = nn.Sequential(
            nn.SiLU(),
            nn.Dropout(dropout),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Dropout(dropout),
            nn.Linear(width, 1),
        )

    def forward(self, obs: Float[Tensor, "b k d"]) -> Float[Tensor, " b"]:
        """Return the logit of success."""
        logit: Tensor = rearrange(self.rest(self.gated(obs)), "b 1 -> b")
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
