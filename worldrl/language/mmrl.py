"""Representation tokens: what MMRL puts beside the tokens of two frozen towers, from one space that both share.

A few space tokens are mapped into the width of either tower, anew for each of its last blocks. The space tokens and the
maps are all that is learned; the towers stay as they are.

Source: Guo and Gu 2025, "MMRL: multi-modal representation learning for vision-language models", section 3
(arXiv:2503.08497).
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor, nn

from worldrl.errors import ConfigError

DEVIATION = 0.02
"""Of space tokens at first."""


@dataclass(frozen=True)
class Shapes:
    """Sizes of the towers that tokens are for, and of the tokens.

    Attributes:
        pictures: Width of the image tower's tokens ``v``.
        words: Width of the text tower's tokens ``t``.
        embedding: Of the vectors that both end in ``e``.
        layers: Blocks of either tower that see the tokens, the last ones ``l``.
        space: Width of space tokens ``s``.
        tokens: How many there are ``m``.

    Raises:
        ConfigError: If one is below 1.
    """

    pictures: int
    words: int
    embedding: int
    layers: int
    space: int
    tokens: int = 5

    def __post_init__(self) -> None:
        sizes = vars(self)
        if min(sizes.values()) < 1:
            raise ConfigError(f"sizes of representation tokens must be at least 1, got {sizes}.")


class RepresentationTokens(Protocol):
    """What is put into two towers, and how it is read off again.

    Attributes:
        shapes: Their sizes.
        blend: How much of a block's fresh tokens comes into its slots, in (0, 1]; the rest is what the block before
            left there. 1 is MMRL, which overwrites.
    """

    shapes: Shapes
    blend: float

    def for_pictures(self) -> Float[Tensor, "l m v"]:
        """Return the fresh tokens of each block of the image tower."""
        ...

    def for_words(self) -> Float[Tensor, "l m t"]:
        """Return the fresh tokens of each block of the text tower."""
        ...

    def represent(self, tokens: Float[Tensor, "b m v"]) -> Float[Tensor, "b e"]:
        """Return the representation feature of what came out of the image tower in the slots, after its norm."""
        ...


class Mmrl(nn.Module):
    """The tokens of MMRL: a linear map of its own for each block of each tower, and a projection of their own.

    Args:
        shapes: Of the towers.
        project: ``(e, v)`` where the projection of the representation feature starts; at random if none is given, as
            in the release.

    Attributes:
        shapes: Of the towers.
        blend: 1: slots are overwritten before each block.
    """

    blend = 1.0

    def __init__(self, shapes: Shapes, *, project: Float[Tensor, "e v"] | None = None) -> None:
        super().__init__()
        self.shapes = shapes
        self.space = nn.Parameter(DEVIATION * torch.randn(shapes.tokens, shapes.space))
        self.to_pictures = nn.ModuleList(nn.Linear(shapes.space, shapes.pictures) for _ in range(shapes.layers))
        self.to_words = nn.ModuleList(nn.Linear(shapes.space, shapes.words) for _ in range(shapes.layers))
        self.project = nn.Linear(shapes.pictures, shapes.embedding, bias=False)
        if project is not None:
            with torch.no_grad():
                self.project.weight.copy_(project)

    def for_pictures(self) -> Float[Tensor, "l m v"]:
        """Return the fresh tokens of each block of the image tower."""
        return torch.stack([layer(self.space) for layer in self.to_pictures])

    def for_words(self) -> Float[Tensor, "l m t"]:
        """Return the fresh tokens of each block of the text tower."""
        return torch.stack([layer(self.space) for layer in self.to_words])

    def represent(self, tokens: Float[Tensor, "b m v"]) -> Float[Tensor, "b e"]:
        """Return the projected mean of the slots."""
        feature: Tensor = self.project(tokens.mean(dim=1))
        return feature
