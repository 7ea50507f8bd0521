"""How well pictures are named: base and novel classes, few examples, and another domain."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from worldrl.data.captions import TEMPLATES, with_article
from worldrl.errors import DataError
from worldrl.language.two_tower import Cells


@dataclass(frozen=True)
class Named:
    """Pictures, as the frozen map below the towers has them, and what each shows.

    Attributes:
        cells: Of ``n`` pictures.
        names: ``n`` class names.

    Raises:
        ValueError: If there is not one name for each picture.
    """

    cells: Cells
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.names) != len(self.cells.rows):
            raise ValueError(f"names must be {len(self.cells.rows)}, one for each picture, got {len(self.names)}.")

    def __len__(self) -> int:
        return len(self.names)

    def pick(self, rows: Sequence[int]) -> "Named":
        """Return some of the pictures, in the order of their rows."""
        index = torch.tensor(rows, dtype=torch.long)
        return Named(Cells(self.cells.rows[index], self.cells.grid), tuple(self.names[row] for row in rows))

    def among(self, names: Sequence[str]) -> "Named":
        """Return the pictures whose name is one of these.

        Raises:
            DataError: If there is none.
        """
        rows = [row for row, name in enumerate(self.names) if name in set(names)]
        if not rows:
            raise DataError(f"pictures must show one of {len(names)} names, got none that does: use more scenes.")
        return self.pick(rows)

    def labels(self, names: Sequence[str]) -> Tensor:
        """Return the place of each picture's name ``(n,)`` among names.

        Raises:
            DataError: If one is not among them.
        """
        place = {name: i for i, name in enumerate(names)}
        strange = [name for name in self.names if name not in place]
        if strange:
            raise DataError(f"every picture must show one of {len(names)} names, got '{strange[0]}'.")
        return torch.tensor([place[name] for name in self.names])


class Namer(Protocol):
    """Whoever names pictures.

    Attributes:
        open: Whether it can be asked for names that it was not fitted to.
    """

    open: bool

    def __call__(self, cells: Cells, names: Sequence[str], *, learned: bool) -> Float[Tensor, "b k"]:
        """Return scores of names for pictures.

        Args:
            cells: Of ``b`` pictures.
            names: The ``k`` names that are asked for.
            learned: Whether the namer was fitted to these names in this domain, and may use all that it learned.
        """
        ...


def told(name: str) -> str:
    """Return the sentence that a class is asked for with: ``a photo of a red cube``."""
    return TEMPLATES[0].format(with_article(name))


def accuracy(namer: Namer, pictures: Named, names: Sequence[str], *, learned: bool) -> float:
    """Return the share of pictures whose name has the highest score among names."""
    found = namer(pictures.cells, names, learned=learned).argmax(dim=1).cpu()
    return float((found == pictures.labels(names)).float().mean())


def harmonic_mean(one: float, other: float) -> float:
    """Return the harmonic mean of two shares; 0 if both are."""
    return 2 * one * other / (one + other) if one + other else 0.0


def base_to_novel(
    namer: Namer, pictures: Named, *, base: Sequence[str], novel: Sequence[str]
) -> dict[str, float | None]:
    """Measure a namer that was fitted to base classes on held-out pictures of its domain.

    Base pictures are named among base names alone, and novel ones among novel names, which is the easier question:
    nothing shows whether a novel picture is taken for a base class.

    Source: Zhou et al. 2022, section 4.1 (arXiv:2203.05557).

    Args:
        namer: Fitted to base classes.
        pictures: Of base and novel classes.
        base: Names that it was fitted to.
        novel: Names that it was not.

    Returns:
        ``base``, ``novel`` and their harmonic mean ``hm``; the last two are None for a namer that is not open.

    Raises:
        DataError: If there is no picture of base classes, or none of novel ones.
    """
    known = accuracy(namer, pictures.among(base), base, learned=True)
    if not namer.open:
        return {"base": known, "novel": None, "hm": None}
    unknown = accuracy(namer, pictures.among(novel), novel, learned=False)
    return {"base": known, "novel": unknown, "hm": harmonic_mean(known, unknown)}


def few_shot(
    fit: Callable[[Named], Namer], pool: Named, held: Named, *, names: Sequence[str], shots: Sequence[int], seed: int
) -> dict[str, float]:
    """Fit to a few pictures of every class, and measure on held-out ones among all classes.

    Args:
        fit: Fits a new namer.
        pool: Where examples are drawn from.
        held: What is measured.
        names: All classes.
        shots: Numbers of examples of a class.
        seed: Of which examples; fewer are some of more.

    Returns:
        ``shots_K`` for each number.

    Raises:
        DataError: If a class has fewer examples.
    """
    return {
        f"shots_{count}": accuracy(fit(draw(pool, names, count, seed=seed)), held, names, learned=True)
        for count in shots
    }


def cross_domain(namer: Namer, pictures: Named, *, names: Sequence[str]) -> float | None:
    """Return the share of another domain's pictures that are named rightly among names; None for one not open."""
    return accuracy(namer, pictures, names, learned=False) if namer.open else None


def draw(pool: Named, names: Sequence[str], count: int, *, seed: int) -> Named:
    """Return ``count`` pictures of every name, drawn by the seed; those of fewer are among those of more.

    Raises:
        DataError: If a name has fewer.
    """
    order = np.random.default_rng(seed).permutation(len(pool)).tolist()
    rows: list[int] = []
    for name in names:
        of = [row for row in order if pool.names[row] == name]
        if len(of) < count:
            raise DataError(f"'{name}' must have {count} pictures, got {len(of)}: use fewer shots or more scenes.")
        rows += of[:count]
    return pool.pick(rows)
