"""Games of MinAtar: small, discrete, and with masks of every object for the asking."""

import logging
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from worldrl.envs.steps import count_real_step
from worldrl.errors import ConfigError, DataError
from worldrl.types import Array

GAMES = ("asterix", "breakout", "freeway", "seaquest", "space_invaders")
CELLS = 10
CHOICES = {"n": "stay", "l": "left", "u": "up", "r": "right", "d": "down", "f": "fire"}
"""What MinAtar's letters of actions mean."""
COLOURS = np.array(
    [(20, 20, 30), (60, 180, 75), (230, 230, 240), (90, 90, 120), (230, 80, 60), (255, 225, 25), (0, 130, 200),
     (145, 30, 180), (70, 240, 240), (245, 130, 48), (128, 128, 0)], np.uint8,
)  # fmt: skip
"""What background and channels are drawn in (our choice)."""


class MinAtarEnv(gym.Env[Any, Any]):
    """A game of MinAtar (Young & Tian 2019, arXiv 1903.03176), drawn as a picture, its channels as objects.

    Observation: ``image`` ``(size, size, 3)`` uint8; ``proprio`` ``(1,)`` float32, always zero: the player has no
    sense but sight. Action: one of those that the game heeds. Reward: the game's points. ``max_steps`` truncates.
    ``info["success"]`` is always False: what counts is the return. A tenth of the actions are replaced by the one
    before, as MinAtar does by default. It cannot be restored, so its episodes are not recorded.

    Args:
        game: A name in ``GAMES``.
        render_mode: ``"rgb_array"`` or None; images are part of the observation either way.
        size: Height and width of a frame in pixels.
        max_steps: Decisions until the episode is truncated.

    Raises:
        ConfigError: If there is no such game, MinAtar is not installed or a number is out of range.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 16}

    def __init__(
        self, game: str = "breakout", render_mode: str | None = None, *, size: int = 64, max_steps: int = 500
    ) -> None:
        if game not in GAMES:
            raise ConfigError(f"game must be one of {', '.join(GAMES)}, got '{game}'.")
        if size < CELLS or max_steps < 1:
            raise ConfigError(f"size must be at least {CELLS} and max_steps at least 1, got {size} and {max_steps}.")
        self._game = _make(game)
        self._acts = self._game.minimal_action_set()
        self.choices = tuple(CHOICES[self._game.env.action_map[act]] for act in self._acts)
        self.objects = tuple(sorted(self._game.env.channels, key=self._game.env.channels.get))
        self.render_mode, self.size, self.max_steps, self._age = render_mode, size, max_steps, 0
        self._rows = np.arange(size) * CELLS // size
        self.action_space = spaces.Discrete(len(self._acts))
        self.observation_space = spaces.Dict(
            {
                "image": spaces.Box(0, 255, (size, size, 3), np.uint8),
                "proprio": spaces.Box(-1.0, 1.0, (1,), np.float32),
            }
        )

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Array], dict[str, Any]]:
        """Start a new game; where no seed is given, chance goes on."""
        super().reset(seed=seed)
        if seed is not None:
            self._game.seed(seed % 2**32)
        self._game.last_action = 0
        self._game.reset()
        self._age = 0
        return self._observe(), {"success": False}

    def step(self, action: Any) -> tuple[dict[str, Array], float, bool, bool, dict[str, Any]]:
        """Play one decision.

        Raises:
            DataError: If there is no such action.
        """
        chosen = np.asarray(action)
        if chosen.size != 1 or chosen.dtype.kind not in "iu" or not 0 <= chosen.item() < len(self._acts):
            raise DataError(f"action must be one of 0 to {len(self._acts) - 1}, got {action!r}.")
        count_real_step()
        rew, end = self._game.act(self._acts[chosen.item()])
        self._age += 1
        return self._observe(), float(rew), bool(end), not end and self._age >= self.max_steps, {"success": False}

    def render(self) -> npt.NDArray[np.uint8] | None:
        """Return the view ``(size, size, 3)`` uint8."""
        return None if self.render_mode is None else COLOURS[self.labels()]

    def labels(self) -> npt.NDArray[np.uint8]:
        """Return which object is seen where ``(size, size)`` uint8; of two in one cell, the first of ``objects``."""
        state = np.asarray(self._game.state(), bool)
        cells = np.where(state.any(axis=2), state.argmax(axis=2) + 1, 0).astype(np.uint8)
        return np.asarray(cells[np.ix_(self._rows, self._rows)])

    def _observe(self) -> dict[str, Array]:
        return {"image": COLOURS[self.labels()], "proprio": np.zeros(1, np.float32)}


def _make(game: str) -> Any:
    """Make the game; what its package says about plotting packages that are not there is not said again."""
    try:
        logging.disable(logging.WARNING)
        from minatar import Environment
    except ImportError as error:
        raise ConfigError('MinAtar games need MinAtar: pip install "worldrl[minatar]".') from error
    finally:
        logging.disable(logging.NOTSET)
    return Environment(game)
