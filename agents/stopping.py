"""When to believe imagination, and when to stop: what is kept of a refinement is chosen without one real step.

Imagined success goes on rising when real success falls. What gives a fall away is looked for in the imagined episodes
themselves (see docs/results for how well each sign predicts it).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Protocol, TypeVar


class Signs(Protocol):
    """What a trial in imagination shows: shares of success and agreement, mean decisions to success, episodes tried."""

    @property
    def success(self) -> float: ...  # noqa: D102

    @property
    def length(self) -> float: ...  # noqa: D102

    @property
    def agreed(self) -> float: ...  # noqa: D102

    @property
    def count(self) -> int: ...  # noqa: D102


class Tried(Protocol):
    """A candidate: how it did in imagination, and its mean divergence from the cloned policy, in nats."""

    @property
    def trial(self) -> Signs: ...  # noqa: D102

    @property
    def divergence(self) -> float: ...  # noqa: D102


T = TypeVar("T", bound=Tried)


@dataclass(frozen=True)
class Trust:
    """What a candidate must show in imagination to be believed.

    Attributes:
        pace: Decisions: successes must not come sooner than this in the mean. Somebody who solves a task faster than
            the fast ones in the data has found a hole rather than a way.
        agreement: Least share of its imagined successes that the second success classifier confirms.
        radius: Highest divergence from the policy it began as, in nats: further away the world has no say. It learnt
            what that policy and its neighbours do.
        enough: Imagined success at which refinement has nothing more to gain, and stops.
        patience: So many candidates in a row that are not believed stop it too.

    Source: our choice; World4RL (arXiv 2509.19080) takes the last policy.
    """

    pace: float = 0.0
    agreement: float = 0.0
    radius: float = float("inf")
    enough: float = 1.1
    patience: int = 1_000_000

    def holds(self, candidate: Tried) -> bool:
        """Return whether what imagination says of a candidate is believed."""
        signs = candidate.trial
        if candidate.divergence > self.radius:
            return False
        if signs.success == 0.0:
            return True  # nothing is claimed
        return signs.length >= self.pace and signs.agreed >= self.agreement

    def is_over(self, candidates: Sequence[Tried]) -> bool:
        """Return whether to stop after these candidates."""
        last = candidates[-1]
        if last.trial.success >= self.enough and self.holds(last):
            return True
        recent = candidates[-self.patience :]
        return len(recent) == self.patience and not any(self.holds(one) for one in recent)


def choose(candidates: Sequence[T], trust: Trust) -> T:
    """Choose what to keep, by imagination alone; the first candidate is the cloned policy itself.

    The best in imagination among those that are believed; of several within two standard errors of it, the one that
    strayed least from the cloned policy. The cloned policy where nothing believed is better than it.

    Args:
        candidates: In order, at least one.
        trust: Whom to believe.
    """
    believed = [candidates[0], *(one for one in candidates[1:] if trust.holds(one))]
    best = max(one.trial.success for one in believed)
    margin = 2.0 * standard_error(best, candidates[0].trial.count)
    return next(one for one in sorted(believed, key=lambda one: one.divergence) if one.trial.success >= best - margin)


def flatters(imagined: float, recorded: float, count: int, *, slack: float) -> bool:
    """Return whether imagination flatters the cloned policy: it succeeds there more often than it was recorded to.

    A world that makes too much of what is known will make too much of what is not. One that makes too little of it is
    no such danger: on the table-top task imagination sees 0.46 where 0.68 was recorded, and refinement gains.

    Args:
        imagined: Success of the policy, exploring as it did when it was recorded, in imagination.
        recorded: Its recorded success from the same first observations.
        count: Episodes of each.
        slack: Excess that is allowed beyond two standard errors.
    """
    error = sqrt(standard_error(imagined, count) ** 2 + standard_error(recorded, count) ** 2)
    return imagined - recorded > slack + 2.0 * error


def standard_error(success: float, count: int) -> float:
    """Return the standard error of a success rate, with two more episodes, one of each kind: never zero.

    Source: Agresti & Coull 1998, with one instead of two of each kind.
    """
    share = (success * count + 1.0) / (count + 2.0)
    return sqrt(share * (1.0 - share) / count)
