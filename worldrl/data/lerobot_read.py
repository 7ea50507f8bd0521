"""Episodes of a LeRobot data set of version 3, without the lerobot package."""

import io
import json
from collections.abc import Generator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from worldrl.checkpoint import read_json
from worldrl.data.dataset import Dataset, DatasetWriter
from worldrl.data.lerobot_info import EXTRAS, NOT_KEPT, NOTES, Info, fill, parquet, read_info, readable
from worldrl.data.lerobot_video import Film
from worldrl.errors import CheckpointError, DataError
from worldrl.types import Array, Episode

TOLERANCE_S = 1e-3
"""How far a row's time may lie from its number over ``fps`` (our choice: float32 does not hold LeRobot's own tolerance,
a tenth of it, in long episodes)."""


def import_lerobot(
    root: Path | str,
    folder: Path | str,
    *,
    env_id: str | None = None,
    image: str = "",
    state: str = "observation.state",
    policy: str = "imported",
    episodes_per_shard: int = 25,
) -> Dataset:
    """Append the episodes of a LeRobot data set to the data set ``folder``.

    What `export_lerobot` wrote comes back but for labels (zeros), simulator states (``s = 0``: such episodes cannot be
    replayed) and model fields. In a foreign one the observation after the last action is not there: the one before it
    is repeated. Its actions must be in ``[-1, 1]``. What is only filled in, the manifest names under ``lacks``.

    Args:
        root: The folder with ``meta/info.json``.
        folder: The data set; made if it is not there.
        env_id: The environment's id for the manifest; None for what the data set says, or the name of its folder.
        image: Which camera; empty for the only one.
        state: Which vector is the proprioception.
        policy: Who acted, where the data set does not say.
        episodes_per_shard: Episodes in a full shard.

    Raises:
        ConfigError: If pyarrow is not installed.
        DataError: If it is of another version, damaged, or not of that form. Whole episodes before a damaged one are
            kept.
    """
    parquet()
    root, info = Path(root), read_info(Path(root))
    image = _camera(info, image)
    notes = _notes(root)
    known = _extras(root, info) if notes else None
    about: dict[str, Any] = {
        "env_id": env_id or str(notes.get("env_id", root.name)), "env_kwargs": notes.get("env_kwargs", {}),
        "objects": [], "lacks": _lacks(info),
    }  # fmt: skip
    with (
        closing(_episodes(info, image)) as found,
        DatasetWriter(folder, **about, episodes_per_shard=episodes_per_shard) as writer,
    ):
        for i, (rows, frames) in enumerate(found):
            extra = None if known is None else known[i]
            with readable(root / NOTES if extra else root, beyond=_beyond(i)):
                writer.add(_episode(rows, frames, extra, state=state, policy=policy))
    return Dataset(folder)


def _lacks(info: Info) -> list[str]:
    """Return what its episodes do not say: what the format has no place for, and columns that need not be there."""
    columns = {"success": "next.success", "rews": "next.reward"}
    return [*NOT_KEPT, *(name for name, column in columns.items() if column not in info.features)]


def _episodes(info: Info, image: str) -> Generator[tuple[dict[str, Any], Array], None, None]:
    """Yield the rows and the frames of every episode, in order; a file is opened once."""
    _, pq = parquet()
    opened: tuple[Path, Any] | None = None
    film: Film | None = None
    for i, meta in enumerate(_list(info)):
        path = fill(info.root, info.data_path, chunk=meta["data/chunk_index"], file=meta["data/file_index"])
        with readable(path, beyond=_beyond(i)):
            if opened is None or opened[0] != path:
                opened = path, pq.read_table(path)
            numbers = np.asarray(opened[1].column("episode_index"))
            rows = opened[1].filter(numbers == i)
            told = {name: rows.column(name).to_pylist() for name in rows.column_names}
        _check_rows(path, i, told, meta["length"], info.fps)
        if info.features[image]["dtype"] == "image":
            yield told, np.stack([_decode(path, i, cell, info.features[image]["shape"]) for cell in told[image]])
            continue
        place = {name: meta[f"videos/{image}/{name}"] for name in ("chunk_index", "file_index", "from_timestamp")}
        video = fill(info.root, info.video_path, chunk=place["chunk_index"], file=place["file_index"], key=image)
        if film is None or film.path != video:
            _finish(film, i)
            film = Film(video, info.features[image]["shape"])
        yield told, film.take(round(float(place["from_timestamp"]) * info.fps), meta["length"], episode=i)
    _finish(film, info.episodes)


def _finish(film: Film | None, i: int) -> None:
    if film is not None:
        film.finish(episode=i)


def _list(info: Info) -> list[dict[str, Any]]:
    """Return what ``meta/episodes`` says of every episode."""
    _, pq = parquet()
    files = sorted((info.root / "meta" / "episodes").glob("*/*.parquet"))
    found: list[dict[str, Any]] = []
    for file in files:
        with readable(file, beyond="Without it no episode can be found: download or export the data set again."):
            table = pq.read_table(file)
            kept = [name for name in table.column_names if not name.startswith("stats/")]
            found += table.select(kept).to_pylist()
    numbers = [row.get("episode_index") for row in found]
    if numbers != list(range(info.episodes)):
        raise DataError(f"{info.root}/meta/episodes must list {info.episodes} episodes in order, got {len(numbers)}.")
    wanted = ("length", "data/chunk_index", "data/file_index")
    for i, row in enumerate(found):
        for name in wanted:
            if type(row.get(name)) is not int or row[name] < 0:
                raise DataError(f"episode {i} of {info.root} must have a {name}, got {row.get(name)!r}.")
    return found


def _check_rows(path: Path, i: int, told: Mapping[str, list[Any]], length: int, fps: float) -> None:
    """Refuse rows that are not one whole episode, in order and in time."""
    steps = told.get("frame_index", [])
    if len(steps) != length or length < 1 or steps != list(range(length)):
        raise DataError(f"episode {i} in {path} must have frames 0 to {length - 1}, got {len(steps)}. {_beyond(i)}")
    off = np.abs(np.asarray(told.get("timestamp", []), np.float64) - np.arange(length) / fps)
    if len(off) and not off.max() <= TOLERANCE_S:
        step = int(off.argmax())
        raise DataError(
            f"episode {i} in {path}: timestamp must be within {TOLERANCE_S} s of frame / fps, got "
            f"{told['timestamp'][step]} at frame {step}. {_beyond(i)}"
        )


def _episode(
    rows: Mapping[str, list[Any]], frames: Array, extra: Mapping[str, Any] | None, *, state: str, policy: str
) -> Episode:
    """Turn rows into an episode; KeyError, TypeError and ValueError say what is wrong."""
    t = len(frames)
    proprio = np.asarray(rows[state], np.float32).reshape(t, -1)
    won, done = rows.get("next.success", [False] * t), bool(rows.get("next.done", [False])[-1])
    said = dict(extra or {})
    last = frames[-1:] if extra is None else _picture(said["last_image"], frames.shape[1:])[None]
    final = proprio[-1:] if extra is None else np.asarray(said["last_state"], np.float32)[None]
    return Episode(
        frames=np.concatenate([frames, last]),
        labels=np.zeros((t + 1, *frames.shape[1:3]), np.uint8),
        proprio=np.concatenate([proprio, final]),
        acts=np.asarray(rows["action"], np.float32).reshape(t, -1),
        rews=np.asarray(rows.get("next.reward", [0.0] * t), np.float32).reshape(t),
        success=np.array([said.get("first_success", False), *won], np.bool_),
        states=np.zeros((t + 1, 0)),
        end=bool(said.get("end", done)),
        trunc=bool(said.get("trunc", not done)),
        seed=int(said.get("seed", -1)),
        policy=str(said.get("policy", policy)),
        params=json.loads(said.get("params", "{}")),
    )


def _camera(info: Info, image: str) -> str:
    cameras = [name for name, feature in info.features.items() if feature["dtype"] in ("image", "video")]
    if image in cameras or (not image and len(cameras) == 1):
        return image or cameras[0]
    raise DataError(f"image must be one of {', '.join(cameras) or 'none'} in {info.root}, got '{image}': name one.")


def _notes(root: Path) -> dict[str, Any]:
    """Return what `export_lerobot` left beside the format, if it did."""
    try:
        return read_json(root / NOTES) if (root / NOTES).exists() else {}
    except CheckpointError as error:
        raise DataError(f"{error} Delete it to read the data set as a foreign one.") from error


def _extras(root: Path, info: Info) -> list[dict[str, Any]]:
    _, pq = parquet()
    with readable(root / EXTRAS, beyond=f"Delete {NOTES} to read the data set as a foreign one."):
        rows: list[dict[str, Any]] = pq.read_table(root / EXTRAS).to_pylist()
        if len(rows) != info.episodes:
            raise ValueError(f"it must have {info.episodes} rows, got {len(rows)}")
    return rows


def _decode(path: Path, i: int, cell: Any, shape: Any) -> Array:
    with readable(path, beyond=_beyond(i)):
        return _picture(cell["bytes"], shape)


def _picture(content: bytes, shape: Any) -> Array:
    """Return a picture ``(h, w, 3)`` uint8; its size is looked at before anything is unpacked."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(content)) as picture:
            if (picture.height, picture.width) != tuple(shape[:2]) or picture.mode != "RGB":
                raise ValueError(f"a picture must be {tuple(shape)}, got {picture.size} {picture.mode}")
            return np.asarray(picture)
    except (UnidentifiedImageError, Image.DecompressionBombError, SyntaxError) as error:
        raise ValueError(str(error)) from error


def _beyond(i: int) -> str:
    """Return what is whole before episode ``i``."""
    return f"The {i} episodes before it are whole." if i else "No episode before it is whole."
