"""Factors of variation of a scene, each drawn independently: what a policy should not care about."""

from collections.abc import Sequence

import numpy as np

from worldrl.envs.simulator import mujoco

FACTORS = ("colour", "light", "camera", "table")
FIXED_COLOUR = ("table", "palm", "wrist", "left_finger", "right_finger")


def vary(model: mujoco.MjModel, factors: Sequence[str], rng: np.random.Generator) -> None:
    """Draw the named factors and write them into the model.

    Args:
        model: Has a geom ``table``, a light ``lamp`` and a camera ``front``; changed in place.
        factors: Among ``FACTORS``. ``colour`` shifts every object's colour, ``light`` moves and dims the lamp,
            ``camera`` moves the camera by up to 3 cm, ``table`` recolours the table.
        rng: Where the draws come from; factors that are not named draw nothing.
    """
    if "colour" in factors:
        for geom in range(model.ngeom):
            if model.geom(geom).name not in FIXED_COLOUR:
                shifted = model.geom_rgba[geom, :3] + rng.uniform(-0.2, 0.2, 3)
                model.geom_rgba[geom, :3] = np.clip(shifted, 0.0, 1.0)
    if "light" in factors:
        model.light("lamp").pos[:] += rng.uniform(-0.4, 0.4, 3)
        model.light("lamp").diffuse[:] = rng.uniform(0.2, 0.8)
    if "camera" in factors:
        model.camera("front").pos[:] += rng.uniform(-0.03, 0.03, 3)
    if "table" in factors:
        model.geom("table").rgba[:3] = rng.uniform(0.2, 0.9, 3)
