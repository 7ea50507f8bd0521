"""Folders that are either whole or not there: how everything this package saves reaches the disk.

A checkpoint is a folder with ``config.json``, ``weights.safetensors``, a model card, and ``manifest.json`` (kind,
hash of every file, versions, facts). It is written under a temporary name, synced, and renamed, manifest last, so a
killed run never leaves half of one under the final name, nor, where the system can exchange two folders, none where one
stood. Nothing here unpickles and nothing named in a file is imported.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from worldrl import __version__, disk
from worldrl.cards import card
from worldrl.downloads import located
from worldrl.errors import CheckpointError, ConfigError, StorageError
from worldrl.json_file import read_json as read_json

FORMAT = 1
"""Of what a checkpoint folder holds; one of a later format is refused."""


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint folder held: its ``kind``, its ``config``, its ``tensors`` by name, and where it lay."""

    kind: str
    config: dict[str, Any]
    tensors: dict[str, Tensor]
    path: Path


def commit(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a temporary folder beside ``path``, then rename it to ``path``.

    A folder that stood there before is replaced whole, and only once the new one is complete. What killed runs left
    unfinished beside it is removed.

    Raises:
        StorageError: If the folder cannot be written.
    """
    staged = path.parent / f".tmp-{path.name}-{os.getpid()}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        disk.sweep(path)
        shutil.rmtree(staged, ignore_errors=True)
        staged.mkdir()
        write(staged)
        disk.sync_tree(staged)
        disk.swap(staged, path)
        disk.sync(path.parent)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error}. Free some space or choose another folder.") from error
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def write_json(path: Path, value: Any) -> None:
    """Write JSON under a temporary name, sync it, and rename it to ``path``.

    Raises:
        StorageError: If the file cannot be written.
    """
    staged = path.with_name(f".tmp-{path.name}-{os.getpid()}")
    try:
        disk.sweep(path)
        with staged.open("w") as file:
            json.dump(value, file, indent=2, allow_nan=False)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        staged.replace(path)
        disk.sync(path.parent)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error}. Free some space or choose another folder.") from error
    finally:
        with suppress(OSError):
            staged.unlink()


def save(path: Path, *, kind: str, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Save a checkpoint folder.

    Args:
        path: The folder; replaced whole if it exists.
        kind: What it is, e.g. ``world_model``; ``load`` refuses another.
        config: Plain JSON values from which the object is built again.
        tensors: Its weights by name.

    Raises:
        StorageError: If the folder cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    def write(folder: Path) -> None:
        (folder / "config.json").write_text(json.dumps(dict(config), indent=2, allow_nan=False) + "\n")
        plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
        try:
            save_file(plain, folder / "weights.safetensors")
        except SafetensorError as error:  # how it reports a full disk
            raise OSError(str(error)) from error
        seal(folder, kind=kind, config=config)

    commit(Path(path), write)


def seal(folder: Path, *, kind: str, config: Mapping[str, Any], facts: Mapping[str, Any] | None = None) -> None:
    """Write the model card and, last of all, the manifest of a folder that nobody else sees yet.

    Args:
        folder: With every file that the manifest is to list; folders in it have manifests of their own.
        kind: What it is.
        config: What its ``config.json`` holds, for the card.
        facts: What else is known of it, for card and manifest; plain JSON values.
    """
    facts = dict(facts or {})
    if text := card(kind, config, facts, version=__version__):
        (folder / "README.md").write_text(text)
    files = {file.name: sha256(file) for file in sorted(folder.iterdir()) if file.is_file()}
    manifest = {"kind": kind, "worldrl": __version__, "format": FORMAT, "files": files}
    manifest |= {"facts": facts} if facts else {}
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2, allow_nan=False) + "\n")


def load(path: Path, *, kind: str) -> Checkpoint:
    """Load a checkpoint folder, or ``hub:owner/name``, and check it against its manifest.

    Raises:
        CheckpointError: If it is missing, damaged, of another kind, or of a later format.
        ConfigError: If it is to come from the hub, and cannot be had there.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = located(path)
    manifest = read_json(path / "manifest.json")
    found, files = manifest.get("kind"), manifest.get("files")
    _check_format(path, manifest)
    if found != kind:
        raise CheckpointError(f"{path} must be a checkpoint of kind '{kind}', got '{found}'.")
    if not isinstance(files, dict) or not {"config.json", "weights.safetensors"} <= set(files):
        raise CheckpointError(f"{path}/manifest.json must list config.json and weights.safetensors: make it again.")
    for name in ("config.json", "weights.safetensors"):
        if not (path / name).is_file() or sha256(path / name) != files[name]:
            raise CheckpointError(f"{path / name} is missing or does not match its manifest: copy or make it again.")
    try:
        tensors = load_file(path / "weights.safetensors")
    except SafetensorError as error:
        raise CheckpointError(f"{path}/weights.safetensors cannot be read: {error}.") from error
    return Checkpoint(kind, read_json(path / "config.json"), tensors, path)


@contextmanager
def described(path: Path, what: str) -> Iterator[None]:
    """Turn what a config that is whole but foreign makes go wrong into one sentence.

    Raises:
        CheckpointError: If the block finds a key missing or a value that it cannot use.
    """
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError, ConfigError) as error:
        raise CheckpointError(f"{path}/config.json does not describe {what}: {error!r}. Make it again.") from error


def require_pipeline(mine: str, found: str, *, owner: str) -> None:
    """Refuse something that was made for another observation pipeline.

    Raises:
        CheckpointError: If the two hashes differ.
    """
    if found != mine:
        raise CheckpointError(
            f"{owner} was made for observation pipeline {found[:12]}, this one is {mine[:12]}: "
            "use the pipeline of its own run, or make it again."
        )


def sha256(path: Path) -> str:
    """Return the sha256 of a file as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_tensors(tensors: Mapping[str, Tensor]) -> str:
    """Return one sha256 over names, shapes, types and bytes: equal if and only if nothing changed."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}|{tuple(tensor.shape)}|{tensor.dtype}|".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes() if tensor.numel() else b"")
    return digest.hexdigest()


def load_state(module: Any, tensors: Mapping[str, Tensor], *, path: Path) -> None:
    """Load tensors into a module strictly.

    Raises:
        CheckpointError: If names, shapes or types differ; the first five differences are named.
    """
    expected = module.state_dict()
    wrong = [f"'{name}' is missing" for name in expected if name not in tensors]
    wrong += [f"'{name}' is unknown" for name in tensors if name not in expected]
    wrong += [
        f"'{name}' must be {tuple(expected[name].shape)}, got {tuple(tensor.shape)}"
        for name, tensor in tensors.items()
        if name in expected and expected[name].shape != tensor.shape
    ]
    wrong += [
        f"'{name}' must be {expected[name].dtype}, got {tensor.dtype}"
        for name, tensor in tensors.items()
        if name in expected and expected[name].dtype != tensor.dtype
    ]
    if wrong:
        raise CheckpointError(f"{path} does not fit its config: {'; '.join(wrong[:5])}.")
    module.load_state_dict(tensors)


def _check_format(path: Path, manifest: Mapping[str, Any]) -> None:
    """Refuse what a later release may have written otherwise; the first releases did not name the format."""
    found = manifest.get("format", FORMAT)
    if type(found) is not int or found > FORMAT:
        raise CheckpointError(
            f"{path} must have a format of at most {FORMAT}, got {found!r} of worldrl {manifest.get('worldrl')}: "
            "upgrade worldrl to read it."
        )
