"""One shard on disk: a few whole episodes in one folder, which is either there or not."""

import json
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from worldrl.checkpoint import commit, read_json, seal
from worldrl.data.manifest import RECORD_SOME, Manifest
from worldrl.errors import CheckpointError, DataError
from worldrl.types import Array, Episode

NAME = re.compile(r"shard-(\d{5,})-(\d{5,})")
PER_OBS = ("frames", "labels", "proprio", "success", "states")
PER_ACT = ("acts", "rews")


@dataclass(frozen=True)
class Record:
    """One episode of a shard, as ``episodes.json`` has it.

    ``start`` is its first row in the arrays that have one row an observation (``t + 1`` for ``length`` ``t``).
    """

    start: int
    length: int
    seed: int
    policy: str
    end: bool
    trunc: bool
    params: dict[str, Any]


def shard_name(writer: int, number: int) -> str:
    """Return the folder name of a writer's ``number``-th shard."""
    return f"shard-{writer:05d}-{number:05d}"


def list_shards(folder: Path) -> list[Path]:
    """Return the shards of a data set in order of writer and number.

    Raises:
        DataError: If something is named like a shard but is none.
    """
    found = []
    for path in folder.glob("shard-*"):
        match = NAME.fullmatch(path.name)
        if match is None or not path.is_dir():
            raise DataError(f"{path} must be a folder named shard-<writer>-<number>: rename or move it away.")
        found.append((int(match[1]), int(match[2]), path))
    return [path for *_, path in sorted(found)]


def write_shard(path: Path, episodes: Sequence[Episode]) -> None:
    """Write checked episodes of equal shapes as one shard, whole or not at all.

    Raises:
        StorageError: If it cannot be written.
    """
    records: list[Record] = []
    start = 0
    for episode in episodes:
        extras = (episode.seed, episode.policy, bool(episode.end), bool(episode.trunc), dict(episode.params))
        records.append(Record(start, len(episode), *extras))
        start += len(episode) + 1

    def write(folder: Path) -> None:
        for name in (*PER_OBS, *PER_ACT):
            _write_rows(folder / f"{name}.npy", [getattr(episode, name) for episode in episodes])
        fields = {f"{i}/{name}": array for i, e in enumerate(episodes) for name, array in e.fields.items()}
        np.savez(folder / "fields.npz", allow_pickle=False, **fields)
        rows = {"episodes": [asdict(record) for record in records]}
        (folder / "episodes.json").write_text(json.dumps(rows, allow_nan=False) + "\n")
        seal(folder, kind="shard", config={})

    commit(path, write)


def read_records(path: Path) -> list[Record]:
    """Read the ``episodes.json`` of a shard.

    Raises:
        DataError: If it is missing or damaged.
    """
    try:
        entries = read_json(path / "episodes.json")["episodes"]
        records = [_record(entry) for entry in entries]
    except CheckpointError as error:
        raise _damaged(path, "episodes.json", str(error)) from error
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, "episodes.json", repr(error)) from error
    row = 0
    for record in records:
        if record.start != row or record.length < 1:
            raise _damaged(path, "episodes.json", f"start must be {row}, got {record.start}")
        row += record.length + 1
    return records


def open_arrays(path: Path, records: Sequence[Record], manifest: Manifest) -> dict[str, Array]:
    """Memory-map the arrays of a shard, read-only, and hold them to ``records`` and ``manifest``.

    Raises:
        DataError: If one is missing, truncated, of another type or shape, not finite, or an action outside the space.
    """
    t = sum(record.length for record in records)
    rows = t + len(records)
    layout: dict[str, tuple[tuple[int, ...], type[np.generic]]] = {
        "frames": ((rows, *manifest.frame_shape), np.uint8),
        "labels": ((rows, *manifest.frame_shape[:2]), np.uint8),
        "proprio": ((rows, manifest.proprio_dim), np.float32),
        "success": ((rows,), np.bool_),
        "states": ((rows, manifest.state_dim), np.float64),
        "acts": ((t, manifest.act_dim), np.float32),
        "rews": ((t,), np.float32),
    }
    arrays = {}
    for name, (shape, dtype) in layout.items():
        array = _map(path, f"{name}.npy")
        if array.shape != shape or array.dtype != dtype:
            wanted = f"must be {shape} {np.dtype(dtype)}, got {array.shape} {array.dtype}"
            raise _damaged(path, f"{name}.npy", wanted)
        arrays[name] = array
    for name in ("acts", "rews", "proprio"):  # small; frames cannot be wrong, and states are read one by one
        _check_numbers(path, name, arrays[name])
    return arrays


def read_fields(path: Path, count: int) -> list[dict[str, Array]]:
    """Read the model fields of the ``count`` episodes of a shard.

    Raises:
        DataError: If the file is missing or damaged.
    """
    fields: list[dict[str, Array]] = [{} for _ in range(count)]
    try:
        with (path / "fields.npz").open("rb") as file, np.load(file, allow_pickle=False) as stored:
            for key in stored.files:
                index, _, name = key.partition("/")
                fields[int(index)][name] = stored[key]
    except (OSError, ValueError, IndexError, EOFError, KeyError, AttributeError, zipfile.BadZipFile) as error:
        raise _damaged(path, "fields.npz", str(error)) from error
    return fields


def cut(arrays: Mapping[str, Array], record: Record, index: int) -> dict[str, Array]:
    """Return one episode's rows: its place among the actions is ``index`` rows before that among observations."""
    obs = slice(record.start, record.start + record.length + 1)
    acts = slice(record.start - index, record.start - index + record.length)
    return {name: array[acts if name in PER_ACT else obs] for name, array in arrays.items()}


def _write_rows(path: Path, parts: Sequence[Array]) -> None:
    """Write the concatenation of ``parts`` as .npy, one part at a time, so that memory holds no second copy."""
    first = parts[0]
    header = {
        "descr": np.lib.format.dtype_to_descr(first.dtype),
        "fortran_order": False,
        "shape": (sum(map(len, parts)), *first.shape[1:]),
    }
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for part in parts:
            file.write(part.tobytes())


def _map(path: Path, name: str) -> Array:
    try:
        array: Array = np.load(path / name, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise _damaged(path, name, str(error)) from error
    return array


def _check_numbers(path: Path, name: str, array: Array) -> None:
    finite = np.isfinite(array)
    if not finite.all():
        raise _damaged(path, f"{name}.npy", f"must be finite, got {array[~finite][0]}")
    if name == "acts" and array.size and np.abs(array).max() > 1.0:
        raise _damaged(path, "acts.npy", f"must be in [-1, 1], got {array.flat[np.abs(array).argmax()]}")


def _record(entry: Mapping[str, Any]) -> Record:
    kinds = {"start": int, "length": int, "seed": int, "policy": str, "end": bool, "trunc": bool, "params": dict}
    for name, kind in kinds.items():
        if type(entry[name]) is not kind:
            raise TypeError(f"{name} must be {kind.__name__}, got {entry[name]!r}")
    return Record(**{name: entry[name] for name in kinds})


def _damaged(path: Path, name: str, why: str) -> DataError:
    reason = why.rstrip(".").replace("\n", " ")
    return DataError(f"{path / name} is damaged: {reason}. Delete {path} to use the rest, or {RECORD_SOME}.")
