import numpy as np
import pytest

from worldrl.perception.oriented_boxes import OrientedBoxes, overlaps, paired_overlaps
from worldrl.types import Array


def turn(degrees: float, axis: int = 2) -> Array:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    i, j = [k for k in range(3) if k != axis]
    matrix = np.eye(3)
    matrix[i, i], matrix[i, j], matrix[j, i], matrix[j, j] = c, -s, s, c
    return matrix


def box(
    centre: tuple[float, float, float] = (0, 0, 0),
    size: tuple[float, float, float] = (1, 1, 1),
    rotation: Array | None = None,
) -> OrientedBoxes:
    rotation = np.eye(3) if rotation is None else rotation
    return OrientedBoxes(np.array([centre], float), np.array([size], float), np.asarray(rotation)[None])


def iou(some: OrientedBoxes, others: OrientedBoxes) -> float:
    return float(overlaps(some, others)[0, 0])


def test_cubes_that_are_half_a_side_apart_share_a_third() -> None:
    assert iou(box(), box((0.5, 0, 0))) == pytest.approx(1 / 3, abs=1e-9)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_cube_and_itself_turned_by_45_degrees_share_an_octagon(axis: int) -> None:
    octagon = 2 * (np.sqrt(2) - 1)
    assert iou(box(), box(rotation=turn(45, axis))) == pytest.approx(octagon / (2 - octagon), abs=1e-9)
    assert octagon / (2 - octagon) == pytest.approx(0.7071, abs=1e-4)


def test_a_cube_turned_by_a_quarter_is_itself() -> None:
    assert iou(box(), box(rotation=turn(90, 0) @ turn(90, 2))) == pytest.approx(1)


@pytest.mark.parametrize("centre", [(3.0, 0, 0), (1.2, 0, 0), (1.0, 0, 0), (1.0, 1.0, 1.0)])
def test_boxes_that_are_apart_or_only_touch_share_nothing(centre: tuple[float, float, float]) -> None:
    assert iou(box(), box(centre)) == 0


def test_a_box_inside_another_shares_its_own_volume() -> None:
    inner = box((0.1, 0.2, -0.1), (0.5, 0.25, 0.5), turn(20, 1))
    assert iou(box((0, 0, 0), (2, 2, 2)), inner) == pytest.approx(0.0625 / 8, abs=1e-9)


def test_metres_of_small_things_and_far_places_change_nothing() -> None:
    near, far = box((0, 0, 0), (0.01, 0.02, 0.03)), box((0.005, 0, 0), (0.01, 0.02, 0.03))
    assert iou(near, far) == pytest.approx(1 / 3, abs=1e-7)
    shift = np.array([40.0, -7.0, 3.0])
    there = [OrientedBoxes(b.centres + shift, b.sizes, b.rotations) for b in (near, far)]
    assert iou(*there) == pytest.approx(1 / 3, abs=1e-7)


def some_boxes(seed: int, count: int) -> OrientedBoxes:
    rng = np.random.default_rng(seed)
    rotations = np.linalg.qr(rng.standard_normal((count, 3, 3)))[0]
    rotations[:, :, 0] *= np.linalg.det(rotations)[:, None]
    return OrientedBoxes(rng.normal(0, 0.6, (count, 3)), rng.uniform(0.4, 1.5, (count, 3)), rotations)


def test_overlap_is_symmetric_and_agrees_with_counted_points() -> None:
    some, others = some_boxes(0, 3), some_boxes(1, 4)
    found = overlaps(some, others)
    np.testing.assert_allclose(found, overlaps(others, some).T, atol=1e-9)
    points = np.random.default_rng(2).uniform(-3, 3, (400_000, 3))

    def holds(boxes: OrientedBoxes, i: int) -> Array:
        return np.asarray((np.abs((points - boxes.centres[i]) @ boxes.rotations[i]) <= boxes.sizes[i] / 2).all(axis=1))

    for i in range(3):
        for j in range(4):
            a, b = holds(some, i), holds(others, j)
            assert found[i, j] == pytest.approx((a & b).sum() / (a | b).sum(), abs=0.02)


def test_pairs_are_the_diagonal() -> None:
    some, others = some_boxes(3, 3), some_boxes(4, 3)
    np.testing.assert_allclose(paired_overlaps(some, others), np.diag(overlaps(some, others)))
    with pytest.raises(ValueError, match="as many as the others, got 3 and 2"):
        paired_overlaps(some, others[np.arange(2)])


def test_no_boxes_give_an_empty_table() -> None:
    assert overlaps(some_boxes(0, 2)[np.arange(0)], some_boxes(1, 3)).shape == (0, 3)


def test_a_box_without_a_volume_is_refused() -> None:
    with pytest.raises(ValueError, match="sizes must be above 0, got 0"):
        box(size=(1, 0, 1))
    with pytest.raises(ValueError, match="must be"):
        OrientedBoxes(np.zeros((2, 3)), np.ones((1, 3)), np.zeros((2, 3, 3)))


def test_corners_come_in_the_order_of_the_signs() -> None:
    corners = box((1, 0, 0), (2, 4, 6)).corners()[0]
    np.testing.assert_allclose(corners[0], [0, -2, -3])
    np.testing.assert_allclose(corners[1], [0, -2, 3])
    np.testing.assert_allclose(corners[7], [2, 2, 3])
