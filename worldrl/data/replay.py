"""Restoring recorded moments and living through them again."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt

from worldrl.data.rollout import AnyEnv
from worldrl.errors import DataError
from worldrl.types import Array, Episode, SimulatedEnv


@dataclass(frozen=True)
class Replay:
    """What was seen from step ``start`` of an episode on, its ``k = t - start`` actions taken again.

    ``frames`` ``(k+1, h, w, 3)`` uint8; ``proprio`` ``(k+1, q)``; ``states`` ``(k+1, s)``.
    """

    start: int
    frames: npt.NDArray[np.uint8]
    proprio: Array
    states: npt.NDArray[np.float64]


def replay(env: AnyEnv, episode: Episode, *, start: int) -> Replay:
    """Restore step ``start`` of ``episode`` in ``env`` and take the recorded actions from there.

    Raises:
        DataError: If ``start`` is not a step of the episode, or the episode has no simulator states.
    """
    sim, first = enter(env, episode, start)
    observations = [first]
    states = [np.array(sim.state())]
    for act in episode.acts[start:]:
        observations.append(env.step(np.array(act))[0])
        states.append(np.array(sim.state()))
    return Replay(
        start=start,
        frames=np.stack([obs["image"] for obs in observations]),
        proprio=np.stack([obs["proprio"] for obs in observations]),
        states=np.stack(states),
    )


def first_difference(env: AnyEnv, episode: Episode, *, start: int) -> int | None:
    """Replay from ``start`` and return the first step whose state or frame differs in any bit, or None.

    Raises:
        DataError: As `replay`.
    """
    again = replay(env, episode, start=start)
    for index in range(len(again.states)):
        step = start + index
        for old, new in ((episode.states, again.states), (episode.frames, again.frames)):
            if old[step].tobytes() != new[index].tobytes():
                return step
    return None


def succeeds(env: AnyEnv, episode: Episode, acts: Array, *, start: int = 0) -> bool:
    """Restore step ``start`` of ``episode``, take other actions ``(k, a)`` from there and say whether one succeeds.

    An episode that ends, by success or otherwise, ends the replay. Physics alone: an environment that can do without
    drawing its pictures does.

    Raises:
        DataError: As `replay`.
    """
    with _undrawn(env):
        enter(env, episode, start)
        for act in acts:
            *_, end, trunc, info = env.step(np.array(act))
            if info["success"]:
                return True
            if end or trunc:
                return False
    return False


def enter(env: AnyEnv, episode: Episode, start: int) -> tuple[SimulatedEnv, dict[str, Array]]:
    """Put ``env`` into step ``start`` of ``episode``; return its simulator and the observation.

    Raises:
        DataError: As `replay`.
    """
    if not 0 <= start <= len(episode):
        raise DataError(f"start must be in [0, {len(episode)}] for seed {episode.seed}, got {start}.")
    if not episode.states.shape[1]:
        raise DataError(f"episode with seed {episode.seed} must have simulator states, got none: it was imported.")
    env.reset(seed=episode.seed)  # wrappers want one before the first step
    sim = cast(SimulatedEnv, env.unwrapped)
    return sim, sim.restore(np.array(episode.states[start]), episode.fields, episode.params)


@contextmanager
def _undrawn(env: AnyEnv) -> Iterator[None]:
    """Let observations go without their pictures, where ``env`` has a switch for that."""
    sim, drawing = env.unwrapped, getattr(env.unwrapped, "drawing", None)
    if drawing is not None:
        sim.drawing = False  # type: ignore[attr-defined]
    try:
        yield
    finally:
        if drawing is not None:
            sim.drawing = drawing  # type: ignore[attr-defined]
