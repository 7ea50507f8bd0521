"""Which episodes of a data set are kept out of training, and how many are looked at where there are very many."""

from typing import Any

from worldrl.data.rows import spaced
from worldrl.errors import DataError
from worldrl.recipes.demonstrations import OWN

FEW = 1000
"""Episodes, evenly spaced, from which imagined ones start and on which worlds are judged, where there are more."""


def few(episodes: list[int]) -> list[int]:
    """Return some of the episodes, evenly spaced, where there are very many."""
    return [episodes[i] for i in spaced(len(episodes), FEW)]


def split(policies: Any, share: float) -> tuple[list[int], list[int]]:
    """Keep the last share of the policy's episodes (of all, if it has none) out of training.

    Raises:
        DataError: If none is left to learn from.
    """
    kinds = [[i for i, policy in enumerate(policies) if policy == kind] for kind in OWN]
    kinds = [kind for kind in kinds if kind] or [list(range(len(policies)))]
    held = {i for kind in kinds for i in kind[-max(1, round(share * len(kind))) :]}
    if len(held) == len(policies):
        raise DataError(
            f"episodes must be at least 2, to learn from and to hold out, got {len(policies)}: worldrl collect."
        )
    return [i for i in range(len(policies)) if i not in held], sorted(held)
