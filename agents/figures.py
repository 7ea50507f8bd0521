"""What PPO is like while it refines, a few figures an update."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from worldrl.agents.policy import GaussianPolicy
from worldrl.types import Array

FIGURES = {
    "train/policy_gradient_loss": "policy loss", "train/value_loss": "value loss",
    "train/entropy_loss": "divergence",  # of an anchored policy, see GaussianPolicy.evaluate_actions
    "train/approx_kl": "approximate KL", "train/clip_fraction": "clip fraction",
    "train/explained_variance": "explained variance",
}  # fmt: skip
"""Figures of stable-baselines3, and what they are told as: means over an update; divergences are in nats."""


class Figures:
    """Gathers the figures of a rollout and of the update after it, and tells them once the update is done.

    Args:
        policy: Which learns, with an anchor.

    Attributes:
        tell: Called with the steps so far and figures by name; None for nobody.
    """

    def __init__(self, policy: GaussianPolicy) -> None:
        self.tell: Callable[[int, Mapping[str, float]], None] | None = None
        self._policy, self._rewards, self._updates = policy, list[float](), 0

    def add(self, rewards: Array) -> None:
        """Take in the rewards ``(n,)`` of a step of a rollout."""
        self._rewards.append(float(np.mean(rewards)))

    def end(self, learner: Any, steps: int) -> None:
        """Tell what the last update was like, if there was one since, and begin another rollout."""
        logged, rewards, self._rewards = learner.logger.name_to_value, self._rewards, []
        found = {told: float(logged[name]) for name, told in FIGURES.items() if name in logged}
        if self.tell is not None and found and learner._n_updates > self._updates:
            entropy = float(np.log(self._policy.std() * np.sqrt(2 * np.pi * np.e)).sum())
            self.tell(steps, found | {"entropy": entropy, "reward of a step": float(np.mean(rewards))})
        self._updates = learner._n_updates
