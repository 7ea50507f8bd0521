"""Scripts for the table-top tasks: smooth functions of what the simulator knows, so that they can be cloned."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from worldrl.agents.metaworld_experts import metaworld_script
from worldrl.errors import ConfigError
from worldrl.types import Array

Script = Callable[[Any], Array]
"""Reads an unwrapped environment and returns the action ``(a,)`` that a skilled hand would take now."""

GAIN = 1.2
"""Share of the remaining way that an expert asks for in one decision; one asks for all of it."""


def reach_towards(env: Any, target: Array, *, gripper: float) -> npt.NDArray[np.float32]:
    """Return the action that moves the fingertip towards ``target`` ``(3,)`` in metres."""
    step = GAIN * (target - env.fingertip()) / env.reach
    return np.asarray(np.clip(np.append(step, gripper), -1.0, 1.0), np.float32)


def hover(env: Any, target: Array, *, height: float, width: float, slack: float = 0.0) -> npt.NDArray[np.float64]:
    """Return a way-point above ``target`` that sinks smoothly as the fingertip comes above it.

    A smooth funnel and no phases: a hard switch between "go above" and "go down" cannot be cloned from few episodes.

    Args:
        env: Has ``fingertip()``.
        target: ``(3,)`` metres.
        height: Metres above the target, far away.
        width: Horizontal metres at which about half of the height is reached.
        slack: Horizontal metres that still count as above the target.
    """
    away = max(0.0, float(np.linalg.norm((target - env.fingertip())[:2])) - slack)
    return np.asarray(target + np.array([0.0, 0.0, height * _far(away / width)]))


def shove(env: Any, start: Array, direction: Array, *, height: float) -> npt.NDArray[np.float32]:
    """Return the action that comes down at ``start``, behind something, and goes on along ``direction``, through it.

    Args:
        env: Has ``fingertip()``.
        start: ``(3,)`` metres; moves along with what is pushed.
        direction: Horizontal unit vector ``(2,)``.
        height: Metres above ``start`` at which the fingertip travels while it is not behind it.
    """
    offset, above = (env.fingertip() - start)[:2], max(0.0, float(env.fingertip()[2] - start[2]))
    ahead = float(offset @ direction)
    beside = float(np.linalg.norm(offset - ahead * direction))
    far = _far(float(np.hypot(max(0.0, beside - 0.004), max(0.0, ahead - 0.02))) / 0.025)
    push = 0.06 * (1.0 - far) ** 2 * (1.0 - _far(above / 0.015)) ** 2
    return reach_towards(env, start + np.append(push * direction, height * far), gripper=-1.0)


def reach(env: Any) -> Array:
    """Go straight to the ball."""
    return reach_towards(env, env.position("target"), gripper=-1.0)


def touch(env: Any) -> Array:
    """Go straight to the bead."""
    return reach_towards(env, env.position("bead") + np.array([0.0, 0.0, 0.012]), gripper=-1.0)


def push(env: Any) -> Array:
    """Come down behind the block, seen from the mark, and push it there; steer by going round the block."""
    block = env.position("block")
    way = (env.position("goal") - block)[:2]
    direction = way / max(float(np.linalg.norm(way)), 1e-6)
    start = np.append(block[:2] - 0.055 * direction, 0.02)
    return shove(env, start, direction, height=0.08)


def press_button(env: Any) -> Array:
    """Come down on the cap from above, fingers closed, and push it through its travel."""
    top = env.position("cap") + np.array([0.0, 0.0, 0.0125])
    target = hover(env, top, height=0.09, width=0.03)
    target[2] -= 0.03
    return reach_towards(env, target, gripper=-1.0)


def open_drawer(env: Any) -> Array:
    """Come down between the drawer's front and the handle's bar, and pull the more, the lower the fingers are."""
    hook = env.handle() - np.array([0.0, 0.0, 0.015])
    target = hover(env, hook, height=0.08, width=0.025, slack=0.01)
    above = max(0.0, float(env.fingertip()[2] - hook[2]))
    target[1] -= 0.06 * (1.0 - _far(above / 0.02)) ** 2
    return reach_towards(env, target, gripper=-1.0)


def close_drawer(env: Any) -> Array:
    """Come down in front of the handle's bar and push the drawer in."""
    return shove(env, env.handle() - np.array([0.0, 0.06, 0.01]), np.array([0.0, 1.0]), height=0.07)


def pick_place(env: Any) -> Array:
    """Close the fingers where the cube is between them, carry it over the plate, come down and let go.

    Which of the two targets counts follows from what is between the fingers now, so that a lost cube is fetched again.
    """
    tip, cube, plate = env.fingertip(), env.position("cube"), env.position("plate")
    grasp = cube - np.array([0.0, 0.0, 0.008])
    between = 1.0 - _far(float(np.linalg.norm(tip - grasp)) / 0.012)
    held = between * float(np.clip((0.022 - env.data.qpos[3]) / 0.004, 0.0, 1.0))
    fetch = hover(env, grasp, height=0.08, width=0.03)
    beside = float(np.linalg.norm((plate - cube)[:2]))
    over = 1.0 - _far(max(0.0, beside - 0.01) / 0.02)
    free = max(over, float(np.clip(env.lift() / 0.025, 0.0, 1.0)))
    carry = np.append(tip[:2] + free * (plate - cube)[:2], 0.012 + 0.055 * (1.0 - over))
    target = fetch + held * (carry - fetch)
    landed = over * float(np.clip((0.014 - env.lift()) / 0.004, 0.0, 1.0))
    gripper = 1.0 - 2.0 * float(np.clip(2.0 * between - 0.4, 0.0, 1.0)) * (1.0 - landed)
    return reach_towards(env, target, gripper=gripper)


def _far(distance: float) -> float:
    """Return zero at zero, a half at one and one at infinity, smoothly."""
    return distance**2 / (1.0 + distance**2)


SCRIPTS: dict[str, Script] = {
    "ReachEnv": reach,
    "PushEnv": push,
    "PressButtonEnv": press_button,
    "OpenDrawerEnv": open_drawer,
    "CloseDrawerEnv": close_drawer,
    "PickPlaceEnv": pick_place,
    "TouchEnv": touch,
    "MetaWorldEnv": metaworld_script,
}
"""Class name of the environment to its script."""


def script_for(env: Any) -> Script:
    """Return the expert of an environment.

    Raises:
        ConfigError: If nobody wrote one.
    """
    name = type(env.unwrapped).__name__
    if name not in SCRIPTS:
        raise ConfigError(f"no scripted expert for {name}: there is one for each of {', '.join(sorted(SCRIPTS))}.")
    return SCRIPTS[name]
