"""Rows of the real environments, drawn by us and as MuJoCo draws by default."""

import json
import os
import subprocess
import sys
from functools import partial
from typing import Any

import numpy as np

from worldrl.envs.rendering import shared_renderer
from worldrl.errors import ConfigError
from worldrl.recipes.parts import make_env
from worldrl.recipes.timing.rate import Row, rate, timed

LIMIT_S = 180.0
"""Seconds after which drawing by default is given up; where it works a frame takes 0.3."""
ENDLESS = 10**9


def real(env_id: str, kwargs: dict[str, Any], *, seconds: float) -> list[Row]:
    """Time decisions of an environment with our drawing, and what drawing and labels are of it.

    Raises:
        ConfigError: If MuJoCo does not draw it.
    """
    env = make_env(env_id, kwargs | {"max_steps": ENDLESS})
    if not hasattr(env.unwrapped, "_view"):
        raise ConfigError(f"env must be a task that MuJoCo draws, got '{env_id}'.")
    env.reset(seed=0)
    act = np.zeros(env.action_space.shape, np.float32)
    group, size = "real environment", kwargs["size"]
    rows = [
        timed(call, group=group, name=f"{env_id} at {size} px, {what}", unit=unit, seconds=seconds, moved=0)
        for call, what, unit in (
            (partial(env.step, act), "fast drawing", "env steps"),
            (env.unwrapped._image, "drawing alone", "frames"),
            (env.unwrapped.labels, "labels alone", "frames"),
        )
    ]
    env.close()
    return rows


def real_by_default(env_id: str, kwargs: dict[str, Any], *, seconds: float) -> Row:
    """Time decisions of an environment that MuJoCo's own renderer draws as it comes, in a process of its own.

    In another process, because two GL contexts in one return each other's frames.

    Raises:
        ConfigError: If the process fails or takes longer than three minutes.
    """
    words = [sys.executable, "-m", __name__, env_id, json.dumps(kwargs), str(seconds)]
    environment = os.environ | {"MUJOCO_GL": shared_renderer().backend}
    try:
        done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=True)
    except subprocess.SubprocessError as error:
        told = (getattr(error, "stderr", "") or str(error)).strip().splitlines()[-1]
        raise ConfigError(f"{env_id} could not be drawn with MuJoCo's defaults: {told}") from error
    name = f"{env_id} at {kwargs['size']} px, drawn by MuJoCo's defaults"
    return Row("real environment", name, float(done.stdout.split()[-1]), "env steps")


def _steps_by_default(env_id: str, kwargs: dict[str, Any], seconds: float) -> float:
    import mujoco

    env = make_env(env_id, kwargs | {"max_steps": ENDLESS, "drawing": False})
    env.reset(seed=0)
    bare, act = env.unwrapped, np.zeros(env.action_space.shape, np.float32)
    with mujoco.Renderer(bare.model, bare.size, bare.size) as renderer:

        def step() -> None:
            env.step(act)
            renderer.update_scene(bare.data, camera=bare._view()["camera"])
            renderer.render()

        return rate(step, seconds)


if __name__ == "__main__":
    print(_steps_by_default(sys.argv[1], json.loads(sys.argv[2]), float(sys.argv[3])))
