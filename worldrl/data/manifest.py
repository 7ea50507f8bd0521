"""What a data set says of itself: the environment it was recorded in, its shapes, and the versions that wrote it."""

import json
import os
import platform
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import worldrl
from worldrl.checkpoint import read_json, write_json
from worldrl.errors import CheckpointError, ConfigError, DataError, StorageError
from worldrl.types import Episode

FORMAT = 1
NAME = "manifest.json"
RECORD_SOME = "record some with worldrl collect"
_AGREED = ("env_id", "env_kwargs", "objects", "frame_shape", "proprio_dim", "act_dim", "state_dim", "lacks")


@dataclass(frozen=True)
class Manifest:
    """The ``manifest.json`` of a data set.

    Attributes:
        env_id: The environment's gymnasium id.
        env_kwargs: The keyword arguments it was made with, as plain JSON values.
        objects: The names of the labelled objects; label ``i + 1`` is ``objects[i]``.
        frame_shape: ``(h, w, 3)`` of every frame.
        proprio_dim: The size ``q`` of proprioception.
        act_dim: The size ``a`` of an action.
        state_dim: The size ``s`` of a simulator state; 0 where none was recorded.
        versions: Versions of python, worldrl, mujoco, gymnasium and numpy at the first write.
        commit: The git commit of the package's own checkout, or None.
        created: When it was first written, in UTC.
        format: The version of this layout.
        lacks: What the format that the episodes came from does not keep, so that it is only filled in here, by the
            names of ``Episode``; nothing for recorded ones. The file names it only where there is something.
    """

    env_id: str
    env_kwargs: dict[str, Any]
    objects: tuple[str, ...]
    frame_shape: tuple[int, ...]
    proprio_dim: int
    act_dim: int
    state_dim: int
    versions: dict[str, str]
    commit: str | None
    created: str
    format: int = FORMAT
    lacks: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return what the file holds."""
        told = asdict(self)
        return told if self.lacks else {name: value for name, value in told.items() if name != "lacks"}


def describe(
    episode: Episode, *, env_id: str, env_kwargs: Mapping[str, Any], objects: Sequence[str], lacks: Sequence[str] = ()
) -> Manifest:
    """Return the manifest of a data set whose first episode is ``episode``.

    Raises:
        ConfigError: If ``env_kwargs`` are not plain JSON values.
    """
    return Manifest(
        env_id=env_id,
        env_kwargs=plain(env_kwargs),
        objects=tuple(objects),
        frame_shape=episode.frames.shape[1:],
        proprio_dim=episode.proprio.shape[1],
        act_dim=episode.acts.shape[1],
        state_dim=episode.states.shape[1],
        versions=_versions(),
        commit=_commit(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        lacks=tuple(lacks),
    )


def plain(env_kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return keyword arguments as they come back from JSON.

    Raises:
        ConfigError: If they are not plain JSON values.
    """
    try:
        return dict(json.loads(json.dumps(dict(env_kwargs), allow_nan=False)))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"env_kwargs must be plain JSON values, got {env_kwargs!r}: {error}.") from error


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a data set.

    Raises:
        DataError: If there is none, or it is damaged or written in a newer format.
    """
    path = folder / NAME
    if not path.is_file():
        raise DataError(f"no episodes in {folder} (it has no {NAME}): {RECORD_SOME}.")
    try:
        value = read_json(path)
    except CheckpointError as error:
        raise DataError(f"{error} Restore it from a copy, or {RECORD_SOME}.") from error
    _check_format(path, value)
    try:
        return _parse(value)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is damaged: {error!r}. Restore it from a copy, or {RECORD_SOME}.") from error


def put_manifest(folder: Path, manifest: Manifest) -> Manifest:
    """Write ``manifest`` if the data set has none yet, and return the one that stands, which must agree with it.

    The first of several writers wins, whole: the file appears by one link from a finished, synced copy.

    Raises:
        DataError: If the one that stands disagrees.
        StorageError: If it cannot be written.
    """
    path, staged = folder / NAME, folder / f".tmp-manifest-{uuid.uuid4().hex}.json"
    if not path.exists():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_json(staged, manifest.to_json())
            _link(staged, path)
        except OSError as error:
            raise StorageError(f"{path} cannot be written: {error}. Choose another folder.") from error
        finally:
            staged.unlink(missing_ok=True)
    standing = read_manifest(folder)
    check_agreement(folder, standing, {name: getattr(manifest, name) for name in _AGREED})
    return standing


def check_agreement(folder: Path, standing: Manifest, wanted: Mapping[str, Any]) -> None:
    """Refuse to mix what does not belong together.

    Raises:
        DataError: If a named value of the ``standing`` manifest differs from the ``wanted`` one.
    """
    for name, value in wanted.items():
        if getattr(standing, name) != value:
            raise DataError(
                f"{name} must be {getattr(standing, name)!r} to append to {folder}, got {value!r}: "
                "choose another folder."
            )


def _link(staged: Path, path: Path) -> None:
    """Let ``path`` appear, unless it is there already."""
    try:
        os.link(staged, path)
    except FileExistsError:
        return
    except OSError:  # a file system without hard links
        if not path.exists():
            staged.replace(path)


def _check_format(path: Path, value: Mapping[str, Any]) -> None:
    found = value.get("format")
    if not isinstance(found, int) or found < 1:
        raise DataError(f"{path} must name its format, got {found!r}: that is not a data set of worldrl.")
    if found > FORMAT:
        raise DataError(f"{path} must have a format of at most {FORMAT}, got {found}: upgrade worldrl to read it.")


def _parse(value: Mapping[str, Any]) -> Manifest:
    """Build a manifest from JSON; KeyError, TypeError and ValueError say what is wrong."""
    for name, kind in {"env_id": str, "created": str, "env_kwargs": dict, "objects": list, "versions": dict}.items():
        if not isinstance(value[name], kind):
            raise TypeError(f"{name} must be {kind.__name__}")
    numbers = [*value["frame_shape"], value["proprio_dim"], value["act_dim"], value["state_dim"]]
    if len(value["frame_shape"]) != 3 or not all(type(number) is int and number >= 0 for number in numbers):
        raise ValueError("shapes must be whole numbers")
    return Manifest(
        env_id=value["env_id"],
        env_kwargs=value["env_kwargs"],
        objects=tuple(map(str, value["objects"])),
        frame_shape=tuple(value["frame_shape"]),
        proprio_dim=value["proprio_dim"],
        act_dim=value["act_dim"],
        state_dim=value["state_dim"],
        versions=value["versions"],
        commit=value["commit"],
        created=value["created"],
        format=value["format"],
        lacks=tuple(map(str, value.get("lacks", ()))),
    )


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "worldrl": worldrl.__version__}
    for name in ("mujoco", "gymnasium", "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


def _commit() -> str | None:
    """Return the commit of the checkout this package lies in, or None if it is installed without one."""
    git = ["git", "-C", str(Path(worldrl.__file__).parent)]
    try:
        for arguments in (["ls-files", "--error-unmatch", "__init__.py"], ["rev-parse", "HEAD"]):
            done = subprocess.run([*git, *arguments], capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
