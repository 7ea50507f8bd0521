"""Names, cameras and boxes of labelled scenes."""

import numpy as np
import pytest

from worldrl.errors import ConfigError, DataError
from worldrl.scene import BASE, COLOURS, NAMES, NOVEL, SHAPES, Camera, Thing, check_boxes, check_names, is_novel


def test_every_shape_and_every_colour_has_two_novel_classes_and_six_others() -> None:
    for part, names in ((1, SHAPES), (0, COLOURS)):
        for name in names:
            assert sum(one.split()[part] == name for one in NOVEL) == 2
            assert sum(one.split()[part] == name for one in BASE) == 6
    assert len(NAMES) == 64 and set(BASE) | set(NOVEL) == set(NAMES)


def test_a_name_that_is_no_class_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"name must be a colour and a shape, such as 'red cube', got 'cube'"):
        is_novel("cube")


def test_a_pixel_is_projected_back_to_where_it_came_from() -> None:
    camera = Camera(100.0, (32.0, 24.0), np.eye(3), np.zeros(3))
    point = np.array([[0.1, -0.2, 0.8]])
    pixel = camera.project(point)
    assert np.allclose(pixel, [[44.5, -1.0]])
    assert np.allclose(camera.back_project(pixel, point[:, 2]), point)
    assert np.allclose(camera.intrinsics @ point[0] / 0.8, [44.5, -1.0, 1.0])


def test_corners_are_half_the_size_away_along_the_axes_of_the_box() -> None:
    turn = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    size = np.array([0.2, 0.4, 0.6])
    thing = Thing("cube", "red", np.array([0, 0, 4, 4]), np.array([1.0, 2.0, 3.0]), size, turn, 1.0)
    assert np.allclose(np.ptp(thing.corners(), axis=0), [0.4, 0.2, 0.6])
    assert np.allclose(thing.corners().mean(axis=0), [1.0, 2.0, 3.0])
    assert thing.name == "red cube" and thing.label == 0


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["red cube", "Red cube "], "names must differ, got 'red cube' 2 times: keep one of them"),
        (["red cube", " "], "names must not be empty, got an empty one at position 1: take it out"),
        ([], "names must be a list of at least one class name"),
        ("red cube", "names must be a list of at least one class name"),
    ],
)
def test_class_names_that_cannot_be_told_apart_are_refused(names: list[str], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        check_names(names)


def test_boxes_that_reach_beyond_the_picture_are_refused() -> None:
    check_boxes(np.array([[0, 0, 8, 6]]), 6, 8)
    for box in ([-1, 0, 4, 4], [0, 0, 9, 4], [0, 0, 4, 7], [4, 0, 4, 4], [np.nan, 0, 4, 4]):
        with pytest.raises(DataError, match=r"inside the 6x8 picture, got .* at row 1: clip them"):
            check_boxes(np.array([[0, 0, 8, 6], box]), 6, 8)
