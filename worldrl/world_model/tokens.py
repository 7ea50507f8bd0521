"""Recorded episodes as world models learn from them, in memory or in a folder of flat files."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from worldrl import checkpoint
from worldrl.data.rows import Joined
from worldrl.errors import DataError
from worldrl.types import Array

MOST = 10_000
"""Transitions, evenly spaced, from which scales, judges and supports are found where there are more (our choice)."""
INDEX = "index.json"


@dataclass(frozen=True)
class Tokens:
    """Recorded episodes as the world model sees them.

    ``obs`` ``(t_i+1, *o)``, ``acts`` ``(t_i, a)`` and ``success`` ``(t_i+1,)`` of each episode, and who acted in it.
    ``visual`` tells how many of the tokens, the last ones, are visual.
    """

    obs: Sequence[Array]
    acts: Sequence[Array]
    success: Sequence[Array]
    policies: Sequence[str]
    visual: int = 0

    def __len__(self) -> int:
        return len(self.acts)

    def subset(self, index: Sequence[int]) -> "Tokens":
        """Return some of the episodes."""
        return Tokens(
            obs=_some(self.obs, index),
            acts=_some(self.acts, index),
            success=_some(self.success, index),
            policies=[self.policies[i] for i in index],
            visual=self.visual,
        )


Observed = tuple[Array, Array, Array, str]
"""Of one episode: observations, actions, success, and who acted."""


def keep_tokens(folder: Path, episodes: Iterable[Observed], *, about: Mapping[str, Any], visual: int) -> None:
    """Write observed episodes to a folder, one after the other, so that only one of them is in memory.

    Frames are rounded to the 8 bits that cameras have, tokens stay float32.

    Args:
        folder: Replaced whole if it exists.
        episodes: At least one.
        about: What tells these observations from others, as plain JSON.
        visual: How many of the tokens are visual.

    Raises:
        DataError: If there is none, or one is of another shape than the first.
        StorageError: If the folder cannot be written.
    """

    def write(staged: Path) -> None:
        lengths, policies, shapes = list[int](), list[str](), set[tuple[tuple[int, ...], ...]]()
        with (
            (staged / "obs").open("wb") as obs,
            (staged / "acts").open("wb") as acts,
            (staged / "success").open("wb") as success,
        ):
            for seen, act, won, who in episodes:
                shapes.add((seen.shape[1:], act.shape[1:]))
                if len(shapes) > 1:
                    raise DataError(f"observations and actions must have one shape in all episodes, got {shapes}.")
                obs.write(_packed(seen).tobytes())
                acts.write(np.asarray(act, np.float32).tobytes())
                success.write(np.asarray(won, np.bool_).tobytes())
                lengths.append(len(act))
                policies.append(who)
        if not lengths:
            raise DataError("episodes must hold at least 1 episode, got 0.")
        ((shape, act_shape),) = shapes
        names = sorted(set(policies))
        (staged / "lengths").write_bytes(np.array(lengths, np.int64).tobytes())
        (staged / "policies").write_bytes(np.array([names.index(who) for who in policies], np.int16).tobytes())
        index = {"about": dict(about), "obs_shape": list(shape), "act_shape": list(act_shape), "episodes": len(lengths),
                 "policies": names, "visual": visual}  # fmt: skip
        checkpoint.write_json(staged / INDEX, index)

    checkpoint.commit(folder, write)


def kept_tokens(folder: Path, *, about: Mapping[str, Any]) -> Tokens | None:
    """Return what a folder holds, read as it is needed; None where there is none, or of other observations.

    Raises:
        CheckpointError: If its index is damaged.
        DataError: If a file is not as long as its index says, or damaged otherwise.
    """
    if not (folder / INDEX).exists():
        return None
    index = checkpoint.read_json(folder / INDEX)
    if index.get("about") != dict(about):
        return None
    try:
        return _tokens(folder, index)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{folder} is damaged: {error!r}. Remove it, and it is made again.") from error


def _tokens(folder: Path, index: Mapping[str, Any]) -> Tokens:
    """Map the files that an index describes; LookupError, TypeError and ValueError say what is wrong with it."""
    lengths, who = (_read(folder / name, dtype, index["episodes"]) for name, dtype in NUMBERS.items())
    if (lengths < 1).any():
        raise ValueError("an episode must have a step")
    obs_shape, act_shape = tuple(index["obs_shape"]), tuple(index["act_shape"])
    pixels = np.uint8 if len(obs_shape) == 3 else np.float32
    return Tokens(
        obs=_mapped(folder / "obs", pixels, lengths + 1, obs_shape),
        acts=_mapped(folder / "acts", np.float32, lengths, act_shape),
        success=_mapped(folder / "success", np.bool_, lengths + 1, ()),
        policies=[index["policies"][one] for one in who],
        visual=int(index["visual"]),
    )


NUMBERS: dict[str, type] = {"lengths": np.int64, "policies": np.int16}
"""Files of one number an episode."""


def _read(file: Path, dtype: type, count: int) -> Array:
    _check_size(file, count * np.dtype(dtype).itemsize)
    return np.fromfile(file, dtype)


def _check_size(file: Path, wanted: int) -> None:
    found = file.stat().st_size if file.exists() else 0
    if found != wanted:
        raise DataError(f"{file} must be {wanted} bytes long, got {found}: remove its folder, and it is made again.")


def _packed(obs: Array) -> Array:
    """Return frames as 8 bits, tokens as float32."""
    return ((obs + 1.0) * 127.5).round().astype(np.uint8) if obs.ndim == 4 else np.asarray(obs, np.float32)


def _mapped(file: Path, dtype: type, counts: Array, shape: tuple[int, ...]) -> Joined:
    _check_size(file, int(counts.sum()) * int(np.prod(shape)) * np.dtype(dtype).itemsize)
    rows = np.memmap(file, dtype, "r", shape=(int(counts.sum()), *shape))
    return Joined(rows, np.cumsum(counts) - counts, counts)


def _some(arrays: Sequence[Array], index: Sequence[int]) -> Sequence[Array]:
    return arrays.subset(index) if isinstance(arrays, Joined) else [arrays[i] for i in index]
