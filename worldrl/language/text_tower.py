"""The text tower: words, causal blocks, and what the last word has gathered."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from einops import rearrange, repeat
from jaxtyping import Float, Int
from torch import Tensor, nn

from worldrl.data.captions import COUNTS, TEMPLATES, with_article
from worldrl.errors import ConfigError, DataError
from worldrl.language.blocks import Block
from worldrl.language.grain_descriptions import describe
from worldrl.language.words import Words, words_of
from worldrl.scene import NAMES

TOLD = tuple(words_of([*(template.format(f"{with_article(name)} , and") for template in TEMPLATES for name in NAMES),
                       "left of"]))  # fmt: skip
"""The words of captions."""
CLOSED = tuple(sorted({*TOLD, *COUNTS, *words_of(text for name in NAMES for text in describe(name))}))
"""The words of captions, counts and descriptions."""
LIMIT = 48
"""Most tokens of a text: its start, context vectors if there are any, its words and its end."""


@dataclass(frozen=True)
class Spoken:
    """Texts as tokens before the first block.

    Attributes:
        tokens: ``(k, n, d)``; behind a text's end stands nothing that means anything.
        ends: ``(k,)`` the place of each one's end.
    """

    tokens: Float[Tensor, "k n d"]
    ends: Int[Tensor, " k"]


class TextTower(nn.Module):
    """Texts to vectors, with a vocabulary of whole words.

    A sentence with a word that is not in it is refused: an embedding that was never trained says nothing, and the
    vector of such a sentence would look like any other (our choice; CLIP has pieces of words instead).

    Args:
        words: The vocabulary; by default the words of captions, counts and descriptions.
        width: Of tokens ``d``.
        embedding: Of vectors ``e``.
        depth: Blocks.
        heads: Of attention.
        limit: Most tokens of a text, start and end included.

    Attributes:
        words: The vocabulary.
        width: Of tokens, and of context vectors.
        limit: Most tokens of a text.

    Raises:
        ConfigError: If there is no block, or no room for a word.
    """

    def __init__(
        self, words: Sequence[str] = CLOSED, *, width: int = 128, embedding: int = 128, depth: int = 4, heads: int = 4,
        limit: int = LIMIT,
    ) -> None:  # fmt: skip
        if depth < 1 or limit < 3:
            raise ConfigError(f"depth must be at least 1 and limit at least 3, got {depth} and {limit}.")
        super().__init__()
        self.words, self.width, self.limit, self.heads = Words(words), width, limit, heads
        self.embed = nn.Embedding(len(self.words), width)
        self.begin = nn.Parameter(0.02 * torch.randn(width))
        self.positions = nn.Parameter(0.01 * torch.randn(limit, width))
        self.blocks = nn.ModuleList(Block(width=width, heads=heads, causal=True) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, embedding, bias=False)
        nn.init.normal_(self.embed.weight, std=0.02)

    def start(self, texts: Sequence[str], context: Tensor | None = None) -> Spoken:
        """Return texts as tokens: the start, the context, the words, the end.

        Args:
            texts: At least one.
            context: ``(m, d)`` vectors that stand behind the start of every text; a gradient reaches them.

        Raises:
            TypeError: If the texts are one string.
            ValueError: If there is no text, or the context is not ``(m, d)``.
            DataError: If a word is unknown, or a text has too many of them.
        """
        if isinstance(texts, str) or not texts:
            kind, said = (TypeError, repr(texts)) if isinstance(texts, str) else (ValueError, "none")
            raise kind(f"texts must be a list of at least one string, got {said}.")
        if context is not None and (context.ndim != 2 or context.shape[1] != self.width):
            raise ValueError(f"context must be (m, {self.width}), got {tuple(context.shape)}.")
        before = 1 + (0 if context is None else len(context))
        rows = [self._read(text, before) for text in texts]
        longest = max(len(row) for row in rows)
        numbers = torch.tensor([row + [0] * (longest - len(row)) for row in rows], device=self.begin.device)
        opening: Tensor = rearrange(self.begin, "d -> 1 d")
        opening = opening if context is None else torch.cat([opening, context])
        tokens = torch.cat([repeat(opening, "m d -> k m d", k=len(rows)), self.embed(numbers)], dim=1)
        ends = torch.tensor([before + len(row) - 1 for row in rows], device=numbers.device)
        return Spoken(tokens + self.positions[: tokens.shape[1]], ends)

    def finish(self, tokens: Float[Tensor, "k n d"], ends: Int[Tensor, " k"]) -> Float[Tensor, "k e"]:
        """Return the vectors of texts after the last block, of any length."""
        last = tokens[torch.arange(len(tokens), device=tokens.device), ends]
        vectors: Tensor = self.project(self.norm(last))
        return vectors

    def forward(self, texts: Sequence[str], context: Tensor | None = None) -> Float[Tensor, "k e"]:
        """Return the vectors of texts, of any length; see ``start``."""
        spoken = self.start(texts, context)
        tokens = spoken.tokens
        for block in self.blocks:
            tokens = block(tokens)
        return self.finish(tokens, spoken.ends)

    def _read(self, text: str, before: int) -> list[int]:
        row = [*self.words.read(text), 0]
        if before + len(row) > self.limit:
            raise DataError(
                f"a text must have at most {self.limit - before - 1} words here, got {len(row) - 1} in "
                f"'{text[:40]}...': shorten it."
            )
        return row
