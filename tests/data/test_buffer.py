"""The replay buffer: what goes in comes out in its order, also after the oldest is forgotten."""

from typing import Any

import numpy as np
import pytest

from worldrl.data.buffer import ReplayBuffer
from worldrl.errors import DataError


def step(i: int, **other: Any) -> dict[str, Any]:
    return {
        "tokens": np.full((2, 3), i), "frames": np.full((3, 4, 4), i % 256, np.uint8), "acts": np.full(2, i),
        "rews": float(i), "ends": i % 5 == 4, "episodes": i // 5,
    } | other  # fmt: skip


def buffer(capacity: int, steps: int) -> ReplayBuffer:
    made = ReplayBuffer(capacity, tokens=(2, 3), frame=4, acts=2)
    for i in range(steps):
        made.add(**step(i))
    return made


@pytest.mark.parametrize(("steps", "oldest"), [(12, 0), (20, 0), (47, 27)])
def test_windows_are_steps_that_followed_each_other(steps: int, oldest: int) -> None:
    window = buffer(20, steps).sample(200, 4, rng=np.random.default_rng(0))
    assert (np.diff(window.rews, axis=1) == 1).all()
    assert window.rews.min() == oldest
    assert window.rews.max() == steps - 1
    assert window.frames is not None
    assert (window.frames[:, :, 0, 0, 0] == window.rews).all()
    assert (window.tokens[..., 0, 0] == window.rews).all()
    assert (window.episodes == window.rews // 5).all()
    assert (window.ends == (window.rews % 5 == 4)).all()


def test_a_window_longer_than_what_was_lived_is_refused() -> None:
    with pytest.raises(DataError, match="windows of 4 steps must be drawn from as many at least, got 3"):
        buffer(20, 3).sample(1, 4, rng=np.random.default_rng(0))


@pytest.mark.fault(20)
@pytest.mark.parametrize("wrong", [{"rews": float("nan")}, {"tokens": np.full((2, 3), np.inf)}])
def test_what_is_not_finite_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="must be finite"):
        buffer(20, 0).add(**step(0, **wrong))


def test_a_step_with_something_missing_is_refused() -> None:
    incomplete = {name: value for name, value in step(0).items() if name != "frames"}
    with pytest.raises(DataError, match="a step must have acts, ends, episodes, frames, rews, tokens"):
        buffer(20, 0).add(**incomplete)
