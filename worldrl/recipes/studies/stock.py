"""What studies share: labelled scenes, the features of frozen encoders, towers, language models and worlds."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from worldrl.data.scenes import SceneSet, read_scenes
from worldrl.errors import ConfigError
from worldrl.recipes.options import option
from worldrl.types import Features, FrozenEncoder

Figures = dict[str, Any]
"""What an arm found: numbers by name, flat."""

SPLITS = ("train", "test", "shift")
ENCODERS: dict[str, dict[str, Any]] = {
    "dinov2": {"name": "dinov2_vits14"},
    "random_dinov2": {"name": "dinov2_vits14", "random_init": True},
    "efficientnet": {"name": "efficientnet_lite0"},
    "random_efficientnet": {"name": "efficientnet_lite0", "random_init": True},
    "mobilesam": {"name": "mobilesam"},
}
"""Frozen encoders by what a study calls them: the arguments of ``load_encoder``."""
QUARTERS = "_quarters"
"""What is put behind a name for the class tokens of the frame and of its quarters, instead of patches."""
SEEDED = ("towers", "dense", "language_model", "world")
"""Kinds of which there is one for each seed."""
CHUNK = 64


@dataclass(frozen=True)
class Need:
    """What must be made before an arm is run.

    Attributes:
        kind: ``scenes``, ``features``, ``towers``, ``dense``, ``language_model`` or ``world``.
        what: Which: an encoder of ``ENCODERS``, or what the maker of that kind knows.
        split: Of the scenes, for ``scenes`` and ``features``.
    """

    kind: str
    what: str = ""
    split: str = ""

    def folder(self, seed: int) -> str:
        """Return the name of the folder that it is in."""
        parts = [self.kind, self.what, self.split, str(seed) if self.kind in SEEDED else ""]
        return "-".join(part for part in parts if part)


def on_scenes(*splits: str) -> tuple[Need, ...]:
    """Return the need for scenes of some splits."""
    return tuple(Need("scenes", split=split) for split in splits)


def features_of(what: str, *splits: str) -> tuple[Need, ...]:
    """Return the need for features of an encoder on some splits, and for the scenes."""
    return (*on_scenes(*splits), *(Need("features", what, split) for split in splits))


def encoder_of(what: str) -> FrozenEncoder:
    """Load the frozen encoder that a study calls so.

    Raises:
        ConfigError: If there is none.
        CheckpointError: If its weights are missing.
    """
    from worldrl.encoders import load_encoder
    from worldrl.encoders.frozen import Encoder
    from worldrl.encoders.quarters import QuarterTokens

    name = what.removesuffix(QUARTERS)
    if name not in ENCODERS:
        raise ConfigError(f"features must be of one of {', '.join(ENCODERS)}, got '{what}'.")
    encoder = load_encoder(**ENCODERS[name])
    return QuarterTokens(encoder) if what != name and isinstance(encoder, Encoder) else encoder


@dataclass
class PoolOptions:
    """How many labelled scenes there are, and what they look like."""

    train: int = option(1200, "scenes of base classes")
    test: int = option(300, "scenes of all classes")
    shift: int = option(200, "scenes of all classes in another domain: light, camera, table")
    size: int = option(224, "height and width of a picture in pixels; a multiple of 112")
    seed: int = option(1, "of the scenes; seeds of an arm choose among them")


class Stock:
    """The shared folder, as those see it who read what is there.

    Args:
        folder: Where jobs of ``worldrl.recipes.studies.jobs`` put what they made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    def scenes(self, split: str) -> SceneSet:
        """Return the labelled scenes of a split.

        Raises:
            ConfigError: If there is no such split.
            DataError: If they are not there.
        """
        if split not in SPLITS:
            raise ConfigError(f"split must be one of {', '.join(SPLITS)}, got '{split}'.")
        return read_scenes(self.at(Need("scenes", split=split)) / "set")

    def features(self, what: str, split: str) -> Features:
        """Return the features of all scenes of a split ``(n, d)`` and ``(n, p, d)`` float32; cached ones are read.

        Raises:
            ConfigError: If there is no such encoder or split.
            CheckpointError: If its weights are missing.
        """
        import torch

        from worldrl.encoders import FeatureCache

        encoder, images = encoder_of(what), self.scenes(split).images
        with FeatureCache(self.at(Need("features", what, split)) / "cache", encoder) as cache:
            parts = [cache(np.array(images[i : i + CHUNK])) for i in range(0, len(images), CHUNK)]
        return Features(
            torch.cat([part.cls for part in parts]), torch.cat([part.patches for part in parts]), parts[0].grid
        )

    def towers(self, what: str, seed: int) -> Path:
        """Return the folder of saved towers."""
        return self.at(Need("towers", what), seed) / "model"

    def dense(self, what: str, seed: int) -> Path:
        """Return the folder of the dense features of towers."""
        return self.at(Need("dense", what), seed) / "model"

    def language_model(self, what: str, seed: int) -> Path:
        """Return the folder of a saved language model."""
        return self.at(Need("language_model", what), seed) / "model"

    def world(self, what: str, seed: int) -> Path:
        """Return the folder of a world: its episodes, observation, model and cloned policy."""
        return self.at(Need("world", what), seed) / "model"

    def at(self, need: Need, seed: int = 0) -> Path:
        """Return the folder of what is needed."""
        return self.folder / need.folder(seed)
