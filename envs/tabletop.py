"""The table-top suite: what all its tasks share."""

import copy
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from worldrl.envs.rendering import shared_renderer
from worldrl.envs.simulator import mujoco
from worldrl.envs.steps import as_action, count_real_step
from worldrl.envs.variation import FACTORS, vary
from worldrl.errors import ConfigError
from worldrl.types import Array

FRAME_SKIP = 15
"""Simulation steps a decision: 60 ms."""
REACH = 0.025
"""Metres by which a full action moves the hand's target ahead of the hand."""
OPEN = 0.03
"""Metres that each finger travels."""
FINGERS = ["left_finger", "right_finger"]
"""The bodies of the object ``fingers``, the first of every task: where the hand is, in the picture's coordinates."""
FIELDS = ("body_pos", "body_quat", "geom_rgba", "light_pos", "light_diffuse", "cam_pos", "cam_quat")
"""The model fields that a reset may change."""
DISTRACTORS = {name: name for name in ("distractor_0", "distractor_1", "distractor_2")}
"""The objects and bodies of ``distractors.xml``, which every task scatters."""


class TabletopEnv(gym.Env[Any, Array]):
    """A hand on three slides above a table; subclasses say what stands there and when the task is solved.

    Observation: ``image`` ``(size, size, 3)`` uint8; ``proprio`` ``(7,)`` float32: fingertip position (m), opening of
    the fingers (m), velocity of the hand (m/s).
    Action ``(4,)`` in ``[-1, 1]``: where the hand's target is put ahead of the hand along x, y, z (one is 2.5 cm), and
    the fingers (-1 closed, 1 open).
    Reward: in ``[0, 1]``, one when solved. Success terminates; ``max_steps`` decisions truncate.
    ``info["success"]``: whether the task is solved.

    Args:
        render_mode: ``"rgb_array"`` or None; images are part of the observation either way.
        size: Height and width of a frame in pixels.
        max_steps: Decisions until the episode is truncated.
        variation: Factors that every reset draws anew: ``colour``, ``light``, ``camera``, ``table``.
        drawing: Whether images are drawn; otherwise they are black.

    Raises:
        ConfigError: If a factor of variation is unknown or a number is out of range.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 16}
    reach: ClassVar[float] = REACH
    axes: ClassVar[tuple[str, ...]] = ("x", "y", "z", "fingers")
    """What the numbers of an action are called."""
    scene: ClassVar[str]
    objects: tuple[str, ...]
    bodies: ClassVar[dict[str, str]]
    """Object name to the body whose geoms carry its label."""

    def __init__(
        self,
        render_mode: str | None = None,
        *,
        size: int = 98,
        max_steps: int = 50,
        variation: tuple[str, ...] | list[str] = (),
        drawing: bool = True,
    ) -> None:
        unknown = set(variation) - set(FACTORS)
        if unknown:
            raise ConfigError(f"variation must be among {', '.join(FACTORS)}, got {', '.join(sorted(unknown))}.")
        if size < 8 or max_steps < 1:
            raise ConfigError(f"size must be at least 8 and max_steps at least 1, got {size} and {max_steps}.")
        self.drawing = drawing
        self.model = copy.copy(_compiled(self.scene))
        self.data = mujoco.MjData(self.model)
        self.objects = ("fingers", *self.bodies)
        self.render_mode, self.size, self.max_steps, self.variation = render_mode, size, max_steps, tuple(variation)
        self.observation_space = spaces.Dict(
            {
                "image": spaces.Box(0, 255, (size, size, 3), np.uint8),
                "proprio": spaces.Box(-10.0, 10.0, (7,), np.float32),
            }
        )
        self.action_space = spaces.Box(-1.0, 1.0, (4,), np.float32)
        self._defaults = {name: getattr(self.model, name).copy() for name in FIELDS}
        self._camera = mujoco.mj_name2id(self.model, mujoco.mjtObj.mjOBJ_CAMERA, "front")
        self._labels = self._label_table()
        self._tip = mujoco.mj_name2id(self.model, mujoco.mjtObj.mjOBJ_SITE, "fingertip")
        self._age = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Array], dict[str, Any]]:
        """Place hand and objects at random, and draw the factors of variation anew."""
        super().reset(seed=seed)
        mujoco.mj_resetData(self.model, self.data)
        for name, value in self._defaults.items():
            getattr(self.model, name)[:] = value
        self._age = 0
        self.data.qpos[:3] = self.np_random.uniform([-0.18, -0.16, 0.06], [0.18, 0.14, 0.16])
        self.data.qpos[3:5] = 0.0
        self._place(self.np_random)
        vary(self.model, self.variation, self.np_random)
        mujoco.mj_forward(self.model, self.data)
        return self._observe(), {"success": self._solved()}

    def step(self, action: Array) -> tuple[dict[str, Array], float, bool, bool, dict[str, Any]]:
        """Move for one decision of 60 ms.

        Raises:
            DataError: If the action is of another shape.
            NumericsError: If it is not finite.
        """
        chosen = as_action(action, 4)
        count_real_step()
        act = np.clip(chosen, -1.0, 1.0)
        reach = self.data.qpos[:3] + REACH * act[:3]
        self.data.ctrl[:3] = np.clip(reach, self.model.jnt_range[:3, 0], self.model.jnt_range[:3, 1])
        self.data.ctrl[3:5] = OPEN * (act[3] + 1.0) / 2.0
        warnings = self.data.warning.number.sum()
        mujoco.mj_step(self.model, self.data, FRAME_SKIP)
        mujoco.mj_forward(self.model, self.data)  # mj_step leaves poses one step behind qpos
        self._age += 1
        unstable = bool(self.data.warning.number.sum() > warnings)
        solved = self._solved() and not unstable
        info = {"success": solved} | ({"mujoco_warning": True} if unstable else {})
        truncated = not solved and (unstable or self._age >= self.max_steps)
        rew = 1.0 if solved else 0.0 if unstable else 0.9 * self._progress()
        return self._observe(), rew, solved, truncated, info

    def render(self) -> npt.NDArray[np.uint8] | None:
        """Return the view ``(size, size, 3)`` uint8."""
        return None if self.render_mode is None else self._image()

    def labels(self) -> npt.NDArray[np.uint8]:
        """Return which object is seen where ``(size, size)`` uint8: 0 none, ``i + 1`` for ``objects[i]``."""
        geoms = shared_renderer().segment(self.model, self.data, **self._view())
        return self._labels[geoms]

    def state(self) -> npt.NDArray[np.float64]:
        """Return ``mjSTATE_INTEGRATION`` ``(s,)``."""
        spec = mujoco.mjtState.mjSTATE_INTEGRATION
        state = np.empty(mujoco.mj_stateSize(self.model, spec))
        mujoco.mj_getState(self.model, self.data, state, spec)
        return state

    def fields(self) -> dict[str, Array]:
        """Return copies of the model fields that a reset may change."""
        return {name: getattr(self.model, name).copy() for name in FIELDS}

    def params(self) -> dict[str, Any]:
        """Return the task's own parameters: how many decisions the episode is old."""
        return {"age": self._age}

    def restore(self, state: Array, fields: Mapping[str, Array], params: Mapping[str, Any]) -> dict[str, Array]:
        """Put the simulator into a recorded moment and return its observation."""
        for name, value in fields.items():
            getattr(self.model, name)[:] = value
        self._age = int(params.get("age", 0))
        spec = mujoco.mjtState.mjSTATE_INTEGRATION
        mujoco.mj_setState(self.model, self.data, np.array(state, np.float64), spec)
        mujoco.mj_forward(self.model, self.data)
        # mj_forward refreshes the solver's warm start, which belongs to the state: put it back.
        mujoco.mj_setState(self.model, self.data, np.array(state, np.float64), spec)
        return self._observe()

    def fingertip(self) -> npt.NDArray[np.float64]:
        """Return the position of the fingertip ``(3,)`` in metres."""
        return np.array(self.data.site_xpos[self._tip])

    def position(self, body: str) -> npt.NDArray[np.float64]:
        """Return the position of a body ``(3,)`` in metres."""
        return np.array(self.data.body(body).xpos)

    def positions(self) -> npt.NDArray[np.float64]:
        """Return where each of the objects is ``(k, 3)`` in metres: the fingertip, and the origins of the bodies."""
        return np.stack([self.fingertip(), *map(self.position, self.bodies.values())])

    def _place(self, rng: np.random.Generator) -> None:
        """Place the task's objects; ``data`` has been reset."""
        raise NotImplementedError

    def _solved(self) -> bool:
        raise NotImplementedError

    def _progress(self) -> float:
        """Return how near the task is to being solved, in ``[0, 1]``."""
        raise NotImplementedError

    def _scatter(self, names: list[str], taken: list[Array], rng: np.random.Generator, *, gap: float = 0.08) -> None:
        """Put bodies on free spots of the table, at least ``gap`` metres from each other and from ``taken``."""
        for name in names:
            spot = rng.uniform([-0.2, -0.17], [0.2, 0.17])
            for _ in range(200):
                if all(np.linalg.norm(spot - other[:2]) >= gap for other in taken):
                    break
                spot = rng.uniform([-0.2, -0.17], [0.2, 0.17])
            self.model.body(name).pos[:2] = spot
            taken = [*taken, spot]

    def _observe(self) -> dict[str, Array]:
        proprio = np.concatenate([self.fingertip(), [self.data.qpos[3]], self.data.qvel[:3]])
        image = self._image() if self.drawing else np.zeros((self.size, self.size, 3), np.uint8)
        return {"image": image, "proprio": np.clip(proprio, -10.0, 10.0).astype(np.float32)}

    def _image(self) -> npt.NDArray[np.uint8]:
        return shared_renderer().draw(self.model, self.data, **self._view())

    def _view(self) -> dict[str, Any]:
        return {"family": self.scene, "camera": self._camera, "height": self.size, "width": self.size}

    def _label_table(self) -> npt.NDArray[np.uint8]:
        """Map geom id to label; the last entry answers for id -1, no geom."""
        table = np.zeros(self.model.ngeom + 1, np.uint8)
        for label, bodies in enumerate([FINGERS, *([body] for body in self.bodies.values())], start=1):
            ids = [self.model.body(body).id for body in bodies]
            table[:-1][np.isin(self.model.geom_bodyid, ids)] = label
        return table


@cache
def _compiled(scene: str) -> mujoco.MjModel:
    return mujoco.MjModel.from_xml_path(str(files("worldrl.envs").joinpath(f"assets/{scene}.xml")))
