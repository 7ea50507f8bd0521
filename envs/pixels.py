"""Any MuJoCo environment of gymnasium, seen through a camera."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.envs.mujoco import MujocoEnv

from worldrl.envs.moments import Moments
from worldrl.envs.rendering import shared_renderer
from worldrl.envs.simulator import mujoco
from worldrl.envs.steps import as_action, count_real_step
from worldrl.errors import ConfigError
from worldrl.types import Array

PROPRIO = ("actuated", "qpos", "observation")
BOUND = 1000.0
"""Proprioception is clipped to this, in whatever unit it has: a space without bounds cannot be checked."""
TRANSPARENT = (gym.wrappers.PassiveEnvChecker, gym.wrappers.OrderEnforcing, gym.wrappers.TimeLimit)
"""Wrappers of ``gymnasium.make`` whose work is done here."""
LENSES = ("azimuth", "elevation", "distance", "lookat")


class PixelEnv(gym.Env[Any, Array]):
    """A MuJoCo environment of gymnasium whose observation is a frame and proprioception.

    Observation: ``image`` ``(size, size, 3)`` uint8; ``proprio`` ``(q,)`` float32.
    Action ``(a,)`` in ``[-1, 1]``, stretched to the wrapped environment's range.
    Reward: the wrapped environment's. Success terminates, and so does what terminates the wrapped environment;
    ``max_steps`` decisions truncate.
    ``info["success"]``: what ``success`` says, else what the wrapped environment's own ``info`` says, else False.

    Args:
        env: The environment, or the id to make it from; its time limit is replaced by ``max_steps``.
        render_mode: ``"rgb_array"`` or None; images are part of the observation either way.
        size: Height and width of a frame in pixels.
        camera: Name of a camera of the model; or a free camera from any of ``azimuth`` and ``elevation`` (degrees),
            ``distance`` (m) and ``lookat`` (m); None takes what the environment itself would be shown by.
        proprio: ``"actuated"`` for positions and velocities of the joints that a motor drives, ``"qpos"`` for those of
            everything, objects included, ``"observation"`` for the wrapped environment's own vector.
        success: Says of the unwrapped environment whether the task is solved.
        objects: Names of the labelled objects to the names of the bodies whose geoms carry the label.
        max_steps: Decisions until the episode is truncated; None takes the registered time limit.
        drawing: Whether images are drawn; otherwise they are black.

    Raises:
        ConfigError: If the environment has no MuJoCo model or carries wrappers, or an option cannot be used with it.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 25}

    def __init__(
        self,
        env: gym.Env[Any, Any] | str,
        render_mode: str | None = None,
        *,
        size: int = 98,
        camera: str | Mapping[str, Any] | None = None,
        proprio: str = "actuated",
        success: Callable[[Any], bool] | None = None,
        objects: Mapping[str, str | Sequence[str]] | None = None,
        max_steps: int | None = None,
        drawing: bool = True,
    ) -> None:
        env = gym.make(env) if isinstance(env, str) else env
        self.drawing = drawing
        self.mujoco_env = _bare(env)
        self.model, self.data = self.mujoco_env.model, self.mujoco_env.data
        registered = env.spec.max_episode_steps if env.spec else None
        limit = registered if max_steps is None else max_steps
        if limit is None:
            raise ConfigError("max_steps must be given for an environment that is registered without a time limit.")
        if size < 8 or limit < 1:
            raise ConfigError(f"size must be at least 8 and max_steps at least 1, got {size} and {limit}.")
        self.max_steps, self.render_mode, self.size, self.success = limit, render_mode, size, success
        self.objects = tuple(objects or {})
        self._bodies = [[of] if isinstance(of, str) else list(of) for of in (objects or {}).values()]
        self._labels = _label_table(self.model, objects or {})
        self._camera = _camera(self.mujoco_env, camera)
        self._family = f"pixels/{_fingerprint(self.model)}"
        self._read_proprio = _proprio(self.mujoco_env, proprio)
        self._low, self._high = _action_range(self.mujoco_env)
        self._moments = Moments(self.mujoco_env)
        self._age = 0
        self.action_space = spaces.Box(-1.0, 1.0, self._low.shape, np.float32)
        self.observation_space = spaces.Dict(
            {
                "image": spaces.Box(0, 255, (size, size, 3), np.uint8),
                "proprio": spaces.Box(-BOUND, BOUND, self._read_proprio().shape, np.float32),
            }
        )

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Array], dict[str, Any]]:
        """Reset the wrapped environment; the same seed starts the same episode."""
        super().reset(seed=seed)
        self._age = 0
        self._moments.rewind()
        _, info = self.mujoco_env.reset(seed=seed, options=options)
        self._moments.settle()
        return self._observe(), {**info, "success": self._solved(info)}

    def step(self, action: Array) -> tuple[dict[str, Array], float, bool, bool, dict[str, Any]]:
        """Take one decision in the wrapped environment.

        Raises:
            DataError: If the action is of another shape.
            NumericsError: If it is not finite.
        """
        chosen = as_action(action, len(self._low))
        count_real_step()
        share = (np.clip(chosen, -1.0, 1.0) + 1.0) / 2.0
        warnings = self.data.warning.number.sum()
        act = (self._low + share * (self._high - self._low)).astype(np.float32)
        _, reward, terminated, truncated, details = self.mujoco_env.step(act)
        self._moments.settle()
        self._age += 1
        unstable = bool(self.data.warning.number.sum() > warnings)
        solved = self._solved(details) and not unstable
        info: dict[str, Any] = {**details, "success": solved} | ({"mujoco_warning": True} if unstable else {})
        terminated = not unstable and (bool(terminated) or solved)
        truncated = not terminated and (bool(truncated) or unstable or self._age >= self.max_steps)
        return self._observe(), 0.0 if unstable else float(reward), terminated, truncated, info

    def render(self) -> npt.NDArray[np.uint8] | None:
        """Return the view ``(size, size, 3)`` uint8."""
        return None if self.render_mode is None else self._image()

    def close(self) -> None:
        """Close the wrapped environment."""
        self.mujoco_env.close()  # type: ignore[no-untyped-call]

    def labels(self) -> npt.NDArray[np.uint8]:
        """Return which object is seen where ``(size, size)`` uint8: 0 none, ``i + 1`` for ``objects[i]``."""
        return self._labels[shared_renderer().segment(self.model, self.data, **self._view())]

    def positions(self) -> npt.NDArray[np.float64]:
        """Return where each of the objects is ``(k, 3)`` in metres: the mean of the origins of its bodies."""
        places = [np.mean([self.data.body(name).xpos for name in names], axis=0) for names in self._bodies]
        return np.stack(places) if places else np.zeros((0, 3))

    def state(self) -> npt.NDArray[np.float64]:
        """Return ``mjSTATE_INTEGRATION`` ``(s,)``."""
        return self._moments.state()

    def fields(self) -> dict[str, Array]:
        """Return copies of the model fields that a reset may change."""
        return self._moments.fields()

    def params(self) -> dict[str, Any]:
        """Return how many decisions the episode is old, and the numeric attributes that its reset changed."""
        return {"age": self._age, "attributes": self._moments.attributes()}

    def restore(self, state: Array, fields: Mapping[str, Array], params: Mapping[str, Any]) -> dict[str, Array]:
        """Put the simulator into a recorded moment and return its observation."""
        self._age = int(params.get("age", 0))
        self._moments.restore(state, fields, params.get("attributes", {}))
        return self._observe()

    def _solved(self, info: Mapping[str, Any]) -> bool:
        if self.success is not None:
            return bool(self.success(self.mujoco_env))
        return bool(info.get("success", info.get("is_success", False)))

    def _observe(self) -> dict[str, Array]:
        proprio = np.clip(self._read_proprio(), -BOUND, BOUND)
        image = self._image() if self.drawing else np.zeros((self.size, self.size, 3), np.uint8)
        return {"image": image, "proprio": proprio.astype(np.float32)}

    def _image(self) -> npt.NDArray[np.uint8]:
        return shared_renderer().draw(self.model, self.data, **self._view())

    def _view(self) -> dict[str, Any]:
        return {"family": self._family, "camera": self._camera, "height": self.size, "width": self.size}


def _bare(env: gym.Env[Any, Any]) -> MujocoEnv:
    """Return the environment without the wrappers of ``gymnasium.make``.

    Raises:
        ConfigError: If there are other wrappers, which would silently be left out, or no MuJoCo environment is inside.
    """
    bare = env.unwrapped
    if not isinstance(bare, MujocoEnv):
        raise ConfigError(f"env must be a MuJoCo environment of gymnasium, got {type(bare).__name__}.")
    while isinstance(env, gym.Wrapper):
        if not isinstance(env, TRANSPARENT):
            raise ConfigError(f"env must carry no wrappers, got {type(env).__name__}: wrap the PixelEnv instead.")
        env = env.env
    return bare


def _action_range(env: MujocoEnv) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    space = env.action_space
    if not isinstance(space, spaces.Box) or not space.is_bounded():
        raise ConfigError(f"env must have a bounded Box of actions, got {space}.")
    return space.low.astype(np.float64), space.high.astype(np.float64)


def _camera(env: MujocoEnv, wanted: str | Mapping[str, Any] | None) -> int | mujoco.MjvCamera:
    """Return the index of a fixed camera, or a free one."""
    known = [env.model.cam(i).name for i in range(env.model.ncam)]
    if isinstance(wanted, str) and wanted not in known:
        raise ConfigError(
            f"camera must be one of {', '.join(known) or 'none (the model has no camera)'}, got '{wanted}'."
        )
    if wanted is None and "track" in known:
        wanted = "track"
    if isinstance(wanted, str):
        return known.index(wanted)
    unknown = set(wanted or {}) - set(LENSES)
    if unknown:
        raise ConfigError(f"camera must have only {', '.join(LENSES)}, got {', '.join(sorted(unknown))}.")
    camera = mujoco.MjvCamera()
    mujoco.mjv_defaultFreeCamera(env.model, camera)
    own = env.mujoco_renderer.default_cam_config or {}
    for name, value in {**own, **(wanted or {})}.items():
        if name == "lookat":
            camera.lookat[:] = value
        elif name in LENSES:
            setattr(camera, name, value)
    return camera


def _proprio(env: MujocoEnv, kind: str) -> Callable[[], npt.NDArray[np.float64]]:
    """Return what reads the proprioception.

    Raises:
        ConfigError: If the kind is unknown or the environment does not have it.
    """
    if kind not in PROPRIO:
        raise ConfigError(f"proprio must be one of {', '.join(PROPRIO)}, got '{kind}'.")
    if kind == "qpos":
        return env.state_vector
    if kind == "observation":
        if not isinstance(env.observation_space, spaces.Box) or len(env.observation_space.shape) != 1:
            raise ConfigError("proprio must not be 'observation' where the environment's own is no vector: try 'qpos'.")
        return env._get_obs  # type: ignore[attr-defined,no-any-return]
    driven = env.model.actuator_trnid[env.model.actuator_trntype == mujoco.mjtTrn.mjTRN_JOINT.value, 0]
    joints = np.unique(driven[env.model.jnt_type[driven] >= mujoco.mjtJoint.mjJNT_SLIDE.value])
    if not len(joints):
        raise ConfigError("proprio must not be 'actuated' where no motor drives a hinge or a slide: try 'qpos'.")
    positions, velocities = env.model.jnt_qposadr[joints], env.model.jnt_dofadr[joints]
    return lambda: np.concatenate([env.data.qpos[positions], env.data.qvel[velocities]])


def _label_table(model: mujoco.MjModel, objects: Mapping[str, str | Sequence[str]]) -> npt.NDArray[np.uint8]:
    """Map geom id to label; the last entry answers for id -1, no geom."""
    known = [model.body(i).name for i in range(model.nbody)]
    table = np.zeros(model.ngeom + 1, np.uint8)
    for label, (name, bodies) in enumerate(objects.items(), start=1):
        for body in [bodies] if isinstance(bodies, str) else bodies:
            if body not in known:
                named = ", ".join(filter(None, known))
                raise ConfigError(f"objects['{name}'] must be among the bodies {named}, got '{body}'.")
            table[:-1][model.geom_bodyid == known.index(body)] = label
    return table


def _fingerprint(model: mujoco.MjModel) -> str:
    """Name the models that may share one drawing context: those with the same shapes and textures."""
    parts = (model.mesh_vert, model.mesh_face, model.hfield_data, model.tex_data, model.geom_type, model.geom_dataid)
    return hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts)).hexdigest()[:16]
