"""How well probabilities of success agree with what was so."""

from dataclasses import dataclass

import torch
from torch import Tensor

from worldrl.errors import DataError


@dataclass(frozen=True)
class Agreement:
    """Agreement of probabilities with answers.

    Attributes:
        auroc: How often something true has a higher probability than something that is not, ties half; 0.5 is chance,
            less is to take one for the other.
        accuracy: Share of right answers from the threshold on.
        balanced: Mean of the shares of right answers among what is true and what is not; 0.5 is chance.
    """

    auroc: float
    accuracy: float
    balanced: float


def agreement(chances: Tensor, truth: Tensor, *, threshold: float) -> Agreement:
    """Compare probabilities ``(n,)`` with answers ``(n,)``.

    Args:
        chances: Of success.
        truth: Whether it was one.
        threshold: Probability from which it is called one.

    Raises:
        DataError: If these are not equally many, or all answers are the same.
    """
    true = truth.bool()
    if chances.shape != true.shape or true.all() or not true.any():
        raise DataError(
            f"answers must be as many as probabilities and of both kinds, got {tuple(truth.shape)} for "
            f"{tuple(chances.shape)}, {int(true.sum())} of them true."
        )
    called = chances >= threshold
    hit, rejected = called[true].double().mean(), (~called[~true]).double().mean()
    return Agreement(auroc(chances, true), float((called == true).double().mean()), float((hit + rejected) / 2))


def auroc(chances: Tensor, truth: Tensor) -> float:
    """Return the area under the curve of hits over false alarms: the rank sum of what is true."""
    true, values = truth.bool(), chances.double()
    below = torch.searchsorted(values.sort().values, values)
    upto = torch.searchsorted(values.sort().values, values, right=True)
    ranks = (below + upto + 1).double() / 2
    wins, losses = int(true.sum()), int((~true).sum())
    return float((ranks[true].sum() - wins * (wins + 1) / 2) / (wins * losses))
