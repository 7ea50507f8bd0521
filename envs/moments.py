"""Moments of somebody else's MuJoCo environment: taken, and put back bit for bit.

MuJoCo's state is not all there is: a reset may move bodies of the model and note targets and first positions in
attributes of the environment, from which reward and success are computed later.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from worldrl.envs.simulator import mujoco
from worldrl.types import Array

FIELDS = ("body_pos", "body_quat", "geom_rgba", "site_pos")
"""The model fields that a reset may change."""
LIVE = ("xpos", "xquat", "xipos", "geom_xpos", "site_xpos", "qpos", "qvel", "mocap_pos")
"""Arrays of the simulator; an attribute that shares their memory follows the state by itself."""


class Moments:
    """Takes and restores moments of an environment.

    Args:
        env: Has ``model`` and ``data``; how it is now is what ``rewind`` returns to, the MuJoCo state excepted.
    """

    def __init__(self, env: Any) -> None:
        self._env = env
        self._fields = self.fields()
        self._numbers = {name: _copy(value) for name, value in self._read().items()}

    def rewind(self) -> None:
        """Forget what earlier episodes left in the model and in the attributes."""
        self._write(self._fields, {})

    def state(self) -> npt.NDArray[np.float64]:
        """Return ``mjSTATE_INTEGRATION`` ``(s,)``."""
        spec = mujoco.mjtState.mjSTATE_INTEGRATION
        state = np.empty(mujoco.mj_stateSize(self._env.model, spec))
        mujoco.mj_getState(self._env.model, self._env.data, state, spec)
        return state

    def fields(self) -> dict[str, Array]:
        """Return copies of the model fields that a reset may change."""
        return {name: getattr(self._env.model, name).copy() for name in FIELDS}

    def attributes(self) -> dict[str, Any]:
        """Return the numeric attributes that differ from the rewound ones, as plain JSON values."""
        return {
            name: _plain(value)
            for name, value in self._read().items()
            if name not in self._numbers or not _equal(value, self._numbers[name])
        }

    def restore(self, state: Array, fields: Mapping[str, Array], attributes: Mapping[str, Any]) -> None:
        """Put the environment into a moment.

        Args:
            state: ``mjSTATE_INTEGRATION`` ``(s,)``.
            fields: Of that episode; what is missing is rewound.
            attributes: Of that episode; what is missing is rewound.
        """
        self._write({**self._fields, **fields}, attributes)
        self._put(np.array(state, np.float64))
        self.settle()

    def settle(self) -> None:
        """Compute what follows from the state (poses, contacts, forces) and leave the state as it is.

        ``mj_step`` leaves poses one step behind ``qpos``, and ``mj_forward`` moves the solver's warm start, which is
        part of the state: without putting it back a replay would not be exact.
        """
        state = self.state()
        mujoco.mj_forward(self._env.model, self._env.data)
        mujoco.mj_rnePostConstraint(self._env.model, self._env.data)
        self._put(state)

    def _put(self, state: npt.NDArray[np.float64]) -> None:
        mujoco.mj_setState(self._env.model, self._env.data, state, mujoco.mjtState.mjSTATE_INTEGRATION)

    def _read(self) -> dict[str, Any]:
        """Return the attributes that are numbers or arrays of them and do not follow the state by themselves."""
        live = [getattr(self._env.data, name) for name in LIVE]
        return {
            name: value
            for name, value in vars(self._env).items()
            if not name.startswith("_np_random")
            and (value is None or isinstance(value, bool | int | float | np.generic | np.ndarray))
            and not (isinstance(value, np.ndarray) and any(np.may_share_memory(value, other) for other in live))
        }

    def _write(self, fields: Mapping[str, Array], attributes: Mapping[str, Any]) -> None:
        for name, array in fields.items():
            getattr(self._env.model, name)[:] = array
        present = self._read()
        for name in present.keys() - self._numbers.keys() - attributes.keys():
            delattr(self._env, name)
        for name, value in {**self._numbers, **attributes}.items():
            if name in present or not hasattr(self._env, name):
                setattr(self._env, name, _like(value, present.get(name)))


def _copy(value: Any) -> Any:
    return value.copy() if isinstance(value, np.ndarray) else value


def _equal(left: Any, right: Any) -> bool:
    return type(left) is type(right) and np.array_equal(left, right)


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def _like(value: Any, present: Any) -> Any:
    """Return a plain JSON value in the kind and precision of the present one."""
    if isinstance(value, list | np.ndarray):
        return np.array(value, getattr(present, "dtype", None))
    if isinstance(present, np.generic) and value is not None:
        return present.dtype.type(value)
    return value
