"""Fitting of representation tokens to a few examples, and naming with them.

Source: Guo and Gu 2025, section 3.3 (arXiv:2503.08497).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from worldrl.errors import ConfigError
from worldrl.language.inserted import InsertedTowers, Seen
from worldrl.language.naming import Named, told
from worldrl.language.shot_plan import ShotPlan, fit_to_shots
from worldrl.language.two_tower import Cells

ALPHA = 0.7
"""How much the class feature counts beside the representation feature."""


@dataclass(frozen=True)
class Untouched:
    """What the towers say without any token, of the same pictures and texts.

    Attributes:
        pictures: ``(b, e)`` unit vectors.
        texts: ``(k, e)`` unit vectors.
    """

    pictures: Float[Tensor, "b e"]
    texts: Float[Tensor, "k e"]


class MmrlNamer(nn.Module):
    """Names pictures with inserted tokens: with both features what was learned, with the class feature what was not.

    Args:
        inserted: Towers with tokens; with none it is the zero-shot namer.
        alpha: How much the class feature counts, in [0, 1].

    Attributes:
        open: True.

    Raises:
        ConfigError: If ``alpha`` is out of range.
    """

    open = True

    def __init__(self, inserted: InsertedTowers, *, alpha: float = ALPHA) -> None:
        if not 0 <= alpha <= 1:
            raise ConfigError(f"alpha must be in [0, 1], got {alpha:g}.")
        super().__init__()
        self.inserted, self.alpha = inserted, alpha

    @torch.no_grad()
    def forward(self, cells: Cells, names: Sequence[str], *, learned: bool = True) -> Float[Tensor, "b k"]:
        """Return scores of names for pictures.

        Args:
            cells: Of the pictures.
            names: That are asked for.
            learned: Whether these are the classes and the domain that it was fitted to; else the representation
                feature, which is bound to those, is left out.
        """
        seen = self.inserted.see_all(cells)
        classes, represented = self._score(seen, self.texts(names))
        return self.alpha * classes + (1 - self.alpha) * represented if learned else classes

    @torch.no_grad()
    def texts(self, names: Sequence[str]) -> Float[Tensor, "k e"]:
        """Return the unit vectors of names."""
        return self.inserted.read(self.inserted.enter_texts([told(name) for name in names]))

    def fit(self, shots: Named, names: Sequence[str], *, pull: float, plan: ShotPlan, seed: int) -> list[float]:
        """Learn the tokens from examples; what stands below them is computed once.

        Args:
            shots: Examples.
            names: All classes that are told apart.
            pull: Lambda: weight of the cosine distance to the untouched towers.
            plan: How.
            seed: Of the batches.

        Returns:
            The losses.

        Raises:
            ConfigError: If nothing is inserted, or ``pull`` is negative.
            DataError: If an example is of another class.
            NumericsError: If the loss is not finite.
        """
        if self.inserted.tokens is None or pull < 0:
            raise ConfigError(f"fitting needs tokens, and pull must be at least 0, got {pull:g}.")
        towers, labels = self.inserted.towers, shots.labels(names)
        entered = self.inserted.enter(shots.cells)
        sentences = [told(name) for name in names]
        spoken = self.inserted.enter_texts(sentences)
        before = F.normalize(towers.see(shots.cells).whole, dim=-1)
        texts = towers.texts(sentences)

        def loss(rows: Int[Tensor, " b"]) -> Tensor:
            seen, words = self.inserted.see(entered[rows]), self.inserted.read(spoken)
            return self.loss(seen, words, labels[rows], Untouched(before[rows], texts), pull=pull)

        return fit_to_shots(self, loss, count=len(shots), plan=plan, seed=seed)

    def loss(
        self, seen: Seen, texts: Float[Tensor, "k e"], labels: Int[Tensor, " b"], untouched: Untouched, *, pull: float
    ) -> Float[Tensor, ""]:
        """Return the cross-entropy of both features, and how far the towers were led astray.

        Args:
            seen: Of ``b`` pictures.
            texts: Unit vectors of all classes.
            labels: Of the pictures.
            untouched: Without tokens.
            pull: Lambda.
        """
        classes, represented = self._score(seen, texts)
        named = self.alpha * F.cross_entropy(classes, labels) + (1 - self.alpha) * F.cross_entropy(represented, labels)
        away = 1 - (seen.classes * untouched.pictures).sum(dim=-1).mean()
        astray = 1 - (texts * untouched.texts).sum(dim=-1).mean()
        return named + pull * (away + astray)

    def _score(self, seen: Seen, texts: Float[Tensor, "k e"]) -> tuple[Tensor, Tensor]:
        scale = self.inserted.towers.scale
        return scale * seen.classes @ texts.T, scale * seen.represented @ texts.T
