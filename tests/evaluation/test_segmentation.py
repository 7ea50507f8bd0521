"""Mean IoU of named pixels, seen and novel apart, and how many things masks find."""

import numpy as np
import pytest

from worldrl.evaluation.segmentation import PixelCounts, found_by


def test_iou_is_counted_over_all_pictures_and_classes_that_none_shows_are_left_out() -> None:
    counts = PixelCounts(3)
    counts.add(np.array([[1, 1], [0, 0]]), np.array([[1, 0], [0, 0]]))
    counts.add(np.array([[2, 1]]), np.array([[2, 2]]))
    found = counts.figures([False, True, True])
    assert found.seen == pytest.approx(1 / 3)  # one of three that are or are called 1
    assert found.novel == pytest.approx(1 / 2) and np.isnan(found.by_class[2])
    assert found.background == pytest.approx(2 / 3) and found.things == pytest.approx(3 / 4)


def test_labels_of_no_class_and_maps_of_two_sizes_are_refused() -> None:
    counts = PixelCounts(2)
    with pytest.raises(ValueError, match=r"labels must be in \[0, 2\], got 3"):
        counts.add(np.array([3]), np.array([1]))
    with pytest.raises(ValueError, match="found and true must be of one shape"):
        counts.add(np.zeros(2, int), np.zeros(3, int))
    with pytest.raises(ValueError, match="novel must say something of 2 classes"):
        counts.figures([True])


def test_a_thing_is_found_by_a_mask_that_overlaps_by_half() -> None:
    instances = np.array([[1, 1, 0, 2, 2]])
    half, little = np.array([[True, False, False, False, False]]), np.array([[False, False, True, True, True]])
    assert found_by(np.stack([half]), instances) == (1, 2)
    assert found_by(np.stack([half, little]), instances) == (2, 2)
    assert found_by(np.zeros((0, 1, 5), bool), instances) == (0, 2)
