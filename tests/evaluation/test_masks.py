"""IoU is of what a frame shows; what is missed and what is invented are told apart from it."""

import numpy as np
import pytest

from worldrl.evaluation.masks import Labels, compare

NAMES = ("ball", "box")


def rows(*frames: list[int]) -> Labels:
    return np.array(frames, np.uint8)[:, None]


def test_the_mean_is_over_shown_objects_then_frames_then_episodes() -> None:
    true = [rows([1, 1, 0, 2], [1, 0, 0, 0]), rows([2, 2, 0, 0])]
    found = [rows([1, 0, 0, 2], [1, 0, 0, 2]), rows([2, 2, 0, 0])]
    figures = compare(found, true, objects=NAMES)
    assert figures.by_episode == pytest.approx((2.5 / 3, 1.0))
    assert figures.iou.mean == pytest.approx((2.5 / 3 + 1) / 2) and figures.frames == 3
    assert figures.iou.mean in figures.iou.interval


def test_what_is_missed_and_what_is_invented_are_of_different_frames() -> None:
    true = [rows([1, 2, 0], [1, 2, 0], [1, 0, 0], [1, 0, 0])]
    found = [rows([1, 2, 0], [1, 0, 0], [1, 2, 0], [1, 0, 0])]
    ball, box = compare(found, true, objects=NAMES).objects
    assert (ball.iou, ball.shown, ball.missed, ball.invented) == (1.0, 1.0, 0.0, None)
    assert (box.iou, box.shown, box.missed, box.invented) == (0.5, 0.5, 0.5, 0.5)


def test_what_is_never_shown_has_no_iou() -> None:
    _, box = compare([rows([1, 0])], [rows([1, 0])], objects=NAMES).objects
    assert (box.iou, box.missed, box.invented) == (None, None, 0.0)


def test_other_episodes_and_empty_ones_are_refused() -> None:
    with pytest.raises(ValueError, match="found and true must be the same episodes, got 1 and 2 of them"):
        compare([rows([1])], [rows([1]), rows([1])], objects=NAMES)
    with pytest.raises(ValueError, match="every episode must show an object, episode 1 shows none"):
        compare([rows([1]), rows([0])], [rows([1]), rows([0])], objects=NAMES)
