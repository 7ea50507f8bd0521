"""The image tower above a frozen map: cells, a class token, blocks, and one projection for all of them."""

import torch
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from worldrl.errors import ConfigError
from worldrl.language.blocks import Block


class ImageTower(nn.Module):
    """The cells of a map to vectors: first that of the whole picture, then one of each cell.

    Args:
        inputs: Numbers of a cell ``c``.
        width: Of tokens ``d``.
        embedding: Of vectors ``e``.
        depth: Blocks.
        heads: Of attention.
        grid: Rows and columns of the learned positions, which are stretched to the map.

    Attributes:
        width: Of tokens.
        shift: ``(c,)`` what is subtracted from cells.
        scale: ``(c,)`` what they are divided by then; both are set by ``standardise``.

    Raises:
        ConfigError: If there is no block, or the positions are less than two by two.
    """

    shift: Tensor
    scale: Tensor

    def __init__(
        self, *, inputs: int, width: int = 128, embedding: int = 128, depth: int = 4, heads: int = 4, grid: int = 7
    ) -> None:
        if depth < 1 or grid < 2:
            raise ConfigError(f"depth must be at least 1 and grid at least 2, got {depth} and {grid}.")
        super().__init__()
        self.width, self.grid, self.heads = width, grid, heads
        self.register_buffer("shift", torch.zeros(inputs))
        self.register_buffer("scale", torch.ones(inputs))
        self.enter = nn.Linear(inputs, width)
        self.class_token = nn.Parameter(0.02 * torch.randn(width))
        self.positions = nn.Parameter(0.02 * torch.randn(width, grid, grid))
        self.blocks = nn.ModuleList(Block(width=width, heads=heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, embedding, bias=False)

    @torch.no_grad()
    def standardise(self, cells: Float[Tensor, "b p c"]) -> None:
        """Take the mean and the deviation of these cells, so that the tower's inputs have 0 and 1."""
        flat = rearrange(cells, "b p c -> (b p) c").float()
        self.shift.copy_(flat.mean(dim=0))
        self.scale.copy_(flat.std(dim=0).clamp_min(1e-3))

    def start(self, cells: Float[Tensor, "b p c"], grid: tuple[int, int]) -> Float[Tensor, "b n d"]:
        """Return the tokens before the first block, the class token first.

        Raises:
            ValueError: If the cells are not those of the grid.
        """
        if cells.ndim != 3 or cells.shape[1:] != (grid[0] * grid[1], len(self.shift)):
            raise ValueError(f"cells must be (b, {grid[0] * grid[1]}, {len(self.shift)}), got {tuple(cells.shape)}.")
        tokens = self.enter((cells.float() - self.shift) / self.scale) + self._positions(grid)
        return torch.cat([repeat(self.class_token, "d -> b 1 d", b=len(cells)), tokens], dim=1)

    def finish(self, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b n e"]:
        """Return the vectors of tokens after the last block, of any length."""
        vectors: Tensor = self.project(self.norm(tokens))
        return vectors

    def forward(self, cells: Float[Tensor, "b p c"], grid: tuple[int, int]) -> Float[Tensor, "b n e"]:
        """Return the vectors of the whole picture and of its cells, of any length."""
        tokens = self.start(cells, grid)
        for block in self.blocks:
            tokens = block(tokens)
        return self.finish(tokens)

    def _positions(self, grid: tuple[int, int]) -> Float[Tensor, "p d"]:
        table: Tensor = rearrange(self.positions, "d i j -> 1 d i j")
        if grid != (self.grid, self.grid):
            table = F.interpolate(table, size=grid, mode="bicubic", align_corners=False)
        return rearrange(table, "1 d i j -> (i j) d")
