"""What several recipes are made of: typed option groups, and how they become objects."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from worldrl.errors import ConfigError

ROLES = {"expert": 0, "noisy_expert": 0, "random": 1, "policy": 2, "drifting": 3, "evaluation": 5}
"""Who acts in an episode decides which seeds it may have, so that nothing is evaluated where it was trained."""


def option(default: Any, text: str) -> Any:
    """Return a dataclass field with its help text."""
    return field(default=default, metadata={"help": text})


@dataclass
class EnvOptions:
    """Which real task."""

    id: str = option("worldrl/Reach-v0", "id of a registered environment")
    kwargs: dict[str, Any] = field(
        default_factory=lambda: {"size": 98, "max_steps": 40}, metadata={"help": "arguments of its constructor"}
    )


@dataclass
class EncoderOptions:
    """Which frozen encoder."""

    name: str = option("dinov2_vits14", "name in the registry, or none for the geometry of masks alone")
    layer: int | None = option(None, "layer to read out, from one; null for the encoder's own default")
    random_init: bool = option(False, "leave the weights at random: the control for what pretraining brings")
    seed: int = option(0, "of the random weights")


@dataclass
class ObjectOptions:
    """How objects are found and told."""

    masks: str = option("simulator", "simulator (privileged ground truth) or none (prototypes of patch features)")
    components: int = option(32, "numbers an object that say what it looks like")
    groups: int = option(8, "number of prototypes without masks")
    slots: int = option(0, "object tokens at least; those a task has no object for stay zero")


@dataclass
class WorldModelOptions:
    """Shape of the world model."""

    history: int = option(4, "past observations it looks at")
    steps: int = option(1, "network evaluations a step of imagination; a second one comes too late to change anything")
    backbone: str = option("transformer", "what reads tokens: transformer, flat (frames are read by a U-Net)")
    size: str = option("small", "name of a size: tiny, small, medium, base")
    action_code: str = option("two_hot", "form in which actions reach it: two_hot, one_hot, linear, vq")


def check_observation(encoder: EncoderOptions, objects: ObjectOptions, pixels: int, *, size: int | None) -> None:
    """Refuse an observation that there is none of.

    Args:
        encoder: The frozen encoder; not looked at where frames are observed.
        objects: How objects are found; not looked at where frames are observed.
        pixels: Side of the frames that are observed; 0 for tokens.
        size: Side of the frames that are recorded; None where that is not known yet.

    Raises:
        ConfigError: If an encoder, a layer or masks do not exist or do not go together, or frames do not fit.
    """
    from worldrl.encoders import ENCODERS, patch_of
    from worldrl.frame_observation import FramePipeline
    from worldrl.observation import MASKS

    if pixels:
        FramePipeline(pixels)
        if size is not None and pixels > size:
            raise ConfigError(f"pixels must be at most the {size} of the recorded frames, got {pixels}.")
        return
    if encoder.name not in ("none", *ENCODERS):
        raise ConfigError(f"encoder.name must be one of none, {', '.join(ENCODERS)}, got '{encoder.name}'.")
    if objects.masks not in MASKS:
        raise ConfigError(f"objects.masks must be one of {', '.join(MASKS)}, got '{objects.masks}'.")
    if objects.masks == "none" and encoder.name == "none":
        raise ConfigError("objects.masks=none needs a frozen encoder, got encoder.name=none: choose one, or masks.")
    check_positive(components=objects.components, groups=objects.groups)
    if objects.slots < 0:
        raise ConfigError(f"objects.slots must be 0 or more, got {objects.slots}.")
    if encoder.name != "none":
        patch = patch_of(encoder.name, encoder.layer)
        if size is not None and (size < patch or size % patch):
            near = max(1, round(size / patch)) * patch
            raise ConfigError(
                f"frames must be a multiple of {patch} pixels for {encoder.name}, got {size}: "
                f"use {near}, or encoder=none."
            )


def check_world_model(options: WorldModelOptions) -> None:
    """Refuse a world model that cannot be built.

    Raises:
        ConfigError: If there is no such backbone, size or action code, or it would see no past or take no step.
    """
    from worldrl.diffusion.actions import ACTION_CODES
    from worldrl.world_model.model import BACKBONES, TOKEN_SIZES

    check_positive(history=options.history, steps=options.steps)
    if options.backbone not in BACKBONES:
        raise ConfigError(f"world_model.backbone must be one of {', '.join(BACKBONES)}, got '{options.backbone}'.")
    if options.size not in TOKEN_SIZES:
        raise ConfigError(f"world_model.size must be one of {', '.join(TOKEN_SIZES)}, got '{options.size}'.")
    if options.action_code not in ACTION_CODES:
        known = ", ".join(ACTION_CODES)
        raise ConfigError(f"world_model.action_code must be one of {known}, got '{options.action_code}'.")


def seeds_for(role: str, seed: int, count: int, *, skip: int = 0) -> range:
    """Return the episode seeds of one role in one run: different for different roles and runs."""
    first = 10_000_000 * seed + 1_000_000 * ROLES[role] + skip
    return range(first, first + count)


def check_env_id(env_id: str) -> None:
    """Refuse an environment that nobody registered.

    Raises:
        ConfigError: If there is none of that name.
    """
    import difflib

    import gymnasium as gym

    import worldrl.envs  # noqa: F401  registers the ids

    if env_id not in gym.registry:
        known = [name for name in gym.registry if name.startswith("worldrl/")]
        close = difflib.get_close_matches(env_id, known, n=1)
        hint = f": did you mean '{close[0]}'?" if close else ": worldrl envs lists them."
        raise ConfigError(f"no environment is called '{env_id}'{hint}")


def make_env(env_id: str, kwargs: dict[str, Any]) -> Any:
    """Make a registered environment.

    Raises:
        ConfigError: If there is none of that name or it does not take these arguments.
    """
    import gymnasium as gym

    check_env_id(env_id)
    try:
        return gym.make(env_id, disable_env_checker=True, **kwargs)
    except TypeError as error:
        raise ConfigError(f"{env_id} does not take these arguments: {error}.") from error


def make_envs(options: EnvOptions, count: int) -> list[Any]:
    """Make several environments of one kind in this process; each is built once."""
    return [make_env(options.id, dict(options.kwargs)) for _ in range(count)]


@contextmanager
def encoder_for(options: EncoderOptions, cache: Path | None) -> Iterator[Any]:
    """Load the frozen encoder behind a feature cache; None where the options say ``none``."""
    if options.name == "none":
        yield None
        return
    from worldrl.encoders import FeatureCache, load_encoder

    encoder = load_encoder(options.name, layer=options.layer, random_init=options.random_init, seed=options.seed)
    with FeatureCache(cache, encoder) as cached:
        yield cached


@contextmanager
def pipeline_at(path: Path, cache: Path | None) -> Iterator[Any]:
    """Load a pipeline, of tokens or of frames, with its encoder behind a feature cache if it has one."""
    from worldrl import checkpoint
    from worldrl.encoders import FeatureCache, load_encoder
    from worldrl.frame_observation import FramePipeline
    from worldrl.observation import ObservationPipeline

    config = checkpoint.load(path, kind="observation").config
    source = config.get("encoder")
    if "frames" in config:
        yield FramePipeline.from_pretrained(path)
    elif source is None:
        yield ObservationPipeline.from_pretrained(path)
    else:
        with FeatureCache(cache, load_encoder(**source)) as cached:
            yield ObservationPipeline.from_pretrained(path, encoder=cached)


def tasks_at(path: Path) -> dict[str, Path]:
    """Return the data sets of a folder by name: itself, without a name, or the one in each of its folders.

    Raises:
        ConfigError: If there is none.
    """
    from worldrl.data.manifest import NAME

    if (path / NAME).exists():
        return {"": path}
    found = {folder.name: folder for folder in sorted(path.iterdir()) if (folder / NAME).exists()}
    if not found:
        raise ConfigError(f"no data set in '{path}' or in a folder of it: make one with worldrl collect.")
    return found


def tokens_of(dataset: Any, pipeline: Any) -> Any:
    """Observe every episode of a data set through a pipeline."""
    from worldrl.world_model.fit import Tokens

    observed = [pipeline(np.asarray(e.frames), np.asarray(e.proprio), np.asarray(e.labels)) for e in dataset]
    return Tokens(
        observed,
        [np.array(e.acts) for e in dataset],
        [np.array(e.success) for e in dataset],
        [e.policy for e in dataset],
    )


def check_threads(count: int) -> None:
    """Refuse a negative number of threads.

    Raises:
        ConfigError: If it is one.
    """
    if count < 0:
        raise ConfigError(f"threads must be 0 or more, got {count}.")


def use_threads(count: int) -> None:
    """Give torch a number of threads; 0 leaves it alone.

    Raises:
        ConfigError: If it is negative.
    """
    import torch

    check_threads(count)
    if count > 0:
        torch.set_num_threads(count)


def bar(label: str) -> Callable[..., None]:
    """Return a progress bar that is called with done and total, or with a step and a loss; silent off a terminal."""
    began = time.perf_counter()

    def show(done: int, other: float = 0.0) -> None:
        if sys.stderr.isatty():
            text = f"{done}/{int(other)}" if isinstance(other, int) and other >= done else f"{done} {other:.4f}"
            print(f"\r{label} {text} {time.perf_counter() - began:.0f} s ", end="", file=sys.stderr, flush=True)

    return show


@contextmanager
def curve(label: str, folder: str) -> Iterator[Callable[[int, float], None]]:
    """Give a progress bar that also writes the losses it is called with to a folder for TensorBoard, if there is one.

    Raises:
        ConfigError: If TensorBoard is wanted and not installed.
    """
    show = bar(label)
    if not folder:
        yield show
        return
    check_tensorboard(folder)
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(folder)

    def both(step: int, loss: float) -> None:
        show(step, loss)
        writer.add_scalar(f"{label}/loss", loss, step)

    try:
        yield both
    finally:
        writer.close()


def check_tensorboard(folder: str) -> None:
    """Refuse to write for TensorBoard where it is not installed.

    Raises:
        ConfigError: If a folder is given and the package is missing.
    """
    if folder and find_spec("tensorboard") is None:
        raise ConfigError(f"tensorboard={folder} needs TensorBoard: pip install 'worldrl[tensorboard]'.")


def say(text: str) -> None:
    """Tell the user what a stage found, on one line."""
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    print(text, flush=True)


def need(path: str, what: str) -> Path:
    """Return a path that must exist.

    Raises:
        ConfigError: If it does not.
    """
    if not Path(path).exists():
        raise ConfigError(f"no {what} at '{path}': make it with an earlier stage or mend the path.")
    return Path(path)


def check_positive(**numbers: float) -> None:
    """Refuse options that must be above zero.

    Raises:
        ConfigError: At the first that is not.
    """
    for name, number in numbers.items():
        if number <= 0:
            raise ConfigError(f"{name} must be positive, got {number}.")


def versions() -> dict[str, str]:
    """Return the versions of what the results depend on."""
    import platform
    from importlib.metadata import version

    names: Sequence[str] = ("worldrl", "torch", "mujoco", "gymnasium", "stable-baselines3", "numpy")
    return {"python": platform.python_version()} | {name: version(name) for name in names}
