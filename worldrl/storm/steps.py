"""What world model and agent learn from: recorded steps and imagined ones."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Steps:
    """Recorded steps, ``t`` a row.

    Attributes:
        tokens: ``(b, t, k, d)`` that were seen.
        frames: ``(b, t, 3, 64, 64)`` in ``[0, 1]`` that were seen; None where they are not looked at.
        acts: ``(b, t, a)`` that were then done.
        rews: ``(b, t)``, what that brought.
        ends: ``(b, t)``, one where it ended the episode.
        episodes: ``(b, t)`` int64, a number of the episode that a step is of.
    """

    tokens: Tensor
    frames: Tensor | None
    acts: Tensor
    rews: Tensor
    ends: Tensor
    episodes: Tensor


@dataclass(frozen=True)
class Dream:
    """Imagined steps of an agent, ``h`` a row.

    Attributes:
        states: ``(b, h + 1, s)``.
        acts: ``(b, h, a)``.
        rews: ``(b, h)``.
        goes_on: ``(b, h)``, the probability that the episode goes on after each step.
    """

    states: Tensor
    acts: Tensor
    rews: Tensor
    goes_on: Tensor
