"""Push a block that lies free on the table to a mark."""

from typing import ClassVar

import numpy as np

from worldrl.envs.rewards import closeness
from worldrl.envs.tabletop import DISTRACTORS, TabletopEnv

RADIUS = 0.04
"""Metres from the mark's centre within which the block's centre has arrived: the mark's own radius."""


class PushEnv(TabletopEnv):
    """Push a block onto a mark 10 to 18 cm away; every place and the turn of the block are random."""

    scene = "push"
    bodies: ClassVar[dict[str, str]] = {"block": "block", "goal": "goal"} | DISTRACTORS

    def _place(self, rng: np.random.Generator) -> None:
        block, goal = _apart(rng)
        turn = rng.uniform(-np.pi / 4, np.pi / 4)
        self.model.body("goal").pos[:2] = goal
        self.data.joint("block").qpos[:2] = block
        self.data.joint("block").qpos[3:] = [np.cos(turn / 2), 0.0, 0.0, np.sin(turn / 2)]
        way = [block + share * (goal - block) for share in (-0.4, 0.0, 0.5, 1.0)]
        self._scatter([*DISTRACTORS], way, rng)

    def _distance(self) -> float:
        return float(np.linalg.norm((self.position("block") - self.position("goal"))[:2]))

    def _solved(self) -> bool:
        return self._distance() <= RADIUS

    def _progress(self) -> float:
        near = closeness(float(np.linalg.norm(self.fingertip() - self.position("block"))), radius=0.05, margin=0.2)
        return 0.3 * near + 0.7 * closeness(self._distance(), radius=RADIUS, margin=0.2)


def _apart(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return places ``(2,)`` of block and goal in metres, with room for the hand behind the block."""
    low, high = np.array([-0.15, -0.12]), np.array([0.15, 0.12])
    while True:
        block, goal = rng.uniform(0.8 * low, 0.8 * high), rng.uniform(low, high)
        if 0.1 <= np.linalg.norm(goal - block) <= 0.18:
            return block, goal
