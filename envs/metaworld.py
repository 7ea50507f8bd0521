"""Meta-World's fifty table-top tasks as environments of this package."""

import difflib
from collections.abc import Mapping
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from worldrl.envs.moments import Moments
from worldrl.envs.rendering import shared_renderer
from worldrl.envs.simulator import mujoco
from worldrl.envs.steps import as_action, count_real_step
from worldrl.errors import ConfigError
from worldrl.types import Array

SCENERY = ("world", "tablelink", "RetainingWall", "base", "mocap", "wall", "")
"""Roots of the body trees that are no objects: floor, table, rim, robot, its handle, walls in the way, and the one
without a name, a table with a hole."""
NEAR = {"corner2": ((1.0, 0.45, 0.55), (0.0, 0.7, 0.12), 33.0)}
"""Where a camera stands and looks (m), and its field of view (degrees), instead of Meta-World's own.

Nearer, because a ball of two pixels cannot be learned from, and from the side (our choice), because the hand hides what
it moves from a camera behind it: of lock, handle and target, a third or less was seen in a tenth of the frames."""
FINGERS = ("rightclaw", "rightpad", "leftclaw", "leftpad")
"""The bodies that touch things: the first object, as on the table-top, so that where hand and things are in the picture
can be compared."""
MARK = 1e-3
"""Metres within which a site marks the target."""


class MetaWorldEnv(gym.Env[Any, Array]):
    """One task of Meta-World, seen through a camera; a seed determines the whole episode.

    Observation: ``image`` ``(size, size, 3)`` uint8, with the site that marks the target drawn in; ``proprio``
    ``(10,)`` float32: position of the hand (m), opening of the gripper (0 closed, 1 open: 10 cm), velocity of the hand
    (m/s), and how far the handle that actions move, and that pulls the hand along, is ahead of it (m). Where the hand
    will be next cannot be told without the last two: with them a linear model explains 0.94 to 0.97 of its motion in
    lever-pull and coffee-pull, without them 0.85 to 0.96. A robot knows its own speed and set point.
    Action ``(4,)`` in ``[-1, 1]``: how far the hand's handle moves along x, y, z (one is 1 cm a repetition), and the
    effort of the gripper (-1 opens, 1 closes).
    Reward: Meta-World's dense reward after the last repetition, brought to ``[0, 1]``; one when solved. Success
    terminates, within the decision, unless told not to; ``max_steps`` decisions truncate.
    ``info["success"]``: whether the task is solved.

    Args:
        task: Name without the suffix, for example ``"drawer-open"``.
        render_mode: ``"rgb_array"`` or None; images are part of the observation either way.
        size: Height and width of a frame in pixels.
        camera: Name of a camera of the model.
        action_repeat: Meta-World steps of 12.5 ms a decision.
        max_steps: Decisions until the episode is truncated.
        terminate: Whether success ends the episode. Where it does, recorded data end at the very border of success, and
            neither dynamics nor classifier learn what lies behind it.
        drawing: Whether images are drawn; otherwise they are black, and physics (and labels) cost a third.

    Raises:
        ConfigError: If metaworld is not installed, the task or the camera is unknown, or a number is out of range.

    Source: Yu et al., Meta-World, arXiv 1910.10897; metaworld 3.1.1 (MIT).
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 27}
    axes: ClassVar[tuple[str, ...]] = ("x", "y", "z", "fingers")
    """What the numbers of an action are called."""

    def __init__(
        self,
        task: str,
        render_mode: str | None = None,
        *,
        size: int = 98,
        camera: str = "corner2",
        action_repeat: int = 3,
        max_steps: int = 50,
        terminate: bool = True,
        drawing: bool = True,
    ) -> None:
        if size < 8 or action_repeat < 1 or max_steps < 1:
            raise ConfigError(
                "size must be at least 8, action_repeat and max_steps at least 1, "
                f"got {size}, {action_repeat} and {max_steps}."
            )
        self.drawing = drawing
        self.sawyer = _build(task)
        self.model, self.data = self.sawyer.model, self.sawyer.data
        self.task, self.render_mode, self.size = task, render_mode, size
        self.action_repeat, self.max_steps, self.terminate = action_repeat, max_steps, terminate
        self.observation_space = spaces.Dict(
            {
                "image": spaces.Box(0, 255, (size, size, 3), np.uint8),
                "proprio": spaces.Box(-2.0, 2.0, (10,), np.float32),
            }
        )
        self.action_space = spaces.Box(-1.0, 1.0, (4,), np.float32)
        self._hand = self.model.body("hand").id
        self._camera = self._place_camera(camera)
        self._moments = Moments(self.sawyer)
        self._age = 0
        self._arrange(np.random.default_rng(0))
        self._mark_target()
        self.objects, self._labels = self._label_table()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Array], dict[str, Any]]:
        """Place objects and target at random."""
        super().reset(seed=seed)
        self._age = 0
        self._arrange(self.np_random)
        _, info = self.sawyer.evaluate_state(self._vector, np.zeros(4, np.float32))
        return self._observe(), {"success": bool(info["success"])}

    def step(self, action: Array) -> tuple[dict[str, Array], float, bool, bool, dict[str, Any]]:
        """Repeat an action for one decision, or until the task is solved.

        Raises:
            DataError: If the action is of another shape.
            NumericsError: If it is not finite.
        """
        chosen = as_action(action, 4)
        count_real_step()
        act = np.clip(chosen.astype(np.float32), -1.0, 1.0)
        warnings = self.data.warning.number.sum()
        for _ in range(self.action_repeat):
            self._vector, reward, _, _, details = self.sawyer.step(act)
            solved = bool(details["success"])
            if solved and self.terminate:
                break
        self._age += 1
        unstable = bool(self.data.warning.number.sum() > warnings)
        solved = solved and not unstable
        info = {"success": solved} | ({"mujoco_warning": True} if unstable else {})
        end = solved and self.terminate
        trunc = not end and (unstable or self._age >= self.max_steps)
        rew = 1.0 if solved else 0.0 if unstable else float(np.clip(reward / 10.0, 0.0, 1.0))
        return self._observe(), rew, end, trunc, info

    def render(self) -> npt.NDArray[np.uint8] | None:
        """Return the view ``(size, size, 3)`` uint8."""
        return None if self.render_mode is None else self._image()

    def labels(self) -> npt.NDArray[np.uint8]:
        """Return which object is seen where ``(size, size)`` uint8: 0 none, ``i + 1`` for ``objects[i]``."""
        return self._labels[shared_renderer().segment(self.model, self.data, **self._view(), sites=True)]

    def state(self) -> npt.NDArray[np.float64]:
        """Return ``mjSTATE_INTEGRATION`` ``(s,)``."""
        return self._moments.state()

    def fields(self) -> dict[str, Array]:
        """Return copies of the model fields that a reset may change."""
        return self._moments.fields()

    def params(self) -> dict[str, Any]:
        """Return how many decisions the episode is old, and what Meta-World noted at its reset, such as the target."""
        return {"age": self._age, "attributes": self._moments.attributes()}

    def restore(self, state: Array, fields: Mapping[str, Array], params: Mapping[str, Any]) -> dict[str, Array]:
        """Put the simulator into a recorded moment and return its observation."""
        self._age = int(params.get("age", 0))
        self._moments.restore(state, fields, params.get("attributes", {}))
        self._vector = self.sawyer._get_obs()
        return self._observe()

    def positions(self) -> npt.NDArray[np.float64]:
        """Return where each of the objects is ``(k, 3)`` in metres: origins of bodies, the target's own place."""
        fingers = np.mean([self.data.body(name).xpos for name in FINGERS], axis=0)
        own = {"fingers": fingers, "target": np.asarray(self.sawyer._target_pos)}
        return np.stack([own[name] if name in own else self.data.body(name).xpos for name in self.objects])

    def vector(self) -> npt.NDArray[np.float64]:
        """Return Meta-World's own observation ``(39,)``: hand, objects, the same a step earlier, and the target."""
        return np.array(self._vector, np.float64)

    def _arrange(self, rng: np.random.Generator) -> None:
        """Draw where things stand, and reset twice with that: the first reset reads some poses before it moves them."""
        self._moments.rewind()
        self.sawyer.np_random = rng
        for frozen in (False, True):
            self.sawyer._freeze_rand_vec = frozen
            mujoco.mj_resetData(self.model, self.data)
            self.sawyer.reset_model()
        self._moments.settle()
        self.sawyer._prev_obs = self.sawyer._get_curr_obs_combined_no_goal()
        self._vector = self.sawyer._get_obs()

    def _observe(self) -> dict[str, Array]:
        hand = self.sawyer._get_curr_obs_combined_no_goal()[:4]
        velocity = np.empty(6)
        mujoco.mj_objectVelocity(self.model, self.data, mujoco.mjtObj.mjOBJ_BODY, self._hand, velocity, 0)
        hand = np.concatenate([hand, velocity[3:], self.data.mocap_pos[0] - hand[:3]])
        image = self._image() if self.drawing else np.zeros((self.size, self.size, 3), np.uint8)
        return {"image": image, "proprio": np.clip(hand, -2.0, 2.0).astype(np.float32)}

    def _image(self) -> npt.NDArray[np.uint8]:
        return shared_renderer().draw(self.model, self.data, **self._view(), sites=True)

    def _view(self) -> dict[str, Any]:
        return {"family": f"metaworld/{self.task}", "camera": self._camera, "height": self.size, "width": self.size}

    def _place_camera(self, name: str) -> int:
        """Return the index of a camera, turned upright: Meta-World's fixed cameras stand on their heads."""
        known = [self.model.cam(i).name for i in range(self.model.ncam)]
        if name not in known:
            raise ConfigError(f"camera must be one of {', '.join(known)}, got '{name}'.")
        index = known.index(name)
        if name in NEAR:
            place, target, fovy = NEAR[name]
            self.model.cam_pos[index], self.model.cam_fovy[index] = place, fovy
            self.model.cam_quat[index] = _look(np.array(place), np.array(target))
            return index
        up = np.empty(3)
        mujoco.mju_rotVecQuat(up, np.array([0.0, 1.0, 0.0]), self.model.cam_quat[index])
        if self.model.cam_bodyid[index] == 0 and up[2] < 0:
            half_turn = np.array([0.0, 0.0, 0.0, 1.0])
            mujoco.mju_mulQuat(self.model.cam_quat[index], self.model.cam_quat[index].copy(), half_turn)
        return index

    def _mark_target(self) -> None:
        """Let only the sites be seen that mark the target."""
        away = np.linalg.norm(self.data.site_xpos - self.sawyer._target_pos, axis=1)
        self.model.site_rgba[away > MARK, 3] = 0.0

    def _label_table(self) -> tuple[tuple[str, ...], npt.NDArray[np.uint8]]:
        """Name what is an object, and map ids of geoms and sites to labels; the last entry answers for id -1.

        Each rigid part is an object of its own, because what a task moves is often a part of something that stands:
        the lock of a door, the nail in a box. The mark of the target is the last object where it is drawn.
        """
        bodies = self.model.geom_bodyid
        parts = np.stack([self.model.body_rootid[bodies], self.model.body_weldid[bodies]], axis=1)
        found = [part for part in np.unique(parts, axis=0) if self.model.body(part[0]).name not in SCENERY]
        names = ["fingers", *(self.model.body(part[part.nonzero()[0].max()]).name for part in found)]
        table = np.zeros(self.model.ngeom + self.model.nsite + 1, np.uint8)
        table[: self.model.ngeom][np.isin(bodies, [self.model.body(name).id for name in FINGERS])] = 1
        for label, part in enumerate(found, start=2):
            table[: self.model.ngeom][(parts == part).all(axis=1)] = label
        marks = self.model.ngeom + np.flatnonzero(self.model.site_rgba[:, 3] > 0)
        table[marks] = len(names) + 1
        return (*names, "target") if len(marks) else tuple(names), table


def _look(place: Array, target: Array) -> Array:
    """Return the quaternion of an upright camera at ``place`` that looks at ``target`` (a camera looks along -z)."""
    back = (place - target) / np.linalg.norm(place - target)
    right = np.cross([0.0, 0.0, 1.0], back)
    right /= np.linalg.norm(right)
    quat = np.empty(4)
    mujoco.mju_mat2Quat(quat, np.stack([right, np.cross(back, right), back], axis=1).ravel())
    return quat


def _build(task: str) -> Any:
    """Build Meta-World's own environment with a target that moves and is told to the experts."""
    try:
        from metaworld.env_dict import ENV_CLS_MAP
    except ImportError as error:
        raise ConfigError('Meta-World tasks need metaworld: pip install "worldrl[metaworld]".') from error
    known = [name.removesuffix("-v3") for name in ENV_CLS_MAP]
    if task not in known:
        near = difflib.get_close_matches(task, known, n=1, cutoff=0.0)[0]
        raise ConfigError(f"task must be one of Meta-World's {len(known)}, got '{task}': did you mean '{near}'?")
    sawyer = ENV_CLS_MAP[f"{task}-v3"]()
    sawyer._set_task_called, sawyer.seeded_rand_vec = True, True
    sawyer._partially_observable = False
    del sawyer.sawyer_observation_space  # cached with the target hidden, and would clip it to zero
    sawyer.max_path_length = np.iinfo(np.int64).max  # our horizon counts, not theirs
    return sawyer
