import numpy as np
import pytest

from worldrl.evaluation.boxes3d import Judged, area_under, mean_average_precision


def picture(overlaps: list[list[float]], scores: list[float], found: list[int], true: list[int]) -> Judged:
    table = np.array(overlaps, float).reshape(len(found), len(true))
    return Judged(table, np.array(scores), np.array(found, int), np.array(true, int))


def test_all_found_is_one_and_nothing_found_is_zero() -> None:
    assert mean_average_precision([picture([[0.9]], [0.3], [0], [0])], threshold=0.5) == 1
    assert mean_average_precision([picture([], [], [], [0])], threshold=0.5) == 0


def test_precision_is_that_of_the_best_recall_at_least_so_large() -> None:
    right = np.array([True, False, True])
    assert area_under(np.array([0.9, 0.8, 0.7]), right, 2) == pytest.approx(0.5 + 0.5 * 2 / 3)
    assert area_under(np.array([0.9, 0.8, 0.7]), right, 4) == pytest.approx(0.25 + 0.25 * 2 / 3)


def test_the_same_scores_count_at_once_in_whatever_order() -> None:
    scores = np.ones(4)
    some = [area_under(scores, np.array(order, bool), 4) for order in ([1, 1, 0, 0], [0, 1, 0, 1])]
    assert some == pytest.approx([0.25, 0.25])


def test_a_true_thing_is_taken_once_by_the_surest() -> None:
    twice = picture([[0.6], [0.9]], [0.9, 0.8], [0, 0], [0])
    assert mean_average_precision([twice], threshold=0.5) == 1
    wrong_first = picture([[0.2], [0.9]], [0.9, 0.8], [0, 0], [0])
    assert mean_average_precision([wrong_first], threshold=0.5) == pytest.approx(0.5)


def test_what_is_taken_leaves_the_next_best_free() -> None:
    both = picture([[0.9, 0.6], [0.8, 0.3]], [0.9, 0.8], [0, 0], [0, 0])
    assert mean_average_precision([both], threshold=0.25) == 1
    assert mean_average_precision([both], threshold=0.5) == pytest.approx(0.5)


def test_classes_count_alike_and_are_not_mixed_up() -> None:
    pictures = [picture([[0.9, 0.9], [0.9, 0.0]], [0.5, 0.5], [0, 1], [0, 1])] + [picture([[1]], [0.5], [0], [0])] * 5
    assert mean_average_precision(pictures, threshold=0.25) == pytest.approx(0.5)


def test_scores_are_compared_over_pictures() -> None:
    pictures = [picture([[0.1]], [0.9], [0], [0]), picture([[0.9]], [0.1], [0], [0])]
    assert mean_average_precision(pictures, threshold=0.5) == pytest.approx(0.25)


def test_the_threshold_itself_counts() -> None:
    assert mean_average_precision([picture([[0.25]], [1.0], [2], [2])], threshold=0.25) == 1


def test_what_cannot_be_judged_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one true thing"):
        mean_average_precision([picture([], [], [], [])], threshold=0.5)
    with pytest.raises(ValueError, match=r"threshold must be in \(0, 1\], got 0"):
        mean_average_precision([picture([[1.0]], [1.0], [0], [0])], threshold=0.0)
    with pytest.raises(ValueError, match="overlaps must be"):
        Judged(np.zeros((1, 2)), np.zeros(1), np.zeros(1, int), np.zeros(1, int))
