"""What an imagined environment is given, checked at the door."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from einops import rearrange
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode
from torch import Tensor

from worldrl.envs.guards import Guards
from worldrl.errors import ConfigError, DataError, DeviceError, NumericsError
from worldrl.types import Array, Imagined, Starts, Supported, WorldModel

Decode = Callable[[Tensor], npt.NDArray[np.uint8]]
"""Observations ``(n, *o)`` to pictures ``(n, h, w, 3)``."""

ACTION_TOLERANCE = 1e-6


def as_actions(actions: Any, shape: tuple[int, int], device: torch.device) -> Tensor:
    """Return the actions as a float32 tensor ``(n, a)`` once they are finite and in range.

    Raises:
        DataError: If the shape is not ``shape`` or an action is outside ``[-1, 1]``.
        NumericsError: If an action is not finite.
    """
    if isinstance(actions, Tensor):
        act = actions.detach().to(device, torch.float32)
    else:
        act = torch.from_numpy(np.array(actions, dtype=np.float32)).to(device)
    if tuple(act.shape) != shape:
        raise DataError(f"actions must be {shape}, got {tuple(act.shape)}.")
    if bool((act.abs() <= 1.0 + ACTION_TOLERANCE).all()):
        return act
    for i, row in enumerate(act.tolist()):
        if not np.isfinite(row).all():
            raise NumericsError(f"actions must be finite, got {row} for env {i}: look at the policy that chose it.")
        if np.abs(row).max() > 1.0 + ACTION_TOLERANCE:
            raise DataError(f"actions must be in [-1, 1], got {row} for env {i}: clip them.")
    raise AssertionError("a refused action must be found again")


def as_options(
    options: Mapping[str, Any] | None, total: int, available: int
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64] | None]:
    """Return which of ``total`` environments to reset, and where each starts among the ``available`` (None: drawn).

    Raises:
        TypeError: If an option is of a wrong kind.
        ValueError: If an option is unknown, or has a wrong size or range.
    """
    options = options or {}
    unknown = sorted(set(options) - {"reset_mask", "start"})
    if unknown:
        raise ValueError(f"options must be among reset_mask, start, got '{unknown[0]}'.")
    return _mask(options.get("reset_mask"), total), _start(options.get("start"), total, available)


def _mask(mask: Any, total: int) -> npt.NDArray[np.bool_]:
    if mask is None:
        return np.ones(total, dtype=np.bool_)
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
        raise TypeError(f"options['reset_mask'] must be a numpy array of bool, got {mask!r}.")
    if mask.shape != (total,) or not mask.any():
        raise ValueError(f"options['reset_mask'] must be ({total},) with at least one True, got {mask}.")
    return mask


def _start(start: Any, total: int, available: int) -> npt.NDArray[np.int64] | None:
    if start is None:
        return None
    start = np.asarray(start)
    if start.dtype.kind not in "iu":
        raise TypeError(f"options['start'] must be integers, got {start.dtype}.")
    if start.shape != (total,) or start.min() < 0 or start.max() >= available:
        raise ValueError(f"options['start'] must be ({total},) with values in [0, {available}), got {start.tolist()}.")
    return np.asarray(start, dtype=np.int64)


def as_mode(mode: AutoresetMode | str) -> AutoresetMode:
    """Return gymnasium's autoreset mode of that name or value.

    Raises:
        ValueError: If there is none.
    """
    for one in AutoresetMode:
        if mode in (one, one.value, one.name):
            return one
    raise ValueError(f"autoreset_mode must be one of {', '.join(one.name for one in AutoresetMode)}, got '{mode}'.")


def as_space(space: Box | None, shape: tuple[int, ...]) -> Box:
    """Return the space, or an unbounded float32 one.

    Raises:
        ValueError: If it is not a box of ``shape``.
    """
    if space is not None and (not isinstance(space, Box) or space.shape != shape):
        raise ValueError(f"observation_space must be a Box of shape {shape}, as the model's, got {space}.")
    return space or Box(-np.inf, np.inf, shape, np.float32)


def check_counts(**counts: int) -> None:
    """Refuse counts less than one.

    Raises:
        ValueError: With the name of the first.
    """
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name} must be at least 1, got {count}.")


def check_starts(starts: Starts, model: WorldModel) -> None:
    """Refuse histories that the model cannot go on from.

    Raises:
        DataError: If there are none, or a shape is not the model's.
        NumericsError: If a value is not finite.
    """
    obs, acts = (len(starts), model.history, *model.obs_shape), (len(starts), model.history - 1, model.act_dim)
    if len(starts) == 0:
        raise DataError("starts must hold at least one history, got none: record longer or more episodes.")
    for name, tensor, shape in (("obs", starts.obs, obs), ("acts", starts.acts, acts)):
        if tuple(tensor.shape) != shape:
            raise DataError(f"starts.{name} must be {shape}, as the model's history, got {tuple(tensor.shape)}.")
        if not bool(tensor.isfinite().all()):
            raise NumericsError(f"starts.{name} must be finite, got nan or inf: encode the episodes again.")


def check_render(render_mode: str | None, decode: Decode | None) -> None:
    """Refuse a render mode that cannot be served.

    Raises:
        ConfigError: If it is unknown, or there is nothing to draw with.
    """
    if render_mode not in (None, "rgb_array"):
        raise ConfigError(f"render_mode must be 'rgb_array' or None, got '{render_mode}'.")
    if render_mode is not None and decode is None:
        raise ConfigError("render_mode 'rgb_array' needs decode, which draws an observation: pass decode=.")


def as_device(device: str | torch.device) -> torch.device:
    """Return the device.

    Raises:
        DeviceError: If it is none, of another kind than cpu and cuda, or a GPU that this machine does not have.
    """
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise DeviceError(f"device must be cpu, cuda or cuda:N, got '{device}'.") from error
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if found.type == "cuda" and not gpus:
        raise DeviceError(f"device must be one this machine has, got '{device}' without a GPU: use 'cpu'.")
    if found.type not in ("cpu", "cuda") or (found.type == "cuda" and (found.index or 0) >= gpus):
        raise DeviceError(f"device must be cpu, cuda or cuda:N with N below {gpus}, got '{device}'.")
    return found


def check_support(guards: Guards | None, model: WorldModel) -> None:
    """Refuse to guard a support that the model knows nothing of.

    Raises:
        ConfigError: If so.
    """
    if guards is not None and guards.support and not isinstance(model, Supported):
        raise ConfigError(f"guards.support needs a world that knows its data, got a {type(model).__name__}: leave it.")


def check_imagined(
    out: Imagined,
    *,
    departure: Tensor | None,
    rows: npt.NDArray[np.intp],
    ages: Array,
    obs_shape: tuple[int, ...],
) -> Array:
    """Return success, disagreement, agreement and departure ``(4, b)`` once everything has its shape and is finite.

    Where the model has no second classifier it agrees with itself; where support is not guarded it never departs.

    Args:
        out: What the model imagined of ``b`` environments.
        departure: How far that is from anything recorded ``(b,)``; None where nobody asked.
        rows: Which environments they are ``(b,)``.
        ages: Steps each of all environments had taken before ``(n,)``.
        obs_shape: Of one observation.

    Raises:
        ValueError: If a shape is wrong.
        NumericsError: If a value is not finite.
    """
    b = len(rows)
    agreed = torch.ones_like(out.success) if out.agreed is None else out.agreed
    departure = torch.zeros_like(out.success) if departure is None else departure
    if tuple(out.obs.shape) != (b, *obs_shape):
        raise ValueError(f"imagined obs must be {(b, *obs_shape)}, got {tuple(out.obs.shape)}.")
    figures = {"success": out.success, "disagreement": out.disagreement, "agreed": agreed, "departure": departure}
    for name, figure in figures.items():
        if tuple(figure.shape) != (b,):
            raise ValueError(f"imagined {name} must be {(b,)}, got {tuple(figure.shape)}.")
    finite = rearrange(out.obs.isfinite(), "b ... -> b (...)").all(dim=1)
    packed: Array = torch.stack([*(figure.float() for figure in figures.values()), finite.float()]).cpu().numpy()
    good = np.isfinite(packed).all(axis=0) & (packed[-1] == 1.0)
    if not good.all():
        i = rows[int(np.argmin(good))]
        raise NumericsError(
            f"what the world model imagines must be finite, got nan or inf for env {i} at step {ages[i] + 1} of its "
            "episode: shorten the horizon, or fit the model longer."
        )
    return packed[:-1]
