"""Where an imagined episode may begin: any recorded frame, or the starts that a world carries."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from worldrl.errors import ConfigError
from worldrl.types import Array, Episode, Starts

Observe = Callable[[Array, Array, Array], Array]
"""Frames, proprioception and labels of ``b`` moments to observations ``(b, *o)``."""


class Recordings(Protocol):
    """Recorded episodes: a data set, or some that were lived through just now."""

    @property
    def lengths(self) -> Sequence[int] | Array:
        """The steps of each."""
        ...

    @property
    def policies(self) -> Sequence[str]:
        """Who acted in each."""
        ...

    def __getitem__(self, index: int, /) -> Episode:
        """Return one of them."""
        ...


@dataclass(frozen=True)
class Moment:
    """One moment to begin from.

    Attributes:
        start: The one history that imagination begins from.
        recorded: The episode that it was taken from, by which a simulator is put there too; None where nobody knows.
    """

    start: Starts
    recorded: Episode | None


class Moments(Protocol):
    """All moments there are, by episode and step.

    ``lengths`` has the steps of each episode, ``actors`` who acted in it.
    """

    lengths: Sequence[int]
    actors: Sequence[str]

    def at(self, episode: int, step: int) -> Moment:
        """Return a moment; raises ConfigError where there is none."""
        ...


class RecordedMoments:
    """Every frame of recorded episodes, the last of an episode included.

    Where a history reaches back before its episode, the first observation stands in, with zero actions, as in training.

    Args:
        episodes: They.
        observe: The observation pipeline.
        history: Observations ``t`` of a history.
    """

    def __init__(self, episodes: Recordings, observe: Observe, *, history: int) -> None:
        self.episodes, self.observe, self.history = episodes, observe, history
        self.lengths = [int(length) for length in episodes.lengths]
        self.actors = episodes.policies

    def at(self, episode: int, step: int) -> Moment:
        """Return the moment after ``step`` actions of an episode.

        Raises:
            ConfigError: If there is none.
        """
        check_place(self.lengths, episode, step)
        recorded = self.episodes[episode]
        window = step + np.arange(1 - self.history, 1)
        rows, back = np.unique(np.maximum(window, 0), return_inverse=True)
        arrays = (np.array(array[rows]) for array in (recorded.frames, recorded.proprio, recorded.labels))
        obs = np.asarray(self.observe(*arrays), np.float32)[back]
        acts = np.array(recorded.acts[np.maximum(window[:-1], 0)])
        acts[window[:-1] < 0] = 0.0
        return Moment(Starts(torch.from_numpy(obs)[None], torch.from_numpy(acts)[None]), recorded)


class KeptMoments:
    """The starts that a world carries, each an episode without steps; no simulator can be put there.

    Args:
        starts: At least one.
    """

    def __init__(self, starts: Starts) -> None:
        self.starts = starts
        self.lengths = [0] * len(starts)
        self.actors = [""] * len(starts)

    def at(self, episode: int, step: int) -> Moment:
        """Return a start.

        Raises:
            ConfigError: If there is none.
        """
        check_place(self.lengths, episode, step)
        return Moment(Starts(self.starts.obs[episode][None], self.starts.acts[episode][None]), None)


def check_place(lengths: Sequence[int], episode: int, step: int) -> None:
    """Refuse an episode or a step that there is not.

    Raises:
        ConfigError: If so.
    """
    if not 0 <= episode < len(lengths):
        raise ConfigError(f"episode must be in 0 to {len(lengths) - 1}, got {episode}: choose one that was recorded.")
    if not 0 <= step <= lengths[episode]:
        raise ConfigError(
            f"step must be in 0 to {lengths[episode]} in episode {episode}, got {step}: choose one that was recorded."
        )
