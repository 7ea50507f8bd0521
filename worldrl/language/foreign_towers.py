"""CLIP and its kin of other libraries behind the interface of our own towers: transformers and OpenCLIP.

The library is imported when a name asks for it, and may then download what is named. Pictures are resized to what the
network was trained with, whole and without a crop (our choice: what stands at the border counts as well).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from worldrl.encoders.foreign import FAILURES, Plan, plan_of
from worldrl.encoders.frozen import check_frames
from worldrl.errors import CheckpointError, ConfigError, DataError, first_line

FORMS = ("transformers:NAME", "open_clip:NAME/PRETRAINED")
MICRO_BATCH = 32
SIGLIP = "siglip"
"""Its texts are read with their padding, which it was trained with."""


@dataclass(frozen=True)
class Halves:
    """How a network of pictures and texts is asked.

    Attributes:
        net: The network.
        see: Normalised RGB ``(b, 3, h, w)`` to vectors ``(b, e)``.
        read: Texts to vectors ``(k, e)``.
        count: A text to the number of tokens it has.
        limit: Most tokens of a text.
    """

    net: nn.Module
    see: Callable[[Tensor], Tensor]
    read: Callable[[Sequence[str]], Tensor]
    count: Callable[[str], int]
    limit: int


class ForeignTowers(nn.Module):
    """Pictures and texts to vectors of one space, frozen.

    Args:
        halves: How the network is asked.
        plan: What is known of it: mean, deviation and size of its pictures.
        name: What it was loaded by.

    Attributes:
        limit: Most tokens of a text.
    """

    def __init__(self, halves: Halves, plan: Plan, *, name: str) -> None:
        super().__init__()
        self.net, self.halves, self.plan, self.name = halves.net, halves, plan, name
        self.limit = halves.limit
        self.requires_grad_(False)
        self.train(False)

    def train(self, mode: bool = True) -> "ForeignTowers":
        """Stay in evaluation mode, whatever the mode."""
        return super().train(False)

    @torch.no_grad()
    def images(self, frames: npt.NDArray[np.uint8]) -> Float[Tensor, "b e"]:
        """Return unit vectors of pictures ``(b, h, w, 3)`` uint8 of any size.

        Raises:
            TypeError: If the frames are not uint8.
            ValueError: If their shape is wrong.
        """
        check_frames(frames)
        parts = [self._see(frames[i : i + MICRO_BATCH]) for i in range(0, len(frames), MICRO_BATCH)]
        return F.normalize(torch.cat(parts), dim=-1)

    @torch.no_grad()
    def texts(self, texts: Sequence[str], context: Tensor | None = None) -> Float[Tensor, "k e"]:
        """Return unit vectors of texts.

        Raises:
            ConfigError: If a context is given: prompts are learned in two towers of ours alone.
            TypeError: If the texts are one string.
            ValueError: If there is no text.
            DataError: If a text has too many tokens.
        """
        if context is not None:
            raise ConfigError(f"context must be None for {self.name}: prompts are learned in two towers of ours alone.")
        if isinstance(texts, str) or not texts:
            kind = TypeError if isinstance(texts, str) else ValueError
            raise kind(f"texts must be a list of at least one string, got {texts!r:.60}.")
        counts = [self.halves.count(text) for text in texts]
        if max(counts) > self.limit:
            text = texts[counts.index(max(counts))]
            raise DataError(
                f"a text must have at most {self.limit} tokens for {self.name}, got {max(counts)} in '{text[:40]}...': "
                "shorten it."
            )
        return F.normalize(self.halves.read(texts), dim=-1)

    def _see(self, frames: npt.NDArray[np.uint8]) -> Tensor:
        pixels = rearrange(torch.from_numpy(np.array(frames)), "b h w c -> b c h w").float()
        shown = F.interpolate(pixels, size=self.plan.size, mode="bicubic", antialias=True).clamp(0, 255)
        mean, std = (rearrange(torch.tensor(value), "c -> c 1 1") for value in (self.plan.mean, self.plan.std))
        return self.halves.see((shown - mean) / std)


def load_towers(name: str) -> ForeignTowers:
    """Load a network of pictures and texts of another library, with the weights that this has for it.

    Args:
        name: ``transformers:NAME`` or ``open_clip:NAME/PRETRAINED``.

    Raises:
        ConfigError: If the name is of neither form, the library is not installed, or has no such network.
        CheckpointError: If its weights cannot be had.
    """
    library, _, inner = name.partition(":")
    if library not in _BUILDERS or not inner:
        raise ConfigError(f"towers must be {' or '.join(FORMS)}, got '{name}'.")
    plan = plan_of(name)
    try:
        halves = _BUILDERS[library](import_module(library), inner)
    except FAILURES as error:
        raise CheckpointError(f"{library} cannot load '{inner}': {first_line(error)}.") from error
    return ForeignTowers(halves, plan, name=name)


def _transformers(transformers: Any, name: str) -> Halves:
    net = transformers.AutoModel.from_pretrained(name, use_safetensors=True)
    return halves_of_transformers(net, transformers.AutoTokenizer.from_pretrained(name))


def halves_of_transformers(net: Any, tokenizer: Callable[..., Any]) -> Halves:
    """Return how a network of transformers is asked.

    Args:
        net: With ``get_image_features`` and ``get_text_features``.
        tokenizer: Its tokenizer.

    Raises:
        ValueError: If it has no such features.
    """
    if not hasattr(net, "get_image_features") or not hasattr(net, "get_text_features"):
        raise ValueError("this network has no features of pictures and texts in one space")
    limit = net.config.text_config.max_position_embeddings
    padded = SIGLIP in net.config.model_type
    padding = {"padding": "max_length", "max_length": limit} if padded else {"padding": True}

    def read(texts: Sequence[str]) -> Tensor:
        return _pooled(net.get_text_features(**tokenizer(list(texts), return_tensors="pt", **padding)))

    return Halves(
        net,
        lambda pixels: _pooled(net.get_image_features(pixel_values=pixels)),
        read,
        lambda text: len(tokenizer([text])["input_ids"][0]),
        limit,
    )


def _pooled(found: Any) -> Tensor:
    """Return the vectors of what transformers gives: since version 5 they stand in a field."""
    vectors: Tensor = found if isinstance(found, Tensor) else found.pooler_output
    return vectors


def _open_clip(open_clip: Any, name: str) -> Halves:
    model, _, tag = name.partition("/")
    if not tag:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(model)) or "there are none"
        raise ValueError(f"which weights must be said, as {model}/PRETRAINED, of: {tags}")
    net = open_clip.create_model(model, pretrained=tag)
    tokenizer, limit = open_clip.get_tokenizer(model), int(net.context_length)

    def count(text: str) -> int:
        row, empty = tokenizer([text, ""], context_length=4 * limit)
        return int((row != empty[-1]).nonzero().max()) + 1

    return Halves(net, net.encode_image, lambda texts: net.encode_text(tokenizer(list(texts))), count, limit)


_BUILDERS: dict[str, Callable[[Any, str], Halves]] = {"transformers": _transformers, "open_clip": _open_clip}
