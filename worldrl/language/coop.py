"""CoOp: a few context vectors in place of the words around a class name, learned from examples.

Source: Zhou et al. 2021, section 3.2, the unified context (arXiv:2109.01134).
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from worldrl.errors import ConfigError
from worldrl.language.naming import Named
from worldrl.language.shot_plan import ShotPlan, fit_to_shots
from worldrl.language.two_tower import Cells, TwoTower

DEVIATION = 0.02


class Coop(nn.Module):
    """Names pictures by class names behind learned context; the towers are frozen.

    Args:
        towers: Frozen; their weights are not those of this module.
        tokens: Context vectors.

    Attributes:
        open: True: the context stands before any name.
        context: ``(m, d)``.

    Raises:
        ConfigError: If there is no context vector.
    """

    open = True

    def __init__(self, towers: TwoTower, *, tokens: int = 4) -> None:
        if tokens < 1:
            raise ConfigError(f"tokens must be at least 1, got {tokens}.")
        super().__init__()
        self._towers = (towers,)
        self.context = nn.Parameter(DEVIATION * torch.randn(tokens, towers.text_width))

    @torch.no_grad()
    def forward(self, cells: Cells, names: Sequence[str], *, learned: bool = True) -> Float[Tensor, "b k"]:
        """Return the cosine of every picture with every name, scaled; all names are asked for in the same way."""
        return self._score(self._embed(cells), names)

    def fit(self, shots: Named, names: Sequence[str], *, plan: ShotPlan, seed: int) -> list[float]:
        """Learn the context from examples, whose vectors are computed once.

        Args:
            shots: Examples.
            names: All classes that are told apart.
            plan: How.
            seed: Of the batches.

        Returns:
            The losses.

        Raises:
            DataError: If an example is of another class.
            NumericsError: If the loss is not finite.
        """
        labels, vectors = shots.labels(names), self._embed(shots.cells)
        return fit_to_shots(
            self, lambda rows: F.cross_entropy(self._score(vectors[rows], names), labels[rows]),
            count=len(shots), plan=plan, seed=seed,
        )  # fmt: skip

    def _score(self, vectors: Float[Tensor, "b e"], names: Sequence[str]) -> Float[Tensor, "b k"]:
        towers = self._towers[0]
        return towers.scale * vectors @ towers.texts(names, self.context).T

    def _embed(self, cells: Cells) -> Float[Tensor, "b e"]:
        return F.normalize(self._towers[0].see(cells).whole, dim=-1)
