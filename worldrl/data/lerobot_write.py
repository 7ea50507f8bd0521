"""A data set as a LeRobot data set of version 3, without the lerobot package.

A row is an observation, the action taken in it, and what came of it (``next.reward``, ``next.done``, ``next.success``).
The format has no place for the last observation of an episode, nor for seeds and policies: they lie beside it, in
``meta/worldrl.parquet``, which other readers leave alone. ``NOT_KEPT`` is what is lost.
"""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from worldrl.checkpoint import commit
from worldrl.data.dataset import Dataset
from worldrl.data.episode import check_episode
from worldrl.data.lerobot_info import DATA, EPISODES, EXTRAS, INFO, NOT_KEPT, NOTES, VERSION, VIDEO, fill, parquet
from worldrl.errors import ConfigError
from worldrl.types import Array, Episode

IMAGE, STATE, ACTION = "observation.image", "observation.state", "action"
CHUNK, FILE_BYTES = 1000, 100 * 2**20
"""Files in a folder, and about how large one is: the format's defaults."""


def export_lerobot(dataset: Dataset, folder: Path | str, *, fps: float = 10.0, video: bool = False) -> Path:
    """Write a data set, or a view of one, as a new LeRobot data set.

    Args:
        dataset: The episodes.
        folder: A new folder; it appears whole or not at all.
        fps: Decisions a second; our data sets do not say.
        video: Whether frames become mp4, which changes them a little; else they are PNG in the parquet files, exactly.

    Raises:
        ConfigError: If the folder exists, pyarrow is not installed, or ``fps`` is not positive.
        DataError: If an episode is not sound.
        StorageError: If it cannot be written.
    """
    folder = Path(folder)
    parquet()
    if folder.exists():
        raise ConfigError(f"the folder must be a new one, got '{folder}': name another.")
    if not 0 < fps < float("inf"):
        raise ConfigError(f"fps must be a positive number, got {fps}.")
    commit(folder, lambda staged: _write(staged, dataset, fps, video))
    return folder


def _write(root: Path, dataset: Dataset, fps: float, video: bool) -> None:
    pyarrow, pq = parquet()
    (root / "meta").mkdir()
    rows, extras, task = [], [], dataset.manifest.env_id
    stats, writer, number, size, index = _Stats(), None, -1, FILE_BYTES, 0
    for i, episode in enumerate(dataset):
        check_episode(episode)
        images = None if video else [_png(frame) for frame in episode.frames[:-1]]
        table = pyarrow.table(_columns(pyarrow, episode, images, i, index, fps))
        if size >= FILE_BYTES:
            if writer is not None:
                writer.close()
            number, size = number + 1, 0
            path = _made(fill(root, DATA, chunk=number // CHUNK, file=number % CHUNK))
            writer = pq.ParquetWriter(path, table.schema)
        assert writer is not None
        writer.write_table(table)  # one row group an episode, as LeRobot has it
        size += table.nbytes
        place = {"data/chunk_index": number // CHUNK, "data/file_index": number % CHUNK}
        rows.append(_row(episode, i, index, task) | place | (_film(root, episode, i, fps) if video else {}))
        extras.append(_extra(episode))
        stats.add(episode)
        index += len(episode)
    if writer is not None:
        writer.close()
    pq.write_table(pyarrow.Table.from_pylist(rows), _made(fill(root, EPISODES, chunk=0, file=0)))
    pq.write_table(pyarrow.Table.from_pylist(extras), root / EXTRAS)
    _write_tasks(root / "meta" / "tasks.parquet", task)
    manifest = dataset.manifest
    notes = {"env_id": task, "env_kwargs": manifest.env_kwargs, "not_kept": NOT_KEPT, "versions": manifest.versions}
    for name, value in ((INFO, _info(dataset, index, fps, video)), (NOTES, notes), ("meta/stats.json", stats.told())):
        (root / name).write_text(json.dumps(value, indent=2, allow_nan=False) + "\n")


def _columns(pyarrow: Any, episode: Episode, images: list[bytes] | None, i: int, index: int, fps: float) -> Any:
    """Return the columns of one episode's rows."""
    t = len(episode)
    steps = np.arange(t)
    picture = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    cells = [{"bytes": one, "path": None} for one in images or []]
    columns = {} if images is None else {IMAGE: pyarrow.array(cells, picture)}
    return columns | {
        STATE: _lists(pyarrow, episode.proprio[:-1]),
        ACTION: _lists(pyarrow, episode.acts),
        "next.reward": pyarrow.array(episode.rews),
        "next.done": pyarrow.array(steps == t - 1),
        "next.success": pyarrow.array(episode.success[1:]),
        "timestamp": pyarrow.array((steps / fps).astype(np.float32)),
        "frame_index": pyarrow.array(steps),
        "episode_index": pyarrow.array(np.full(t, i)),
        "index": pyarrow.array(index + steps),
        "task_index": pyarrow.array(np.zeros(t, np.int64)),
    }


def _lists(pyarrow: Any, rows: Array) -> Any:
    return pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(np.ascontiguousarray(rows).ravel()), rows.shape[1])


def _row(episode: Episode, i: int, index: int, task: str) -> dict[str, Any]:
    """Return what the format says of one episode."""
    bounds = {"dataset_from_index": index, "dataset_to_index": index + len(episode)}
    about: dict[str, Any] = {"episode_index": i, "tasks": [task], "length": len(episode)}
    return about | bounds | {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0}


def _extra(episode: Episode) -> dict[str, Any]:
    """Return what the format has no place for, and we keep beside it."""
    return {
        "seed": episode.seed, "policy": episode.policy, "end": bool(episode.end), "trunc": bool(episode.trunc),
        "params": json.dumps(dict(episode.params)), "first_success": bool(episode.success[0]),
        "last_image": _png(episode.frames[-1]), "last_state": episode.proprio[-1].tolist(),
    }  # fmt: skip


def _film(root: Path, episode: Episode, i: int, fps: float) -> dict[str, Any]:
    """Write the frames of one episode as a video of its own, and return where they lie."""
    from worldrl.data.lerobot_video import write_frames

    path = _made(fill(root, VIDEO, chunk=i // CHUNK, file=i % CHUNK, key=IMAGE))
    write_frames(path, episode.frames[:-1], fps=fps)
    place = {
        "chunk_index": i // CHUNK,
        "file_index": i % CHUNK,
        "from_timestamp": 0.0,
        "to_timestamp": len(episode) / fps,
    }
    return {f"videos/{IMAGE}/{name}": value for name, value in place.items()}


def _info(dataset: Dataset, frames: int, fps: float, video: bool) -> dict[str, Any]:
    manifest = dataset.manifest

    def numbers(dtype: str, count: int = 1) -> dict[str, Any]:
        return {"dtype": dtype, "shape": [count], "names": None}

    image: dict[str, Any] = {"shape": list(manifest.frame_shape), "names": ["height", "width", "channels"]}
    features = {
        IMAGE: {"dtype": "video" if video else "image", **image},
        STATE: numbers("float32", manifest.proprio_dim), ACTION: numbers("float32", manifest.act_dim),
        "next.reward": numbers("float32"), "next.done": numbers("bool"), "next.success": numbers("bool"),
        "timestamp": numbers("float32"),
        **{name: numbers("int64") for name in ("frame_index", "episode_index", "index", "task_index")},
    }  # fmt: skip
    whole = int(fps) if float(fps).is_integer() else fps
    return {
        "codebase_version": VERSION, "robot_type": None, "total_episodes": len(dataset), "total_frames": frames,
        "total_tasks": 1, "chunks_size": CHUNK, "data_files_size_in_mb": 100, "video_files_size_in_mb": 200,
        "fps": whole, "splits": {"train": f"0:{len(dataset)}"}, "data_path": DATA,
        "video_path": VIDEO if video else None, "features": features,
    }  # fmt: skip


def _write_tasks(path: Path, task: str) -> None:
    """Write the one task; its name is the index of a pandas table, which is how LeRobot finds it."""
    pyarrow, pq = parquet()
    columns = [
        {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": stored, "metadata": None}
        for name, kind, stored in (("task_index", "int64", "int64"), ("task", "unicode", "object"))
    ]
    about = {"index_columns": ["task"], "column_indexes": [], "columns": columns, "pandas_version": "2.0.0"}
    table = pyarrow.table({"task_index": [0], "task": [task]})
    pq.write_table(table.replace_schema_metadata({"pandas": json.dumps(about)}), path)


class _Stats:
    """Mean, spread and bounds of every feature over all rows; pictures by channel, in [0, 1]."""

    def __init__(self) -> None:
        self.parts: dict[str, list[tuple[Any, ...]]] = {}

    def add(self, episode: Episode) -> None:
        """Take the rows of one episode."""
        pixels = episode.frames[:-1].reshape(-1, 3) / np.float32(255)
        named = ((STATE, episode.proprio[:-1]), (ACTION, episode.acts), ("next.reward", episode.rews[:, None]))
        for name, rows in ((IMAGE, pixels), *named):
            x = np.asarray(rows, np.float64)
            part = (len(x), x.sum(axis=0), (x**2).sum(axis=0), x.min(axis=0), x.max(axis=0))
            self.parts.setdefault(name, []).append(part)

    def told(self) -> dict[str, Any]:
        """Return them as LeRobot has them."""
        return {name: dict(self._of(name, parts)) for name, parts in self.parts.items()}

    def _of(self, name: str, parts: list[tuple[Any, ...]]) -> Iterator[tuple[str, Any]]:
        count = sum(part[0] for part in parts)
        mean, square = (np.sum([part[i] for part in parts], axis=0) / count for i in (1, 2))
        bounds = np.min([part[3] for part in parts], axis=0), np.max([part[4] for part in parts], axis=0)
        spread = np.sqrt(np.maximum(square - mean**2, 0.0))
        for label, value in (("mean", mean), ("std", spread), ("min", bounds[0]), ("max", bounds[1])):
            yield label, (value[:, None, None] if name == IMAGE else value).tolist()
        yield "count", [count]


def _png(frame: Array) -> bytes:
    from PIL import Image

    with io.BytesIO() as file:
        Image.fromarray(np.asarray(frame)).save(file, format="PNG")
        return file.getvalue()


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
