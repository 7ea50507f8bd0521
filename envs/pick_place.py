"""Grasp a cube, lift it and put it down on a plate."""

from typing import ClassVar

import numpy as np

from worldrl.envs.rewards import closeness, progress
from worldrl.envs.tabletop import DISTRACTORS, TabletopEnv

SIDE = 0.036
"""Metres along an edge of the cube."""
PLATE = 0.008
"""Metres from the table to the top of the plate."""
RADIUS = 0.03
"""Metres from the plate's centre within which the cube's centre has to rest."""
RELEASED = 0.019
"""Metres that a finger has to be open to have let go of the cube; gripping it, each is 16 mm open."""


class PickPlaceEnv(TabletopEnv):
    """Put a cube onto a plate 10 to 22 cm away and let go of it; every place is random."""

    scene = "pick_place"
    bodies: ClassVar[dict[str, str]] = {"cube": "cube", "plate": "plate"} | DISTRACTORS

    def lift(self) -> float:
        """Return how far the cube's underside is above the table, in metres."""
        return float(self.position("cube")[2]) - SIDE / 2

    def _place(self, rng: np.random.Generator) -> None:
        cube, plate = _apart(rng)
        self.model.body("plate").pos[:2] = plate
        self.data.joint("cube").qpos[:2] = cube
        self._scatter([*DISTRACTORS], [cube, (cube + plate) / 2, plate], rng, gap=0.085)

    def _offset(self) -> float:
        """Return how far the cube is beside the plate's centre, in metres."""
        return float(np.linalg.norm((self.position("cube") - self.position("plate"))[:2]))

    def _solved(self) -> bool:
        resting = abs(self.lift() - PLATE) <= 0.003
        released = min(self.data.qpos[3], self.data.qpos[4]) >= RELEASED
        return self._offset() <= RADIUS and resting and bool(released)

    def _progress(self) -> float:
        near = closeness(float(np.linalg.norm(self.fingertip() - self.position("cube"))), radius=0.02, margin=0.2)
        above = closeness(self._offset(), radius=RADIUS, margin=0.02)
        placed = closeness(self._offset(), radius=RADIUS, margin=0.2)
        return 0.3 * near + 0.3 * max(progress(self.lift(), goal=0.03), above) + 0.4 * placed


def _apart(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return places ``(2,)`` of cube and plate in metres."""
    low, high = np.array([-0.16, -0.13]), np.array([0.16, 0.13])
    while True:
        cube, plate = rng.uniform(low, high), rng.uniform(low, high)
        if 0.1 <= np.linalg.norm(plate - cube) <= 0.22:
            return cube, plate
