"""How a frozen language model is shown something: vectors before the text, and vectors inside."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor, nn

from worldrl.errors import ConfigError


@dataclass(frozen=True)
class Shown:
    """What a language model gets to see of a batch of pictures.

    Attributes:
        prefix: ``(b, s, d)`` vectors before the text, in the language model's own width.
        inserts: ``(b, k, d)`` by layer, from zero: what takes the place of the first ``k`` of them before it.
    """

    prefix: Float[Tensor, "b s d"]
    inserts: Mapping[int, Tensor] = field(default_factory=dict)


class Bridge(Protocol):
    """What is trained between a frozen encoder and a frozen language model.

    Attributes:
        length: Vectors that it puts before the text.
    """

    length: int

    def __call__(self, features: Float[Tensor, "b p d"]) -> Shown:
        """Return what the language model gets to see of features ``(b, p, d)``."""
        ...


class SoftPrefix(nn.Module):
    """A few learned vectors that are the same for every picture: the blind control.

    With it the language model learns how captions go and what is said most often, and sees nothing.

    Args:
        width: Of the language model.
        length: Number of vectors.
    """

    def __init__(self, *, width: int, length: int = 1) -> None:
        if length < 1:
            raise ConfigError(f"length must be at least 1, got {length}.")
        super().__init__()
        self.length = length
        self.vectors = nn.Parameter(torch.randn(1, length, width) * width**-0.5)

    def forward(self, features: Float[Tensor, "b p d"]) -> Shown:
        """Return the learned vectors, whatever the features ``(b, p, d)``."""
        return Shown(self.vectors.expand(len(features), -1, -1))


class Standardised(nn.Module):
    """Features whose every number has mean 0 and deviation 1 over the training pictures; nothing in it is trained.

    It is a fixed part of the linear map behind it, which stays linear; it only lets encoders of any scale share one
    learning rate (our choice).

    Args:
        example: Features ``(m, ..., d)`` of the training pictures.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, example: Tensor) -> None:
        super().__init__()
        rows = example.flatten(0, -2).float()
        self.register_buffer("mean", rows.mean(dim=0))
        self.register_buffer("scale", 1 / rows.std(dim=0).clamp_min(1e-4))

    def forward(self, features: Tensor) -> Tensor:
        """Return features ``(..., d)`` standardised."""
        standard: Tensor = (features - self.mean) * self.scale
        return standard
