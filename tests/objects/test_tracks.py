"""Masks move with their points, from whichever view most points agree with, and are gone where too few do."""

import numpy as np
import numpy.typing as npt
import pytest

from worldrl.errors import ConfigError, DataError
from worldrl.objects import Annotations
from worldrl.objects.tracks import Points, PointTracks, XFeatPoints, agreed, match, moved

Frame = npt.NDArray[np.uint8]
SIZE = 48


def speckled(*squares: tuple[int, int, int]) -> tuple[Frame, Frame]:
    """Squares of 9 pixels at (row, column); red is the label, green where on the square a pixel is, blue is noise."""
    frame, labels = np.zeros((SIZE, SIZE, 3), np.uint8), np.zeros((SIZE, SIZE), np.uint8)
    for label, row, column in squares:
        there = slice(row, row + 9), slice(column, column + 9)
        labels[there] = label
        frame[there] = np.stack([np.full((9, 9), label), np.arange(1, 82).reshape(9, 9), np.zeros((9, 9))], axis=-1)
    return frame, labels


def corners(frame: Frame) -> Points:
    """Find every fourth pixel of a square; its look is which square it is on, and where there."""
    rows, columns = np.nonzero(frame[..., 1] % 4 == 1)
    looks = np.zeros((len(rows), 300), np.float32)
    looks[np.arange(len(rows)), 100 * frame[rows, columns, 0].astype(int) + frame[rows, columns, 1]] = 1.0
    return Points(columns + 1j * rows, looks)


def tracks(*squares: tuple[int, int, int]) -> PointTracks:
    frame, labels = speckled(*squares)
    return PointTracks(Annotations(frame[None], labels[None], ("ball", "box")[: len(squares)], "toy"), corners)


def test_masks_move_with_their_points() -> None:
    masks = tracks((1, 4, 4), (2, 30, 30))
    masks.begin()
    for step in (3, 12):
        frame, true = speckled((1, 4 + step, 4), (2, 30, 30 - step))
        np.testing.assert_array_equal(masks.follow(frame), true)


def test_what_has_no_points_is_not_visible_and_comes_back() -> None:
    masks = tracks((1, 4, 4), (2, 30, 30))
    masks.begin()
    away, true = speckled((2, 30, 30))
    np.testing.assert_array_equal(masks.follow(away), true)
    frame, true = speckled((1, 20, 20), (2, 30, 30))
    np.testing.assert_array_equal(masks.follow(frame), true)


def test_the_frame_before_helps_until_the_episode_ends() -> None:
    """The square changes its looks half at a time: what is annotated is not known in the end, what was seen is."""
    masks = tracks((1, 4, 4))
    start = speckled((1, 4, 4))[0]
    half, whole = start.copy(), start.copy()
    half[8:13, 4:13, 0] = 2
    whole[4:13, 4:13, 0] = 2
    masks.begin()
    assert masks.follow(half)[4:13, 4:13].all() and masks.follow(whole)[4:13, 4:13].all()
    masks.begin()
    assert not masks.follow(whole).any()


def test_a_motion_is_what_most_pairs_agree_on() -> None:
    rng = np.random.default_rng(0)
    old = rng.uniform(0, 40, 12) + 1j * rng.uniform(0, 40, 12)
    turn, shift = 1.2 * np.exp(0.5j), 3 - 4j
    new = turn * old + shift
    new[:4] += rng.uniform(5, 20, 4)
    motion = agreed(old, new)
    assert motion is not None and motion.support == 8
    assert abs(motion.turn - turn) < 1e-9 and abs(motion.shift - shift) < 1e-9
    assert agreed(old[:2], new[:2]) is None
    assert agreed(old, rng.uniform(0, 400, 12) + 1j * rng.uniform(0, 400, 12)) is None
    assert agreed(old, 3 * old) is None  # larger than a thing becomes


def test_a_mask_is_turned_and_shifted() -> None:
    mask = np.zeros((8, 8), np.bool_)
    mask[1, 1:4] = True
    motion = agreed(np.array([1 + 1j, 3 + 1j, 5 + 1j]), np.array([5 + 2j, 5 + 4j, 5 + 6j]))  # a quarter turn
    assert motion is not None
    assert np.argwhere(moved(mask, motion)).tolist() == [[2, 5], [3, 5], [4, 5]]


def test_points_match_where_each_is_the_others_nearest() -> None:
    looks = np.eye(4, dtype=np.float32)
    old, new = Points(np.zeros(3, complex), looks[[0, 1, 1]]), Points(np.zeros(3, complex), looks[[1, 3, 0]])
    assert match(old, new).tolist() == [[0, 2], [1, 0]]
    assert match(old, Points(np.zeros(0, complex), looks[:0])).shape == (0, 2)


def test_frames_of_another_size_are_refused() -> None:
    with pytest.raises(DataError, match=r"frames must have the size of the annotated ones, \(48, 48\), got \(40, 48\)"):
        tracks((1, 4, 4)).follow(np.zeros((40, 48, 3), np.uint8))


@pytest.mark.weights
def test_points_of_an_enlarged_frame_are_where_its_corners_are() -> None:
    frame = np.full((64, 96, 3), 60, np.uint8)
    frame[20:40, 30:60] = 200
    found = XFeatPoints(side=384)(frame)
    true = np.array([30 + 20j, 59 + 20j, 30 + 39j, 59 + 39j])
    assert np.abs(found.places[:, None] - true).min(axis=0).max() < 3
    np.testing.assert_allclose(np.linalg.norm(found.looks, axis=1), 1, atol=1e-5)
    with pytest.raises(ConfigError, match="side must be a positive multiple of 32, got 100"):
        XFeatPoints(side=100)
