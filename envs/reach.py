"""Bring the fingertip to a ball that stands on a post."""

from typing import ClassVar

import numpy as np

from worldrl.envs.rewards import closeness
from worldrl.envs.tabletop import DISTRACTORS, TabletopEnv

RADIUS = 0.02
"""Metres from the ball's centre within which the fingertip has arrived."""


class ReachEnv(TabletopEnv):
    """Move the fingertip to within 2 cm of a ball; its place and height, the hand's and three distractors' are random.

    The ball stands in nothing's way: the hand passes through it.
    """

    scene = "reach"
    bodies: ClassVar[dict[str, str]] = {"target": "target"} | DISTRACTORS

    def _place(self, rng: np.random.Generator) -> None:
        spot = rng.uniform([-0.18, -0.15, 0.05], [0.18, 0.15, 0.13])
        self.model.body("target").pos[:] = spot
        self._scatter([*DISTRACTORS], [spot[:2]], rng)

    def _distance(self) -> float:
        return float(np.linalg.norm(self.fingertip() - self.position("target")))

    def _solved(self) -> bool:
        return self._distance() <= RADIUS

    def _progress(self) -> float:
        return closeness(self._distance(), radius=RADIUS, margin=0.25)
