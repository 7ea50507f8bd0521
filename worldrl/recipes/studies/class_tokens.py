"""Class tokens and mean patches of several encoder layers, computed once and kept beside the other features."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from worldrl import checkpoint
from worldrl.encoders import load_encoder
from worldrl.encoders.frozen import Encoder
from worldrl.errors import ConfigError
from worldrl.language.ep_alm import tokens_of_layers
from worldrl.recipes.studies.stock import ENCODERS, Stock

FOLDER, KIND = "cls_layers", "cls_layers"
LAYERS = (7, 8, 9, 10, 11, 12)
"""Blocks that are kept: the later half of DINOv2."""
TOKENS = ("class", "mean")
CHUNK = 64


def read(what: str, split: str, *, stock: Stock, token: str) -> Tensor:
    """Return a token of each kept block for every scene of a split ``(n, 6, d)``, float32; made if it is not there.

    Args:
        what: ``dinov2`` or ``random_dinov2``.
        split: Of the scenes.
        stock: Where scenes are, and where tokens are kept.
        token: ``class`` for the class token, ``mean`` for the mean patch.

    Raises:
        ConfigError: If there is no such token, or the encoder has none.
        CheckpointError: If the encoder's weights are missing, or what is kept is damaged.
    """
    if token not in TOKENS:
        raise ConfigError(f"token must be one of {', '.join(TOKENS)}, got '{token}'.")
    folder = stock.folder / FOLDER / what / split
    if not (folder / "manifest.json").exists():
        _make(folder, what, split, stock)
    return checkpoint.load(folder, kind=KIND).tensors[token].float()


def _make(folder: Path, what: str, split: str, stock: Stock) -> None:
    """Compute both tokens of all scenes; whoever is first puts them in place, whole."""
    encoder = load_encoder(**ENCODERS[what])
    if not isinstance(encoder, Encoder):
        raise ConfigError(f"class tokens must be of an encoder with all its tokens, got {what}.")
    images = stock.scenes(split).images
    parts = [tokens_of_layers(encoder, np.array(images[i : i + CHUNK]), LAYERS) for i in range(0, len(images), CHUNK)]
    tensors = {name: torch.cat([part[j] for part in parts]) for j, name in enumerate(TOKENS)}
    config = {"encoder": encoder.weights_hash, "layers": list(LAYERS), "scenes": len(images)}
    checkpoint.save(folder, kind=KIND, config=config, tensors=tensors)
