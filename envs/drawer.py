"""Open and close the drawer of a cabinet that stands at the back of the table."""

from typing import ClassVar

import numpy as np
import numpy.typing as npt

from worldrl.envs.rewards import closeness, progress
from worldrl.envs.tabletop import DISTRACTORS, TabletopEnv

TRAVEL = 0.09
"""Metres from shut to the stop."""
OPENED = 0.06
"""Metres from which the drawer counts as open."""
SHUT = 0.005
"""Metres up to which the drawer counts as shut."""
AJAR = 0.03
"""Metres up to which a drawer that is not shut is called slightly open; from there to ``OPENED`` it is half open."""
DESCRIPTIONS: dict[str, tuple[str, ...]] = {
    "closed": (
        "the drawer is closed", "the drawer is fully closed", "the drawer has been closed", "a closed drawer",
        "the drawer is all the way in", "the drawer has been pushed in", "the drawer is inside the cabinet",
    ),
    "slightly open": (
        "the drawer is slightly open", "the drawer is a little open", "the drawer is open a crack",
        "the drawer is a little way out",
    ),
    "half open": (
        "the drawer is half open", "the drawer is halfway out", "the drawer is partly open", "a half open drawer",
        "the drawer has been pulled halfway out",
    ),
    "open": (
        "the drawer is open", "the drawer is wide open", "the drawer is fully open", "an open drawer",
        "the drawer has been opened", "the drawer is all the way out", "the drawer has been pulled out",
    ),
    "hand left": ("the hand is left of the drawer", "the gripper is to the left of the drawer"),
    "hand right": ("the hand is right of the drawer", "the gripper is to the right of the drawer"),
    "hand above": ("the hand is above the drawer", "the gripper is over the drawer", "the gripper is above the handle"),
    "hand at handle": ("the hand is at the handle", "the gripper is near the handle", "the gripper touches the handle"),
}  # fmt: skip
"""What a state is called, each in several wordings, all of them statements: how it came about is for goals to say."""


class DrawerEnv(TabletopEnv):
    """A cabinet with a drawer that slides towards the camera; subclasses say where it starts and where it has to go."""

    scene = "drawer"
    bodies: ClassVar[dict[str, str]] = {"drawer": "drawer", "cabinet": "cabinet"} | DISTRACTORS
    descriptions = DESCRIPTIONS

    def opening(self) -> float:
        """Return how far the drawer is open, in metres."""
        return float(self.data.joint("drawer").qpos[0])

    def handle(self) -> npt.NDArray[np.float64]:
        """Return the middle of the gap between the drawer's front and the handle's bar ``(3,)`` in metres."""
        return np.array(self.data.site("handle").xpos)

    def facts(self) -> dict[str, bool]:
        """Return which of the states in ``descriptions`` hold now, from where things are."""
        opening, (x, _, z) = self.opening(), self.fingertip() - self.handle()
        return {
            "closed": opening <= SHUT,
            "slightly open": SHUT < opening <= AJAR,
            "half open": AJAR < opening < OPENED,
            "open": opening >= OPENED,
            "hand left": bool(x < -0.07),
            "hand right": bool(x > 0.07),
            "hand above": bool(abs(x) <= 0.07 and z > 0.04),
            "hand at handle": float(np.linalg.norm(self.fingertip() - self.handle())) < 0.045,
        }

    def _stand(self, opening: float, rng: np.random.Generator) -> None:
        """Place the cabinet, its drawer open by ``opening`` metres, the hand before it, and the distractors aside."""
        cabinet = rng.uniform([-0.12, 0.11], [0.12, 0.15])
        self.model.body("cabinet").pos[:2] = cabinet
        self.data.joint("drawer").qpos[0] = opening
        self.data.qpos[1] = rng.uniform(-0.16, cabinet[1] - 0.07)
        taken = [cabinet + np.array([x, y]) for x in (-0.05, 0.0, 0.05) for y in (-0.2, -0.12, -0.04, 0.03)]
        self._scatter([*DISTRACTORS], taken, rng, gap=0.075)

    def _near_handle(self) -> float:
        return closeness(float(np.linalg.norm(self.fingertip() - self.handle())), radius=0.03, margin=0.2)


class OpenDrawerEnv(DrawerEnv):
    """Pull a shut drawer 6 cm open by its handle; the cabinet's place, the hand's and three distractors' are random."""

    def _place(self, rng: np.random.Generator) -> None:
        self._stand(0.0, rng)

    def _solved(self) -> bool:
        return self.opening() >= OPENED

    def _progress(self) -> float:
        return 0.5 * self._near_handle() + 0.5 * progress(self.opening(), goal=OPENED)


class CloseDrawerEnv(DrawerEnv):
    """Push an open drawer shut; how far it is open and every place are random."""

    def _place(self, rng: np.random.Generator) -> None:
        self._stand(rng.uniform(0.05, 0.085), rng)

    def _solved(self) -> bool:
        return self.opening() <= SHUT

    def _progress(self) -> float:
        return 0.5 * self._near_handle() + 0.5 * progress(TRAVEL - self.opening(), goal=TRAVEL - SHUT)
