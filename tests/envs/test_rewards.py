"""Reward terms, without a simulator."""

from itertools import pairwise

import numpy as np
import pytest

from worldrl.envs.rewards import closeness, progress


def test_closeness_is_one_within_the_radius_and_a_tenth_at_the_margin() -> None:
    assert closeness(0.0, radius=0.02, margin=0.1) == 1.0
    assert closeness(0.02, radius=0.02, margin=0.1) == 1.0
    assert closeness(0.12, radius=0.02, margin=0.1) == pytest.approx(0.1)


def test_closeness_falls_all_the_way() -> None:
    values = [closeness(distance, radius=0.02, margin=0.1) for distance in np.linspace(0.02, 0.4, 20)]
    assert all(near > far > 0.0 for near, far in pairwise(values))


def test_progress_is_the_share_of_the_way() -> None:
    assert [progress(value, goal=0.04) for value in (-0.01, 0.0, 0.01, 0.04, 0.1)] == [0.0, 0.0, 0.25, 1.0, 1.0]


def test_progress_may_go_downwards() -> None:
    assert progress(-0.3, goal=-0.6) == 0.5


def test_a_margin_or_goal_that_divides_by_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="margin must be positive, got 0"):
        closeness(0.1, radius=0.02, margin=0.0)
    with pytest.raises(ValueError, match="goal must not be zero"):
        progress(0.1, goal=0.0)
