"""The door every episode passes: shapes, types and finite values, checked once."""

import json
from collections.abc import Iterator

import numpy as np

from worldrl.errors import DataError
from worldrl.types import Array, Episode


def check_episode(episode: Episode, *, act_dim: int | None = None, frame_shape: tuple[int, ...] | None = None) -> None:
    """Refuse an episode that is not what `Episode` says.

    Args:
        episode: The episode to look at.
        act_dim: The size ``a`` its actions must have, if known.
        frame_shape: The ``(h, w, 3)`` its frames must have, if known.

    Raises:
        DataError: If a shape or type is wrong, a value is not finite, an action lies outside ``[-1, 1]``, there is no
            step, or ``params`` are not plain JSON values. The message names seed, array, and step.
    """
    where = f"episode with seed {episode.seed}"
    if np.ndim(episode.acts) != 2 or len(episode.acts) < 1:
        raise DataError(f"{where}: acts must be (t, a) with t at least 1, got {np.shape(episode.acts)}.")
    if np.ndim(episode.frames) != 4 or episode.frames.shape[-1] != 3:
        raise DataError(f"{where}: frames must be (t+1, h, w, 3), got {np.shape(episode.frames)}.")
    for name, shape, dtype in _layout(episode, act_dim, frame_shape):
        _check_array(where, name, getattr(episode, name), shape, dtype)
    outside = np.abs(episode.acts).max(axis=1) > 1
    if outside.any():
        step = int(outside.argmax())
        raise DataError(f"{where}: acts must be in [-1, 1], got {episode.acts[step].tolist()} at step {step}.")
    _check_extras(where, episode)


def _layout(
    episode: Episode, act_dim: int | None, frame_shape: tuple[int, ...] | None
) -> Iterator[tuple[str, tuple[int | None, ...], type[np.generic]]]:
    """Yield the name, the shape (None for any size) and the type of every array."""
    t = len(episode.acts)
    frame = tuple(frame_shape or episode.frames.shape[1:])
    yield "acts", (t, act_dim), np.float32
    yield "frames", (t + 1, *frame), np.uint8
    yield "labels", (t + 1, *frame[:2]), np.uint8
    yield "proprio", (t + 1, None), np.float32
    yield "rews", (t,), np.float32
    yield "success", (t + 1,), np.bool_
    yield "states", (t + 1, None), np.float64


def _check_array(where: str, name: str, array: Array, shape: tuple[int | None, ...], dtype: type[np.generic]) -> None:
    fits = np.ndim(array) == len(shape) and all(
        want is None or want == got for want, got in zip(shape, array.shape, strict=True)
    )
    if not fits:
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise DataError(f"{where}: {name} must be ({wanted}), got {np.shape(array)}.")
    if array.dtype != dtype:
        raise DataError(f"{where}: {name} must be {np.dtype(dtype)}, got {array.dtype}.")
    if array.dtype.kind == "f":
        finite = np.isfinite(array.reshape(len(array), -1)).all(axis=1)
        if not finite.all():
            step = int(finite.argmin())
            raise DataError(f"{where}: {name} must be finite, got {np.array(array[step]).tolist()} at step {step}.")


def _check_extras(where: str, episode: Episode) -> None:
    for name, array in episode.fields.items():
        if not isinstance(array, np.ndarray) or array.dtype.hasobject:
            raise DataError(f"{where}: field '{name}' must be an array of numbers, got {type(array).__name__}.")
    try:
        json.dumps(dict(episode.params), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: params must be plain JSON values, got {episode.params!r}: {error}.") from error
