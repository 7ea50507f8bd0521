"""What lies at a path: a checkpoint, a data set, or a run with both."""

from collections.abc import Sequence
from pathlib import Path

from worldrl.checkpoint import read_json
from worldrl.errors import CheckpointError, ConfigError
from worldrl.verification import MANIFEST


def one_path(verb: str, words: Sequence[str]) -> Path:
    """Return the one path behind a verb.

    Raises:
        ConfigError: If there is not one, or no folder at it.
    """
    if len(words) != 1 or "=" in words[0]:
        raise ConfigError(f"{verb} must be followed by one folder, got '{' '.join(words)}'. See worldrl {verb} --help.")
    path = Path(words[0])
    if not path.is_dir():
        raise ConfigError(f"{verb} must be given a folder that is there, got '{path}'.")
    return path


def is_data_set(path: Path) -> bool:
    """Return whether a folder holds episodes, whole or damaged."""
    if any(path.glob("shard-*-*")):
        return True
    try:
        return "env_id" in read_json(path / MANIFEST)
    except CheckpointError:
        return False


def data_sets(path: Path) -> list[Path]:
    """Return every data set at a path or below it."""
    if is_data_set(path):
        return [path]
    return [one for one in sorted(path.rglob("*")) if one.is_dir() and not passing(path, one) and is_data_set(one)]


def passing(path: Path, file: Path) -> bool:
    """Return whether something below a path is unfinished, or was taken out by ``repair``."""
    return any(part.startswith(".tmp-") or part.endswith(".dropped") for part in file.relative_to(path).parts)
