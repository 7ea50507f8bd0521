"""What several recipes are made of: environments, pipelines, data sets and seeds, from typed options."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from worldrl.downloads import located
from worldrl.errors import ConfigError
from worldrl.recipes.options import EncoderOptions, EnvOptions, ObjectOptions, check_env_id, check_threads
from worldrl.types import Array

ROLES = {"expert": 0, "noisy_expert": 0, "random": 1, "policy": 2, "drifting": 3, "evaluation": 5}
"""Who acts in an episode decides which seeds it may have, so that nothing is evaluated where it was trained."""


def seeds_for(role: str, seed: int, count: int, *, skip: int = 0) -> range:
    """Return the episode seeds of one role in one run: different for different roles and runs."""
    first = 10_000_000 * seed + 1_000_000 * ROLES[role] + skip
    return range(first, first + count)


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

    encoder = load_encoder(**asdict(options))
    with FeatureCache(cache, encoder) as cached:
        yield cached


@contextmanager
def pipeline_at(path: Path, cache: Path | None, *, remember: bool = True) -> Iterator[Any]:
    """Load a pipeline, of tokens or of frames, with its encoder behind a feature cache if it has one.

    Args:
        path: Its folder.
        cache: That of the features; None for memory, as long as the process lives.
        remember: Whether there is to be a cache at all.
    """
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
    elif not remember:
        yield ObservationPipeline.from_pretrained(path, encoder=load_encoder(**source))
    else:
        with FeatureCache(cache, load_encoder(**source)) as cached:
            yield ObservationPipeline.from_pretrained(path, encoder=cached)


def fit_pipeline(
    frames: Array,
    proprio: Array,
    labels: Array,
    *,
    objects: tuple[str, ...],
    task: str,
    options: ObjectOptions,
    encoder: Any,
    seed: int,
) -> Any:
    """Fit the token pipeline that the options name.

    Args:
        frames: ``(n, h, w, 3)`` uint8.
        proprio: ``(n, q)`` float32.
        labels: ``(n, h, w)`` uint8.
        objects: What the labels are of.
        task: Id of the environment; annotations must be of it.
        options: How objects are found and told.
        encoder: The frozen encoder, or None.
        seed: Of prototypes and memory.
    """
    from worldrl.objects import Annotations
    from worldrl.observation import ObservationPipeline

    annotations = None
    if options.annotations:
        annotations = Annotations.from_pretrained(need(options.annotations, "annotations"))
        annotations.require(task=task, size=(frames.shape[1], frames.shape[2]))
    return ObservationPipeline.fit(
        frames, proprio, labels, objects=objects, masks=options.masks, encoder=encoder, components=options.components,
        groups=options.groups, slots=options.slots, annotations=annotations, names=tuple(options.names),
        visual=options.visual, visual_steps=options.visual_steps, seed=seed,
    )  # fmt: skip


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


def tokens_of(dataset: Any, pipeline: Any, *, folder: Path | None = None) -> Any:
    """Observe every episode of a data set through a pipeline.

    Args:
        dataset: Recorded episodes.
        pipeline: How they are observed.
        folder: Where the observations are kept, and found again by the next who asks; None to hold them in memory.
    """
    from worldrl.world_model.tokens import Tokens, keep_tokens, kept_tokens

    seen = (
        (
            pipeline(np.asarray(e.frames), np.asarray(e.proprio), np.asarray(e.labels)),
            np.array(e.acts),
            np.array(e.success),
            e.policy,
        )
        for e in dataset
    )
    if folder is None:
        obs, acts, success, policies = zip(*seen, strict=True)
        return Tokens(obs, acts, success, policies, pipeline.visual)
    about = {"pipeline": pipeline.hash, "episodes": dataset.identity()}
    found = kept_tokens(folder, about=about)
    if found is None:
        keep_tokens(folder, seen, about=about, visual=pipeline.visual)
        found = kept_tokens(folder, about=about)
    return found


def use_threads(count: int) -> None:
    """Give torch a number of threads; 0 leaves it alone.

    Raises:
        ConfigError: If it is negative.
    """
    import torch

    check_threads(count)
    if count > 0:
        torch.set_num_threads(count)


def encoder_name(pipeline: Any) -> str:
    """Return what reports and model cards call the encoder that a pipeline looks through."""
    return "none" if pipeline.encoder is None else str(pipeline.encoder.name)


def need(path: str, what: str) -> Path:
    """Return a path that must exist; ``hub:owner/name`` is downloaded.

    Raises:
        ConfigError: If it does not.
    """
    found = located(path)
    if not found.exists():
        raise ConfigError(f"no {what} at '{path}': make it with an earlier stage or mend the path.")
    return found


def versions() -> dict[str, str]:
    """Return the versions of what the results depend on."""
    import platform
    from importlib.metadata import version

    names: Sequence[str] = ("worldrl", "torch", "mujoco", "gymnasium", "stable-baselines3", "numpy")
    return {"python": platform.python_version()} | {name: version(name) for name in names}
