"""Logistic regression on the image tower's vectors: what base classes alone can be told from, without a word.

Source: Radford et al. 2021, section 3.2 (arXiv:2103.00020), which uses L-BFGS and a strength of its own for each set.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from worldrl.errors import ConfigError
from worldrl.language.naming import Named
from worldrl.language.two_tower import Cells, TwoTower

ITERATIONS = 200


class LinearProbe(nn.Module):
    """A linear map from unit vectors of pictures to scores of the classes that it was fitted to.

    Args:
        towers: Frozen; their weights are not those of this module.
        names: Of the classes.

    Attributes:
        open: False: a class without examples has no row.
        names: Of the classes.
    """

    open = False

    def __init__(self, towers: TwoTower, names: Sequence[str]) -> None:
        super().__init__()
        self._towers = (towers,)
        self.names = tuple(names)
        self.linear = nn.Linear(towers.width, len(names))
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    @torch.no_grad()
    def forward(self, cells: Cells, names: Sequence[str], *, learned: bool = True) -> Float[Tensor, "b k"]:
        """Return scores of some of the names that it was fitted to.

        Raises:
            ConfigError: If it was not fitted to one of them.
        """
        strange = [name for name in names if name not in self.names]
        if strange or not learned:
            raise ConfigError(f"a linear probe names only what it was fitted to, got '{(strange or names)[0]}'.")
        scores: Tensor = self.linear(self._embed(cells))
        return scores[:, [self.names.index(name) for name in names]]

    def fit(self, shots: Named, *, decay: float) -> "LinearProbe":
        """Fit to examples, from zero, to the minimum of the mean cross-entropy and the decay.

        Args:
            shots: Examples.
            decay: Half of it multiplies the squared weights.

        Raises:
            ConfigError: If the decay is negative.
            DataError: If an example is of another class.
        """
        if decay < 0:
            raise ConfigError(f"decay must be at least 0, got {decay:g}.")
        labels, vectors = shots.labels(self.names), self._embed(shots.cells)
        optimiser = torch.optim.LBFGS(
            self.linear.parameters(), max_iter=ITERATIONS, line_search_fn="strong_wolfe", tolerance_change=1e-9
        )

        def loss() -> Tensor:
            optimiser.zero_grad()
            fault = F.cross_entropy(self.linear(vectors), labels) + decay / 2 * self.linear.weight.square().sum()
            fault.backward()  # type: ignore[no-untyped-call]
            return fault

        optimiser.step(loss)  # type: ignore[no-untyped-call]
        return self

    def _embed(self, cells: Cells) -> Float[Tensor, "b e"]:
        return F.normalize(self._towers[0].see(cells).whole, dim=-1)
