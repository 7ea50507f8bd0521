"""How policies and critics read observations: tokens through gates, frames through convolutions."""

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

from worldrl.errors import ConfigError
from worldrl.objects.gated import GatedTokens


class TokenExtractor(BaseFeaturesExtractor):
    """Read tokens through gates, so that few demonstrations do not teach where the distractors stood.

    Args:
        observation_space: ``(k, d)``.
        width: Of the features.
        proprio: How many numbers of proprioception are read, the first ones; 0 for all.
    """

    def __init__(self, observation_space: spaces.Box, width: int = 128, proprio: int = 0) -> None:
        super().__init__(observation_space, width)
        tokens, features = observation_space.shape
        self.gated = GatedTokens(obs_shape=(tokens, features), width=width, proprio=proprio)
        self.rest = nn.Sequential(nn.SiLU(), nn.Linear(width, width), nn.SiLU())

    def forward(self, observations: Tensor) -> Tensor:
        """Return features ``(b, width)`` of tokens ``(b, k, d)``."""
        features: Tensor = self.rest(self.gated(observations))
        return features


class FrameExtractor(BaseFeaturesExtractor):
    """Read frames ``(c, h, w)`` in ``[-1, 1]`` with strided convolutions.

    Args:
        observation_space: ``(c, h, w)``.
        width: Of the features.
    """

    def __init__(self, observation_space: spaces.Box, width: int = 128) -> None:
        super().__init__(observation_space, width)
        channels = observation_space.shape[0]
        self.body = nn.Sequential(
            nn.Conv2d(channels, 16, 5, stride=2, padding=2),
            nn.SiLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.SiLU(),
            nn.Conv2d(32, 32, 3, stride=2, padding=1),
            nn.SiLU(),
            nn.AdaptiveAvgPool2d(6),
            nn.Flatten(),
            nn.Linear(32 * 36, width),
            nn.SiLU(),
        )

    def forward(self, observations: Tensor) -> Tensor:
        """Return features ``(b, width)``."""
        features: Tensor = self.body(observations)
        return features


def extractor_class(obs_shape: tuple[int, ...]) -> type[TokenExtractor] | type[FrameExtractor]:
    """Return what reads tokens ``(k, d)`` or frames ``(c, h, w)``."""
    return TokenExtractor if len(obs_shape) == 2 else FrameExtractor


def make_extractor(obs_shape: tuple[int, ...], *, proprio: int = 0) -> TokenExtractor | FrameExtractor:
    """Make what reads tokens ``(k, d)``, of whose proprioception the first ``proprio`` numbers or all, or frames.

    Raises:
        ConfigError: If there are not that many numbers.
    """
    check_proprio(obs_shape, proprio)
    space = spaces.Box(-np.inf, np.inf, obs_shape, np.float32)
    return extractor_class(obs_shape)(space, **({"proprio": proprio} if proprio else {}))


def check_proprio(obs_shape: tuple[int, ...], proprio: int) -> None:
    """Refuse to show a number of proprioception that observations do not have.

    Raises:
        ConfigError: If there are not that many numbers.
    """
    if proprio and not (len(obs_shape) == 2 and 0 < proprio <= obs_shape[1]):
        raise ConfigError(
            f"proprio must be in [0, d] for tokens (k, d) and 0 for frames, got {proprio} of {tuple(obs_shape)}."
        )
