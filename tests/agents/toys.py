"""Toys with known answers: a chain whose values are powers of the discount, and a line on which one must push right."""

from typing import Any

import numpy as np

from worldrl.agents.transitions import Experience
from worldrl.types import Array

STEPS, PUSH, GOAL = 12, 0.2, 0.8


def chain(count: int = 20) -> Experience:
    """Record 0 -> 1 -> 2 -> solved, whatever is done; an observation is one token that says which, and an empty one."""
    obs = np.zeros((4, 2, 4), np.float32)
    obs[np.arange(4), 0, np.arange(4)] = 1.0
    rng = np.random.default_rng(0)
    acts = [rng.uniform(-1, 1, (3, 1)).astype(np.float32) for _ in range(count)]
    return Experience.of([obs] * count, acts, [np.array([False, False, False, True])] * count)


def play(act: Any, *, count: int, seed: int) -> tuple[list[Array], list[Array], list[Array]]:
    """Play on the line: a push of one moves ``PUSH``, beyond ``GOAL`` it is solved, and after ``STEPS`` it is over.

    Args:
        act: From observations ``(count, 2, 2)`` to pushes ``(count, 1)``.
        count: Episodes side by side.
        seed: Of the places they start from, in [-1, 0].

    Returns:
        Observations, pushes and success of each episode, up to its first success.
    """
    place = np.random.default_rng(seed).uniform(-1.0, 0.0, count)
    places, pushes = [place], []
    for _ in range(STEPS):
        pushes.append(np.clip(act(observe(places[-1])), -1.0, 1.0).astype(np.float32))
        places.append((places[-1] + PUSH * pushes[-1][:, 0]).clip(-1.0, 1.0))
    solved = np.stack(places, axis=1) >= GOAL
    ends = np.where(solved.any(axis=1), solved.argmax(axis=1), STEPS)
    obs = np.stack([observe(place) for place in places], axis=1)
    acts = np.stack(pushes, axis=1)
    return (
        [o[: end + 1] for o, end in zip(obs, ends, strict=True)],
        [a[:end] for a, end in zip(acts, ends, strict=True)],
        [s[: end + 1] for s, end in zip(solved, ends, strict=True)],
    )


def observe(place: Array) -> Array:
    """Return the tokens ``(b, 2, 2)`` of places ``(b,)``: where the point is, and where the goal."""
    tokens = np.zeros((len(place), 2, 2), np.float32)
    tokens[:, 0, 0], tokens[:, 1, 0] = place, GOAL
    return tokens


def mixed(*, random: int = 90, good: int = 20) -> Experience:
    """Record episodes of which most push at random and a few push right: their mean gets nowhere."""
    rng = np.random.default_rng(1)
    clueless = play(lambda obs: rng.uniform(-1, 1, (len(obs), 1)), count=random, seed=2)
    able = play(lambda obs: rng.uniform(0.8, 1, (len(obs), 1)), count=good, seed=3)
    return Experience.of(*(first + second for first, second in zip(clueless, able, strict=True)))


def success(policy: Any) -> float:
    """Return the share of 50 fresh episodes that a policy solves, without exploring."""
    _, _, solved = play(lambda obs: policy.predict(obs, deterministic=True)[0], count=50, seed=4)
    return float(np.mean([s.any() for s in solved]))
