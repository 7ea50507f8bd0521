"""Touch a bead that lies among five larger things."""

from typing import ClassVar

import numpy as np

from worldrl.envs.rewards import closeness
from worldrl.envs.tabletop import DISTRACTORS, TabletopEnv

RADIUS = 0.03
"""Metres from the bead's centre within which the fingertip touches it."""
HEIGHT = 0.012
"""Metres of the bead's centre above the table."""


class TouchEnv(TabletopEnv):
    """Bring the fingertip to within 3 cm of a bead on the table; all places, those of five distractors too, are random.

    The bead is 0.15 % of the picture and all that matters: what a world model is asked to keep of a picture decides
    whether it keeps the bead. The hand passes through it.
    """

    scene = "touch"
    bodies: ClassVar[dict[str, str]] = (
        {"bead": "bead"} | DISTRACTORS | {"distractor_3": "distractor_3", "distractor_4": "distractor_4"}
    )

    def _place(self, rng: np.random.Generator) -> None:
        spot = rng.uniform([-0.16, -0.13], [0.16, 0.13])
        self.model.body("bead").pos[:2] = spot
        self._scatter([name for name in self.bodies if name != "bead"], [spot], rng, gap=0.06)

    def _distance(self) -> float:
        return float(np.linalg.norm(self.fingertip() - self.position("bead") - np.array([0.0, 0.0, HEIGHT])))

    def _solved(self) -> bool:
        return self._distance() <= RADIUS

    def _progress(self) -> float:
        # A wide term alone is flat where it matters: from 6 cm away it is hardly worth while to go on.
        wide, narrow = (closeness(self._distance(), radius=RADIUS, margin=margin) for margin in (0.25, 0.06))
        return 0.5 * wide + 0.5 * narrow
