"""What there is to see of a session, and who may drive in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from worldrl.player.sides import Side
from worldrl.types import Array


class Acting(Protocol):
    """A policy that acts in episodes, each with a memory of its own."""

    def begin(self, seed: int) -> Any:
        """Return the memory with which an episode starts."""
        ...

    def act(self, obs: Array, memories: Sequence[Any], *, deterministic: bool) -> Array:
        """Return the actions ``(b, a)`` for ``obs`` ``(b, *o)``, not clipped."""
        ...


@dataclass(frozen=True)
class View:
    """All that there is to see.

    Attributes:
        imagined: The imagined world.
        real: The simulator beside it; None where there is none.
        episode: The recorded episode that this one began in.
        start: The step of it.
        step: Steps taken since.
        success_probability: In ``[0, 1]``.
        threshold: The probability from which imagination counts a success.
        disagreement: Of the ensemble, in units of the threshold at which imagination halts; None where there is none.
        action: The last action ``(a,)``; zero at first.
        driver: Who acts: ``you`` or a policy's name.
        looks_at: What a policy that acts looks at: ``imagination`` or ``MuJoCo``.
        playing: Whether it runs.
        over: Whether the episode is over, so that no step can be taken.
        beyond: Whether it goes on past its end.
        pace: Frames a second it should run at.
        film: Name of the film that is being recorded; empty for none.
        saved: Name of the last film that was finished; empty for none.
        problem: What last went wrong by itself, in a sentence; empty for nothing.
    """

    imagined: Side
    real: Side | None
    episode: int
    start: int
    step: int
    success_probability: float
    threshold: float
    disagreement: float | None
    action: tuple[float, ...]
    driver: str
    looks_at: str
    playing: bool
    over: bool
    beyond: bool
    pace: float
    film: str
    saved: str
    problem: str
