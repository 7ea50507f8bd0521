"""A pretrained text encoder and its vocabulary as one object that cannot be trained by accident."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from worldrl.checkpoint import hash_tensors, load_state
from worldrl.encoders.bert import POSITIONS, Bert
from worldrl.encoders.frozen import MICRO_BATCH, on_device, seeded
from worldrl.encoders.registry import WEIGHTS
from worldrl.encoders.weights import converted_folder, load_weights
from worldrl.encoders.wordpiece import WordPiece
from worldrl.errors import ConfigError, DataError

LIMIT = 256
"""Most pieces of a text, those around it included: what all-MiniLM-L6-v2 was trained with."""
TEXT_ENCODERS = [name for name, entry in WEIGHTS.items() if entry.architecture == "minilm"]
"""The weights that are of a text encoder."""


class FrozenTextEncoder(nn.Module):
    """Texts to unit vectors: vocabulary, transformer and mean, frozen.

    The product of two vectors says how close their texts are: 1 for the same, about 0 for unrelated ones. It stays in
    evaluation mode whatever is asked of it, and no gradient passes.

    Args:
        backbone: The network; its weights are frozen in place.
        words: The vocabulary that its weights were trained with.
        name: Its name in the registry.
        truncate: Whether to read only the beginning of a text that is too long, instead of refusing it.
        limit: Most pieces a text may have, those around it included.

    Attributes:
        name: Its name in the registry.
        width: Numbers of a vector ``d``.
        weights_hash: Hash of all weights.
        fingerprint: Hash of weights, vocabulary and limit: equal fingerprints, equal vectors.

    Raises:
        ConfigError: If the limit is more than there are positions, or leaves room for no piece.
        CheckpointError: If the vocabulary lacks a piece that every text needs.
    """

    def __init__(
        self, backbone: Bert, words: Sequence[str], *, name: str, truncate: bool = False, limit: int = LIMIT
    ) -> None:
        if not 3 <= limit <= POSITIONS:
            raise ConfigError(f"limit must be in [3, {POSITIONS}], got {limit}.")
        super().__init__()
        self.backbone, self.tokenizer = backbone, WordPiece(words)
        self.name, self.truncate, self.limit = name, truncate, limit
        self.width = backbone.width
        self.requires_grad_(False)
        self.train(False)
        self.weights_hash = hash_tensors(backbone.state_dict())
        description = {"weights": self.weights_hash, "vocabulary": list(words), "limit": limit}
        self.fingerprint = hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()

    @property
    def device(self) -> torch.device:
        """Where it computes, and where its vectors are."""
        return self.backbone.positions.device

    def train(self, mode: bool = True) -> "FrozenTextEncoder":
        """Stay in evaluation mode, whatever the mode."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, texts: Sequence[str]) -> Float[Tensor, "b d"]:
        """Encode texts, 32 at a time.

        Args:
            texts: Any number of texts but none; case and accents make no difference.

        Returns:
            Unit vectors ``(b, d)``, float32.

        Raises:
            TypeError: If the texts are one string, or one of them is none.
            ValueError: If there is no text.
            DataError: If a text is longer than the limit, and ``truncate`` is off.
        """
        if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
            raise TypeError(f"texts must be a list of strings, got {texts!r:.60}.")
        if not texts:
            raise ValueError("texts must be at least one, got none.")
        numbers = [self._read(text) for text in texts]
        self.backbone.eval()
        return torch.cat([self._encode(numbers[i : i + MICRO_BATCH]) for i in range(0, len(numbers), MICRO_BATCH)])

    def _read(self, text: str) -> Tensor:
        numbers = self.tokenizer(text)
        if len(numbers) > self.limit and not self.truncate:
            raise DataError(
                f"a text must have at most {self.limit - 2} pieces of words for {self.name}, got {len(numbers) - 2} "
                f"in '{text[:40]}...': shorten it, or load the encoder with truncate=True."
            )
        return torch.tensor([*numbers[: self.limit - 1], numbers[-1]] if len(numbers) > self.limit else numbers)

    def _encode(self, numbers: list[Tensor]) -> Tensor:
        real = pad_sequence([torch.ones(len(row), dtype=torch.bool) for row in numbers], batch_first=True)
        pieces = pad_sequence(numbers, batch_first=True)
        vectors: Tensor = self.backbone(pieces.to(self.device), real=real.to(self.device))
        return vectors


def load_text_encoder(
    name: str = "minilm",
    *,
    device: str = "cpu",
    random_init: bool = False,
    seed: int = 0,
    weights: Path | None = None,
    truncate: bool = False,
) -> FrozenTextEncoder:
    """Load a frozen text encoder.

    Args:
        name: ``minilm`` (all-MiniLM-L6-v2: English, at most 254 pieces of words a text).
        device: Where to compute.
        random_init: Whether to leave the weights at random: the control for what pretraining brings. The vocabulary
            is that of the weights, which must be here all the same.
        seed: What those random weights follow from; the global generator is left alone.
        weights: The original weights file with ``vocab.txt`` beside it, or a converted folder, instead of looking
            for them.
        truncate: Whether to read only the beginning of a text that is too long, instead of refusing it.

    Raises:
        ConfigError: If there is no such encoder.
        CheckpointError: If its weights are missing, damaged or not the pinned ones.
        DeviceError: If this machine does not have the device.
    """
    if name not in TEXT_ENCODERS:
        raise ConfigError(f"text encoder must be one of {', '.join(TEXT_ENCODERS)}, got '{name}'.")
    target = on_device(device)
    tensors = load_weights(name, weights=weights)
    words = tensors.pop("vocabulary").numpy().tobytes().decode().removesuffix("\n").split("\n")
    backbone = seeded(Bert, seed)
    if not random_init:
        load_state(backbone, tensors, path=weights or converted_folder(name))
    return FrozenTextEncoder(backbone, words, name=name, truncate=truncate).to(target)
