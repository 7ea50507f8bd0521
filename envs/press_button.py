"""Press a button that stands somewhere on the table."""

from typing import ClassVar

import numpy as np

from worldrl.envs.rewards import closeness, progress
from worldrl.envs.tabletop import DISTRACTORS, TabletopEnv

TRAVEL = 0.016
"""Metres that the cap has to go down."""


class PressButtonEnv(TabletopEnv):
    """Push the cap of a button 16 mm down; the button's place, the hand's and three distractors' are random."""

    scene = "press_button"
    bodies: ClassVar[dict[str, str]] = {"button": "cap"} | DISTRACTORS

    def pressed(self) -> float:
        """Return how far the cap is down, in metres."""
        return -float(self.data.joint("cap").qpos[0])

    def _place(self, rng: np.random.Generator) -> None:
        spot = rng.uniform([-0.16, -0.13], [0.16, 0.13])
        self.model.body("button").pos[:2] = spot
        self._scatter([*DISTRACTORS], [spot], rng)

    def _solved(self) -> bool:
        return self.pressed() >= TRAVEL

    def _progress(self) -> float:
        near = closeness(float(np.linalg.norm(self.fingertip() - self.position("cap"))), radius=0.015, margin=0.2)
        return 0.5 * near + 0.5 * progress(self.pressed(), goal=TRAVEL)
