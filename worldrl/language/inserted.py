"""Two frozen towers whose last blocks see representation tokens beside their own.

Pictures become ``[class, slots, cells]`` and texts ``[start, slots, words, end]`` before the first of those blocks. The
text tower's attention looks back only, over the longer row too; an end stands as many places further on as there are
slots.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from einops import repeat
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from worldrl.errors import ConfigError
from worldrl.language.mmrl import RepresentationTokens, Shapes
from worldrl.language.text_tower import Spoken
from worldrl.language.two_tower import Cells, TwoTower

MICRO_BATCH = 64


@dataclass(frozen=True)
class Seen:
    """What is seen in some pictures, in the space of texts.

    Attributes:
        classes: ``(b, e)`` unit vectors of the class tokens, through the frozen projection.
        represented: ``(b, e)`` unit vectors of the slots, through the learned one; the same as ``classes`` where there
            are no slots.
        cells: ``(b, p, e)`` of each cell, of any length, through the frozen projection.
    """

    classes: Float[Tensor, "b e"]
    represented: Float[Tensor, "b e"]
    cells: Float[Tensor, "b p e"]


class InsertedTowers(nn.Module):
    """Two towers with tokens inserted; only the tokens are parts of it, the towers are looked at.

    Args:
        towers: Frozen.
        tokens: What is inserted, a module that is ``RepresentationTokens``; none for the towers as they are.

    Raises:
        ConfigError: If the towers have fewer blocks than the tokens are for, or other widths.
    """

    def __init__(self, towers: TwoTower, tokens: RepresentationTokens | None) -> None:
        super().__init__()
        self._towers = (towers,)  # in a tuple, so that it is not among this module's own parts
        self.tokens = tokens
        if tokens is not None:
            expected = shapes_of(towers, layers=tokens.shapes.layers, space=tokens.shapes.space)
            widths = [(shapes.pictures, shapes.words, shapes.embedding) for shapes in (expected, tokens.shapes)]
            if widths[0] != widths[1]:
                raise ConfigError(f"tokens must be for towers of widths {widths[0]}, got {widths[1]}.")

    @property
    def towers(self) -> TwoTower:
        """The frozen towers."""
        return self._towers[0]

    @torch.no_grad()
    def enter(self, cells: Cells) -> Float[Tensor, "b n d"]:
        """Return the tokens of pictures before the first block that sees slots; nothing learned is in them yet."""
        tower, parts = self.towers.pictures, []
        for rows in torch.split(cells.rows, MICRO_BATCH):
            tokens = tower.start(rows, cells.grid)
            for block in tower.blocks[: len(tower.blocks) - self._layers()]:
                tokens = block(tokens)
            parts.append(tokens)
        return torch.cat(parts)

    def see(self, tokens: Float[Tensor, "b n d"]) -> Seen:
        """Return what is seen in pictures that have entered; a gradient reaches what is learned."""
        tower = self.towers.pictures
        fresh = None if self.tokens is None else self.tokens.for_pictures()
        out = self._pass(tokens, tower.blocks[len(tower.blocks) - self._layers() :], fresh)
        slots = self._slots()
        ended = tower.finish(torch.cat([out[:, :1], out[:, 1 + slots :]], dim=1))
        classes = F.normalize(ended[:, 0], dim=-1)
        if self.tokens is None:
            return Seen(classes, classes, ended[:, 1:])
        represented = F.normalize(self.tokens.represent(tower.norm(out[:, 1 : 1 + slots])), dim=-1)
        return Seen(classes, represented, ended[:, 1:])

    @torch.no_grad()
    def see_all(self, cells: Cells) -> Seen:
        """Return what is seen in any number of pictures, without a gradient."""
        parts = [self.see(tokens) for tokens in torch.split(self.enter(cells), MICRO_BATCH)]
        return Seen(*(torch.cat([getattr(part, name) for part in parts]) for name in vars(parts[0])))

    @torch.no_grad()
    def enter_texts(self, texts: Sequence[str]) -> Spoken:
        """Return texts before the first block that sees slots; see ``TextTower.start`` for what is refused."""
        tower = self.towers.words
        spoken = tower.start(texts)
        tokens = spoken.tokens
        for block in tower.blocks[: len(tower.blocks) - self._layers()]:
            tokens = block(tokens)
        return Spoken(tokens, spoken.ends)

    def read(self, spoken: Spoken) -> Float[Tensor, "k e"]:
        """Return unit vectors of texts that have entered; a gradient reaches what is learned."""
        tower = self.towers.words
        fresh = None if self.tokens is None else self.tokens.for_words()
        out = self._pass(spoken.tokens, tower.blocks[len(tower.blocks) - self._layers() :], fresh)
        return F.normalize(tower.finish(out, spoken.ends + self._slots()), dim=-1)

    def _pass(self, tokens: Tensor, blocks: nn.ModuleList, fresh: Tensor | None) -> Tensor:
        """Take tokens through blocks, each with its fresh tokens behind the first one."""
        after = 1
        for i, block in enumerate(blocks):
            if self.tokens is not None and fresh is not None:
                slots = repeat(fresh[i], "m d -> b m d", b=len(tokens))
                if i and self.tokens.blend < 1:
                    slots = self.tokens.blend * slots + (1 - self.tokens.blend) * tokens[:, 1:after]
                tokens = torch.cat([tokens[:, :1], slots, tokens[:, after:]], dim=1)
                after = 1 + slots.shape[1]
            tokens = block(tokens)
        return tokens

    def _layers(self) -> int:
        return 0 if self.tokens is None else self.tokens.shapes.layers

    def _slots(self) -> int:
        return 0 if self.tokens is None else self.tokens.shapes.tokens


def shapes_of(towers: TwoTower, *, layers: int = 0, space: int = 0, tokens: int = 5) -> Shapes:
    """Return the sizes of tokens for some towers.

    Args:
        towers: Any.
        layers: The last blocks of both towers that see the tokens; 0 for the later half of the shallower.
        space: Width of space tokens; 0 for the width of vectors, as in the paper.
        tokens: How many.

    Raises:
        ConfigError: If one of the towers has fewer blocks.
    """
    depth = min(len(towers.pictures.blocks), len(towers.words.blocks))
    if layers > depth:
        raise ConfigError(f"layers must be in [1, {depth}] for these towers, got {layers}.")
    return Shapes(
        pictures=towers.pictures.width, words=towers.words.width, embedding=towers.width,
        layers=layers or (depth + 1) // 2, space=space or towers.width, tokens=tokens,
    )  # fmt: skip
