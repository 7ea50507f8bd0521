"""Actors that make demonstrations: scripted experts, which read the simulator, and random play."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces

from worldrl.agents.noise import LastingNoise
from worldrl.agents.scripts import script_for
from worldrl.errors import ConfigError
from worldrl.types import Array


class ScriptedActor:
    """An expert for a batch of environments, with noise that lasts a few decisions.

    Args:
        noise: Standard deviation of the noise added to the action; zero is the clean expert.
        persistence: Share of the noise that is kept from one decision to the next, in ``[0, 1)``.
    """

    def __init__(self, *, noise: float = 0.0, persistence: float = 0.7) -> None:
        self.noise = LastingNoise(sigma=noise, persistence=persistence)

    def begin(self, slot: int, env: Any, seed: int) -> None:
        """Start an episode in a slot; its noise follows from the episode's seed."""
        self.noise.begin(slot, np.random.default_rng([seed, 1]), env.action_space.shape[0], settled=False)

    def act(self, observations: Sequence[Any], envs: Sequence[Any], slots: Array) -> Array:
        """Return the actions ``(b, a)``; the observations are not looked at."""
        return np.stack([self._one(env, int(slot)) for env, slot in zip(envs, slots, strict=True)])

    def _one(self, env: Any, slot: int) -> Array:
        act = script_for(env)(env.unwrapped)
        return np.asarray(np.clip(act + self.noise.draw(slot), -1.0, 1.0), np.float32)


class RandomActor:
    """Random play that gets somewhere: uniform targets for the hand's velocity, each held for a few decisions.

    Independent draws at every decision cancel out and never leave the start; held ones cover the workspace.

    Args:
        hold: Mean number of decisions that a draw is kept.
    """

    def __init__(self, *, hold: float = 4.0) -> None:
        if hold < 1:
            raise ConfigError(f"hold must be at least 1 decision, got {hold}.")
        self.hold = hold
        self._rngs: dict[int, np.random.Generator] = {}
        self._acts: dict[int, Array] = {}

    def begin(self, slot: int, env: Any, seed: int) -> None:
        """Start an episode in a slot; its actions follow from the episode's seed."""
        self._rngs[slot] = np.random.default_rng([seed, 2])
        self._acts.pop(slot, None)

    def act(self, observations: Sequence[Any], envs: Sequence[Any], slots: Array) -> Array:
        """Return the actions ``(b, a)``, or ``(b,)`` where they are discrete."""
        return np.stack([self._one(env, int(slot)) for env, slot in zip(envs, slots, strict=True)])

    def _one(self, env: Any, slot: int) -> Array:
        rng = self._rngs[slot]
        if slot not in self._acts or rng.random() < 1.0 / self.hold:
            self._acts[slot] = _draw(env.action_space, rng)
        return self._acts[slot]


def _draw(space: spaces.Space[Any], rng: np.random.Generator) -> Array:
    """Return a uniform action: numbers in ``[-1, 1]``, or an integer where actions are discrete."""
    if isinstance(space, spaces.Discrete):
        return np.array(rng.integers(space.n))
    return rng.uniform(-1.0, 1.0, space.shape).astype(np.float32)
