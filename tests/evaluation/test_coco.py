"""Average precision of boxes in labelled scenes, by a library that counts as COCO does."""

from pathlib import Path

import numpy as np
import pytest

from worldrl.data.scenes import SceneSet, write_scenes
from worldrl.evaluation.coco import average_precision
from worldrl.scene import Camera, Scene, Thing

pytest.importorskip("faster_coco_eval")


def scenes(folder: Path) -> SceneSet:
    """Two pictures of 40 pixels, each with a cube on the left and a ball on the right."""
    things = tuple(
        Thing(shape, "red", np.array([left, 10, left + 10, 20], np.float32), np.ones(3), np.ones(3), np.eye(3), 1.0)
        for shape, left in (("cube", 5), ("ball", 25))
    )
    instances = np.zeros((40, 40), np.uint8)
    instances[10:20, 5:15], instances[10:20, 25:35] = 1, 2
    camera = Camera(40.0, (20.0, 20.0), np.eye(3), np.zeros(3))
    image, depth = np.zeros((40, 40, 3), np.uint8), np.ones((40, 40), np.float32)
    one = Scene(image, instances, depth, things, camera, np.array([0.0, -1.0, 0.0]))
    return write_scenes(folder / "set", [one, one], meta={})


BOXES = np.tile(np.array([[5, 10, 15, 20], [25, 10, 35, 20]]) / 40, (2, 1, 1))
RIGHT = np.tile(np.array([[0.9, 0.1], [0.1, 0.9]]), (2, 1, 1))


def test_right_boxes_with_right_names_are_perfect(tmp_path: Path) -> None:
    found = average_precision(scenes(tmp_path), RIGHT, BOXES, categories=("cube", "ball"))
    assert found == pytest.approx({"map": 1.0, "map_50": 1.0, "map_75": 1.0})


def test_wrong_names_cost_all_but_the_place(tmp_path: Path) -> None:
    wrong = np.where(RIGHT > 0.5, 0.0, 0.9)
    set_ = scenes(tmp_path)
    assert average_precision(set_, wrong, BOXES, categories=("cube", "ball"))["map"] < 0.6
    assert average_precision(set_, wrong, BOXES, categories=("cube", "ball"), ignore_names=True)["map"] == 1.0


def test_a_box_with_a_score_of_zero_does_not_count(tmp_path: Path) -> None:
    assert average_precision(scenes(tmp_path), 0.0 * RIGHT, BOXES, categories=("cube", "ball"))["map"] == 0.0


def test_a_box_that_overlaps_by_six_tenths_counts_at_half_and_not_at_three_quarters(tmp_path: Path) -> None:
    off = BOXES + np.array([2.5, 0, 2.5, 0]) / 40
    found = average_precision(scenes(tmp_path), RIGHT, off, categories=("cube", "ball"))
    assert found["map_50"] == pytest.approx(1.0) and found["map_75"] == 0.0


def test_scores_of_other_pictures_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="scores and boxes must be of 2 scenes"):
        average_precision(scenes(tmp_path), RIGHT[:1], BOXES, categories=("cube", "ball"))
