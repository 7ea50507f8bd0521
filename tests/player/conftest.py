"""A world with known answers, and what is played in it."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from worldrl.player.moments import KeptMoments
from worldrl.player.session import Session
from worldrl.types import Array, Imagined, Starts


class Slide:
    """A point on a line: an action moves it; from 2 on it is a success, beyond -2 it has left the data."""

    history, obs_shape, act_dim, success_threshold = 2, (1,), 2, 0.5

    def imagine(self, obs: Tensor, acts: Tensor, *, noise: Tensor, choice: Tensor) -> Imagined:
        place = obs[:, -1] + acts[:, -1, :1]
        return Imagined(place, (place[:, 0] / 4.0).clamp(0.0, 1.0), (-place[:, 0] / 2.0).clamp(0.0, 9.0))


class Right:
    """A policy that goes right, by as much as there were steps before."""

    def begin(self, seed: int) -> list[int]:
        return []

    def act(self, obs: Array, memories: Any, *, deterministic: bool) -> Array:
        memories[0].append(1)
        return np.array([[0.25 * len(memories[0]), 0.0]])


def draw(obs: Tensor) -> Array:
    """Draw a column at the place of each point, eight pixels a unit."""
    frames = np.zeros((len(obs), 8, 64, 3), np.uint8)
    for frame, place in zip(frames, obs[:, 0].tolist(), strict=True):
        frame[:, int(np.clip(32 + 8 * place, 0, 63))] = 255
    return frames


@pytest.fixture
def make() -> Iterator[Callable[..., Session]]:
    """Make sessions in the world of the point, which begins at 0 or at 1; they are closed at the end."""
    made: list[Session] = []
    starts = Starts(torch.tensor([[[0.0], [0.0]], [[1.0], [1.0]]]), torch.zeros(2, 1, 2))

    def make(**changes: Any) -> Session:
        settings = {"horizon": 6, "decode": draw, "policies": {"right": Right()}} | changes
        made.append(Session(Slide(), settings.pop("moments", KeptMoments(starts)), **settings))
        return made[-1]

    yield make
    for session in made:
        session.close()
