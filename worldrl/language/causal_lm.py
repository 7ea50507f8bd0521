"""Language models that go on with a text word by word, frozen, and read vectors where they would read words."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from worldrl import checkpoint
from worldrl.checkpoint import hash_tensors
from worldrl.errors import ConfigError, DataError
from worldrl.language.words import Words

KIND = "language_model"
LIMIT = 192
"""Most words and vectors together that a model of ours reads; its positions are relative."""
TURN = 10_000.0
"""Longest period of the rotations that tell positions, in words."""


class CausalLM(Protocol):
    """A frozen language model that reads vectors.

    Attributes:
        width: Numbers of a vector.
        depth: Number of layers.
        limit: Most vectors that it reads at once.
        end: Number of the piece that ends a text and stands before one.
        fingerprint: Equal fingerprints, equal logits.
    """

    width: int
    depth: int
    limit: int
    end: int

    @property
    def fingerprint(self) -> str: ...  # noqa: D102

    def read(self, text: str) -> list[int]:
        """Return the pieces of a text, without its end; refuse one that is too long with a ``DataError``."""
        ...

    def say(self, pieces: Sequence[int]) -> str:
        """Return the text of some pieces, up to the first end."""
        ...

    def embed(self, pieces: Int[Tensor, "b n"]) -> Float[Tensor, "b n d"]:
        """Return the vectors that it reads for some pieces."""
        ...

    def __call__(
        self, vectors: Float[Tensor, "b n d"], *, inserts: Mapping[int, Tensor] | None = None
    ) -> Float[Tensor, "b n v"]:
        """Return the logits of what comes after each vector; gradients pass to the vectors.

        Args:
            vectors: ``(b, n, d)``; each sees itself and those before it.
            inserts: ``(b, s, d)`` by layer, from zero: what takes the place of the first ``s`` vectors before it.
        """
        ...


class CausalBlock(nn.Module):
    """A pre-norm transformer block whose tokens see themselves and what came before; positions are rotations.

    Before they look, tokens are mixed with the two before them, number by number: who looks for what came after a word
    then finds it in one layer, and a small model learns to repeat what it has read in hundreds of steps, not thousands.

    Source: Vaswani et al. 2017 (arXiv:1706.03762); Su et al. 2021, section 3.4 (arXiv:2104.09864) for the rotations;
        So et al. 2021, section 3 (arXiv:2109.08668) for mixing neighbours, there after the projections.

    Args:
        width: Feature width ``d``.
        heads: Attention heads; ``width`` is a multiple of twice their number.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.nearer = nn.Parameter(torch.full((2, width), 0.3))
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Let the tokens ``(b, n, d)`` look back, then transform each."""
        mixed = self._mix(self.norm1(tokens))
        q, k, v = rearrange(self.qkv(mixed), "b n (three k d) -> three b k n d", three=3, k=self.heads)
        seen = F.scaled_dot_product_attention(rotate(q), rotate(k), v, is_causal=True)
        tokens = tokens + self.out(rearrange(seen, "b k n d -> b n (k d)"))
        changed: Tensor = self.fc2(F.gelu(self.fc1(self.norm2(tokens))))
        return tokens + changed

    def _mix(self, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        one, two = (F.pad(tokens, (0, 0, back, 0))[:, : tokens.shape[1]] for back in (1, 2))
        return tokens + self.nearer[0] * one + self.nearer[1] * two


def rotate(vectors: Float[Tensor, "b k n d"]) -> Float[Tensor, "b k n d"]:
    """Turn pairs of numbers by angles that grow with the position, so that products tell how far two are apart."""
    half = vectors.shape[-1] // 2
    speed = TURN ** -(torch.arange(half, device=vectors.device, dtype=torch.float32) / half)
    angle = torch.arange(vectors.shape[-2], device=vectors.device, dtype=torch.float32)[:, None] * speed
    x, y = vectors[..., :half], vectors[..., half:]
    return torch.cat([x * angle.cos() - y * angle.sin(), x * angle.sin() + y * angle.cos()], dim=-1)


class WordLM(nn.Module):
    """A small language model over whole words.

    A new instance has random weights and can be trained; ``freeze`` ends that for good, and one that was loaded is
    frozen. What it was fitted on is text alone: it has never seen a picture.

    Args:
        words: Its vocabulary but for the end of a sentence.
        width: Numbers of a vector ``d``.
        depth: Number of layers.
        heads: Attention heads.
        limit: Most vectors that it reads at once.

    Attributes:
        end: Number of the end of a sentence, 0.

    Raises:
        ConfigError: If a size is below one, the heads do not divide the width into even parts, or words are missing.
    """

    def __init__(
        self, words: Sequence[str], *, width: int = 128, depth: int = 6, heads: int = 4, limit: int = LIMIT
    ) -> None:
        if min(width, depth, heads, limit) < 1 or width % (2 * heads):
            raise ConfigError(
                f"width must be a multiple of twice the heads, and all sizes at least 1, got width={width}, "
                f"heads={heads}, depth={depth} and limit={limit}."
            )
        super().__init__()
        self.words = Words(words)
        self.width, self.depth, self.heads, self.limit, self.end = width, depth, heads, limit, 0
        self.table = nn.Embedding(len(self.words), width)
        self.blocks = nn.ModuleList(CausalBlock(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.is_frozen = False
        nn.init.normal_(self.table.weight, std=width**-0.5)

    @property
    def fingerprint(self) -> str:
        """Hash of vocabulary, limit and weights: equal fingerprints, equal logits."""
        description = {**self._config(), "weights": hash_tensors(self.state_dict())}
        return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()

    def train(self, mode: bool = True) -> "WordLM":
        """Stay in evaluation mode once it is frozen, whatever the mode."""
        return super().train(mode and not self.is_frozen)

    def freeze(self) -> "WordLM":
        """End training for good; gradients still pass through to what it reads."""
        self.is_frozen = True
        self.requires_grad_(False)
        return self.train(False)

    def read(self, text: str) -> list[int]:
        """Return the numbers of the words of a text, without its end.

        Raises:
            DataError: If it is too long, or a word is not in the vocabulary.
        """
        pieces = self.words.read(text)
        check_length(len(pieces) + 2, self.limit, text)
        return pieces

    def say(self, pieces: Sequence[int]) -> str:
        """Return the text of some words, up to the first end of a sentence."""
        return self.words.say(pieces)

    def embed(self, pieces: Int[Tensor, "b n"]) -> Float[Tensor, "b n d"]:
        """Return the vectors of some words."""
        vectors: Tensor = self.table(pieces)
        return vectors

    def forward(
        self, vectors: Float[Tensor, "b n d"], *, inserts: Mapping[int, Tensor] | None = None
    ) -> Float[Tensor, "b n v"]:
        """Return the logits of the word after each vector; see ``CausalLM``.

        Raises:
            DataError: If there are more vectors than the limit.
            ConfigError: If something is to be inserted before a layer that there is not.
        """
        inserts = inserts or {}
        check_inserts(inserts, self.depth)
        check_length(vectors.shape[1], self.limit)
        for layer, block in enumerate(self.blocks):
            vectors = block(overwrite(vectors, inserts.get(layer)))
        logits: Tensor = self.norm(vectors) @ self.table.weight.T
        return logits

    def save_pretrained(self, folder: Path) -> None:
        """Save vocabulary, sizes and weights as a checkpoint folder."""
        checkpoint.save(Path(folder), kind=KIND, config=self._config(), tensors=self.state_dict())

    @classmethod
    def from_pretrained(cls, folder: Path) -> "WordLM":
        """Load a frozen model that ``save_pretrained`` saved.

        Raises:
            CheckpointError: If there is none, or it is damaged or of another kind.
        """
        found = checkpoint.load(Path(folder), kind=KIND)
        with checkpoint.described(found.path, "a language model"):
            config = dict(found.config)
            model = cls(config.pop("words"), **config)
        checkpoint.load_state(model, found.tensors, path=found.path)
        return model.freeze()

    def _config(self) -> dict[str, object]:
        sizes = {"width": self.width, "depth": self.depth, "heads": self.heads, "limit": self.limit}
        return {"words": list(self.words.words[1:]), **sizes}


def overwrite(vectors: Float[Tensor, "b n d"], insert: Float[Tensor, "b s d"] | None) -> Float[Tensor, "b n d"]:
    """Return vectors ``(b, n, d)`` whose first ``s`` are others ``(b, s, d)``."""
    return vectors if insert is None else torch.cat([insert, vectors[:, insert.shape[1] :]], dim=1)


def check_inserts(inserts: Mapping[int, Tensor], depth: int) -> None:
    """Refuse to insert before a layer that a model does not have.

    Raises:
        ConfigError: If there is such a layer.
    """
    beyond = sorted(layer for layer in inserts if not 0 <= layer < depth)
    if beyond:
        raise ConfigError(f"layers to insert before must be in [0, {depth - 1}], got {beyond[0]}: take fewer.")


def check_length(length: int, limit: int, text: str = "") -> None:
    """Refuse more vectors than a model reads.

    Raises:
        DataError: If there are more.
    """
    if length > limit:
        told = f" in '{text[:40]}...'" if text else ""
        raise DataError(f"a text with all that stands before it must have at most {limit} pieces, got {length}{told}.")


def load_language_model(name: str | Path) -> CausalLM:
    """Load a frozen language model.

    Args:
        name: A folder that ``WordLM.save_pretrained`` made, or ``transformers:NAME``, which is asked to download it if
            need be.

    Raises:
        CheckpointError: If there is none, or it is damaged.
        ConfigError: If the library is not installed.
    """
    if str(name).startswith("transformers:"):
        from worldrl.language.foreign_lm import load_foreign_lm

        return load_foreign_lm(str(name).removeprefix("transformers:"))
    return WordLM.from_pretrained(Path(name))
