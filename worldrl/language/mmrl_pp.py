"""MMRL++: the same tokens from far fewer numbers, and slots that remember.

One map a tower is shared by all blocks, and each block adds a product of two thin matrices and a bias of its own; the
projection is the frozen one and such a product. Both products are zero at first.

Source: Guo and Gu 2025, "MMRL++: parameter-efficient and interaction-aware representation learning for vision-language
models", section 4 (arXiv:2505.10088).
"""

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor, nn

from worldrl.errors import ConfigError
from worldrl.language.mmrl import DEVIATION, Shapes


class SharedMaps(nn.Module):
    """Maps of space tokens into one tower's width, one for each block, most of which they share.

    Args:
        layers: Blocks ``l``.
        space: Width of space tokens ``s``.
        width: Of the tower ``d``.
        rank: Of what a block has for itself.
    """

    def __init__(self, *, layers: int, space: int, width: int, rank: int) -> None:
        super().__init__()
        self.shared = nn.Linear(space, width, bias=False)
        self.down = nn.Parameter(space**-0.5 * torch.randn(layers, space, rank))
        self.up = nn.Parameter(torch.zeros(layers, rank, width))
        self.bias = nn.Parameter(torch.zeros(layers, 1, width))

    def forward(self, tokens: Float[Tensor, "m s"]) -> Float[Tensor, "l m d"]:
        """Return the tokens of each block."""
        own = einsum(tokens, self.down, self.up, "m s, l s r, l r d -> l m d")
        mapped: Tensor = self.shared(tokens) + own + self.bias
        return mapped


class MmrlPlusPlus(nn.Module):
    """The tokens of MMRL++.

    Args:
        shapes: Of the towers.
        project: ``(e, v)`` the frozen projection of the image tower, from which that of the representation feature
            departs; it is not trained.
        blend: How much of its fresh tokens a block after the first takes, in (0, 1]; tuned from 0.1 to 0.9 in the
            paper.
        rank: Of what a block has for itself.
        project_rank: Of what the projection has for itself.

    Attributes:
        shapes: Of the towers.
        blend: See above.

    Raises:
        ConfigError: If ``blend`` is not in (0, 1], or a rank is below 1.
        ValueError: If the projection has another shape.
    """

    frozen: Tensor

    def __init__(
        self,
        shapes: Shapes,
        *,
        project: Float[Tensor, "e v"],
        blend: float = 0.5,
        rank: int = 4,
        project_rank: int = 64,
    ) -> None:
        if not 0 < blend <= 1:
            raise ConfigError(f"blend must be in (0, 1], got {blend:g}.")
        if min(rank, project_rank) < 1:
            raise ConfigError(f"ranks must be at least 1, got {rank} and {project_rank}.")
        if project.shape != (shapes.embedding, shapes.pictures):
            raise ValueError(f"project must be ({shapes.embedding}, {shapes.pictures}), got {tuple(project.shape)}.")
        super().__init__()
        self.shapes, self.blend = shapes, blend
        self.space = nn.Parameter(DEVIATION * torch.randn(shapes.tokens, shapes.space))
        sizes = {"layers": shapes.layers, "space": shapes.space, "rank": rank}
        self.to_pictures = SharedMaps(width=shapes.pictures, **sizes)
        self.to_words = SharedMaps(width=shapes.words, **sizes)
        self.down = nn.Parameter(shapes.pictures**-0.5 * torch.randn(project_rank, shapes.pictures))
        self.up = nn.Parameter(torch.zeros(shapes.embedding, project_rank))
        self.register_buffer("frozen", project.detach().clone(), persistent=False)

    def for_pictures(self) -> Float[Tensor, "l m v"]:
        """Return the fresh tokens of each block of the image tower."""
        tokens: Tensor = self.to_pictures(self.space)
        return tokens

    def for_words(self) -> Float[Tensor, "l m t"]:
        """Return the fresh tokens of each block of the text tower."""
        tokens: Tensor = self.to_words(self.space)
        return tokens

    def represent(self, tokens: Float[Tensor, "b m v"]) -> Float[Tensor, "b e"]:
        """Return the mean of the slots, through the frozen projection and what was learned beside it."""
        return tokens.mean(dim=1) @ (self.frozen + self.up @ self.down).T
