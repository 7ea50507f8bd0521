"""What a LeRobot data set of version 3 says of itself, and where its files lie.

Nothing of it is trusted: path templates are filled in by hand, never formatted, and lead nowhere but below the folder.

Source: the format's documentation, huggingface.co/docs/lerobot/lerobot-dataset-v3.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from worldrl.checkpoint import read_json
from worldrl.errors import CheckpointError, ConfigError, DataError

INFO = "meta/info.json"
NOTES = "meta/worldrl.json"
EXTRAS = "meta/worldrl.parquet"
VERSION = "v3.0"
DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
NOT_KEPT = ("labels", "states", "fields")
"""What the format has no place for: object labels, simulator states, and the model fields of a reset."""
MAX_PIXELS = 4096 * 4096
_FIELD = re.compile(r"\{(chunk_index|file_index|video_key)(?::0(\d)d)?\}")
_LITERAL = re.compile(r"[A-Za-z0-9._/-]*", re.ASCII)
_CONVERT = "python -m lerobot.scripts.convert_dataset_v21_to_v30 --repo-id=OWNER/NAME"


@dataclass(frozen=True)
class Info:
    """The ``meta/info.json`` of a data set.

    Attributes:
        root: Its folder.
        fps: Rows a second.
        episodes: How many there are.
        frames: Rows of all of them.
        features: What a row has: ``dtype`` and ``shape`` by name.
        data_path: Template of the parquet files.
        video_path: Template of the videos; empty where there are none.
    """

    root: Path
    fps: float
    episodes: int
    frames: int
    features: Mapping[str, Mapping[str, Any]]
    data_path: str
    video_path: str


def parquet() -> tuple[ModuleType, ModuleType]:
    """Import pyarrow and its parquet.

    Raises:
        ConfigError: If it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ConfigError('LeRobot data sets need pyarrow: pip install "worldrl[lerobot]".') from error
    return pyarrow, pyarrow.parquet


@contextmanager
def readable(path: Path, *, beyond: str) -> Iterator[None]:
    """Turn what a damaged parquet file makes go wrong into one sentence.

    Raises:
        DataError: If the block cannot read it; ``beyond`` says what is whole.
    """
    pyarrow, _ = parquet()
    try:
        yield
    except (OSError, pyarrow.ArrowException, KeyError, ValueError, TypeError, IndexError) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise DataError(f"{path} cannot be read: {said}. {beyond}") from error


def read_info(root: Path) -> Info:
    """Read and check what a data set says of itself.

    Raises:
        DataError: If there is none, it is of another version, or it says what cannot be.
    """
    path = root / INFO
    try:
        told = read_json(path)
    except CheckpointError as error:
        raise DataError(f"{root} must be a LeRobot data set: {error}") from error
    _check_version(path, told.get("codebase_version"))
    try:
        info = Info(
            root, float(told["fps"]), int(told["total_episodes"]), int(told["total_frames"]), dict(told["features"]),
            str(told["data_path"]), str(told.get("video_path") or ""),
        )  # fmt: skip
        for name, feature in info.features.items():
            _check_feature(name, feature)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is damaged: {error!r}. Export or download it again.") from error
    if not 0 < info.fps < float("inf"):
        raise DataError(f"fps must be a positive number, got {info.fps} in {path}: mend it there.")
    if info.episodes < 1 or info.frames < info.episodes:
        raise DataError(f"{path} must have at least 1 episode and 1 frame in each, got {info.episodes}, {info.frames}.")
    for template in filter(None, (info.data_path, info.video_path)):
        fill(root, template, chunk=0, file=0, key="x")
    return info


def fill(root: Path, template: str, *, chunk: int, file: int, key: str = "") -> Path:
    """Return the file that a path template leads to, without formatting it.

    Raises:
        DataError: If the template has a field that it may not have, or leads out of ``root``.
    """
    literal = _FIELD.sub("", template)
    values: dict[str, Any] = {"chunk_index": chunk, "file_index": file, "video_key": key}
    if not _LITERAL.fullmatch(literal) or len(template) > 200:
        raise DataError(f"a path in {root / INFO} must be of plain text, chunk, file and key, got {template!r}.")
    name = _FIELD.sub(lambda found: str(values[found[1]]).zfill(int(found[2] or 0)), template)
    path = root / name
    if name.startswith("/") or ".." in Path(name).parts or not path.resolve().is_relative_to(root.resolve()):
        raise DataError(f"a path in {root / INFO} must stay in the folder, got {template!r}.")
    return path


def _check_version(path: Path, found: object) -> None:
    match = re.fullmatch(r"v?(\d+)(?:\.(\d+))*", str(found))
    if match is None:
        raise DataError(f"{path} must say its codebase_version, got {found!r}: that is no LeRobot data set.")
    major = int(match[1])
    if major == 3:
        return
    how = f"convert it with LeRobot's own {_CONVERT}"
    if major < 2:
        how = "convert it to v2.1 with the LeRobot of its time, and then on"
    elif major > 3:
        how = "upgrade worldrl, or export it as v3.0"
    raise DataError(f"{path} needs v3.x, found {found}: {how}.")


def _check_feature(name: str, feature: Mapping[str, Any]) -> None:
    """Refuse a feature whose name or size cannot be; ValueError and TypeError say why."""
    shape = [int(size) for size in feature["shape"]]
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name) or ".." in name:
        raise ValueError(f"no name of a feature: {name!r}")
    if feature["dtype"] in ("image", "video"):
        if len(shape) != 3 or shape[2] != 3 or not 0 < shape[0] * shape[1] <= MAX_PIXELS:
            raise ValueError(f"{name} must be (h, w, 3) of at most {MAX_PIXELS} pixels, got {shape}")
    elif any(size < 1 for size in shape):
        raise ValueError(f"{name} must have a shape, got {shape}")
