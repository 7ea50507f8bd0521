"""What there is: the pretrained weights, the environments, and the machine itself. Each function returns a result."""

import ctypes.util
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from worldrl import __version__
from worldrl.errors import ConfigError
from worldrl.recipes.results import Result
from worldrl.recipes.table import table

PACKAGES = ("torch", "numpy", "gymnasium", "mujoco", "stable-baselines3", "diffusers", "safetensors", "hydra-core")
EXTRAS = (
    "metaworld", "minari", "pyarrow", "tensorboard", "wandb", "torchvision", "timm", "transformers", "open_clip_torch",
)  # fmt: skip
PROBE_SECONDS = 120
ABSENT = "not installed"
BREAKABLE = ("torchvision",)
"""Extras whose build must be that of torch, and that cannot be imported where it is not."""
PROBE = "from worldrl.envs.rendering import shared_renderer; print(shared_renderer().backend)"


def encoders(words: Sequence[str]) -> Result:
    """Look after pretrained weights: ``list``, ``show NAME``, ``install NAME [archive=FILE]``, ``verify NAME``.

    Raises:
        ConfigError: If the words say none of these, or the name is unknown.
        CheckpointError: If the weights to install or verify cannot be had or are not the ones that are pinned.
    """
    action, *rest = words or ["list"]
    actions = {"show": _show, "install": _install, "verify": _verify}
    if action == "list" and not rest:
        return _list()
    if action not in actions:
        raise ConfigError(
            f"encoders must be followed by list, show, install or verify, got '{' '.join(words)}'. "
            "See worldrl encoders --help."
        )
    names = [word for word in rest if "=" not in word]
    settings = dict(word.split("=", 1) for word in rest if "=" in word)
    if len(names) != 1 or set(settings) - ({"archive"} if action == "install" else set()):
        raise ConfigError(f"encoders {action} must be followed by one name, got '{' '.join(rest)}'.")
    found = actions[action](names[0], **settings)
    return Result(found.text, {"action": action, "name": names[0], **found.figures})


def envs(words: Sequence[str]) -> Result:
    """List the ids of the environments, with the number of steps of an episode.

    Raises:
        ConfigError: If there are words: it takes none.
    """
    _no_words("envs", words)
    import gymnasium

    import worldrl.envs  # noqa: F401 - registers them

    specs = [spec for spec in gymnasium.registry.values() if spec.namespace == "worldrl"]
    text = table((spec.id, f"{spec.max_episode_steps} steps" if spec.max_episode_steps else "") for spec in specs)
    return Result(text, {"envs": [{"id": spec.id, "max_episode_steps": spec.max_episode_steps} for spec in specs]})


def doctor(words: Sequence[str]) -> Result:
    """Say what this machine has: versions, device, drawing, weights.

    Raises:
        ConfigError: If there are words: it takes none.
    """
    _no_words("doctor", words)
    from worldrl.encoders.registry import WEIGHTS

    rows = [("worldrl", __version__), ("python", f"{platform.python_version()} on {platform.platform()}")]
    rows += [(name, _version(name)) for name in PACKAGES] + [(name, _extra(name)) for name in EXTRAS]
    rows += [("torch build", _torch_build()), ("GL libraries", _gl_libraries()), ("drawing", _drawing())]
    rows += [(f"weights {name}", _place(name)) for name in WEIGHTS]
    return Result(table(rows), dict(rows))


def _list() -> Result:
    from worldrl.encoders.foreign import FORMS
    from worldrl.encoders.registry import WEIGHTS

    rows = [(name, entry.architecture, entry.licence, _place(name)) for name, entry in WEIGHTS.items()]
    rows += [(form, "any of theirs", "its own", _library(form)) for form in FORMS]
    names = ("name", "architecture", "licence", "place")
    return Result(table(rows), {"encoders": [dict(zip(names, row, strict=True)) for row in rows]})


def _show(name: str) -> Result:
    from worldrl.encoders.registry import describe

    entry = describe(name)
    fields = ("architecture", "pretraining", "licence", "package", "version", "member", "sha256")
    rows = [(field, str(getattr(entry, field))) for field in fields]
    rows += [(f"sha256 of {file}", sha256) for file, sha256 in entry.beside.items()]
    rows.append(("installed", _place(name)))
    return Result(table(rows), dict(rows))


def _install(name: str, *, archive: str | None = None) -> Result:
    from worldrl.encoders.weights import install

    folder = install(name, archive=None if archive is None else Path(archive))
    return Result(f"{name} is installed: {folder}", {"path": folder})


def _verify(name: str) -> Result:
    from worldrl.encoders.weights import load_weights

    tensors, place = len(load_weights(name)), _place(name)
    return Result(f"{name} is as expected: {tensors} tensors from {place}", {"tensors": tensors, "place": place})


def _place(name: str) -> str:
    """Return where the weights of an encoder lie, or how to get them."""
    from worldrl.encoders.registry import describe
    from worldrl.encoders.weights import converted_folder, find_packaged

    folder = converted_folder(name)
    source = folder if folder.is_dir() else find_packaged(describe(name))
    return str(source) if source else f"not installed: worldrl encoders install {name}"


def _library(form: str) -> str:
    """Return whether the library of a form of names is installed, or how to get it."""
    name = form.partition(":")[0]
    return "installed" if find_spec(name) else f'not installed: pip install "worldrl[{name}]"'


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ABSENT


def _extra(name: str) -> str:
    """Return the version of an extra, and what is wrong with it where it is one that is often broken."""
    version = _version(name)
    if name not in BREAKABLE or version == ABSENT:
        return version
    works, said = _try(f"import {name}")
    return version if works else f"{version}, broken: {said}. Install the build that is made for this torch."


def _torch_build() -> str:
    import torch

    if torch.version.cuda is None:
        return f"CPU only, {torch.get_num_threads()} threads"
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "but no GPU can be used"
    return f"CUDA {torch.version.cuda}, {device}"


def _gl_libraries() -> str:
    found = [name for name in ("OSMesa", "EGL") if ctypes.util.find_library(name)]
    return f"{', '.join(found) or 'none'} (MUJOCO_GL is {os.environ.get('MUJOCO_GL') or 'unset'})"


def _drawing() -> str:
    works, said = _try(PROBE)
    return f"works, with {said}" if works else f"broken: {said}"


def _try(code: str) -> tuple[bool, str]:
    """Run code in a process of its own, for a broken library may end the process that calls it; return what it says."""
    try:
        probe = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PROBE_SECONDS)
    except subprocess.TimeoutExpired:
        return False, f"no answer within {PROBE_SECONDS} s"
    if probe.returncode == 0:
        return True, probe.stdout.strip()
    return False, (probe.stderr.strip().splitlines() or [f"exit code {probe.returncode}"])[-1]


def _no_words(verb: str, words: Sequence[str]) -> None:
    if words:
        raise ConfigError(f"{verb} takes no options, got '{' '.join(words)}'.")
