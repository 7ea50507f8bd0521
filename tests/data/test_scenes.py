"""Labelled scenes on disk, what is said of them, and their form as COCO."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from worldrl.data.captions import caption_of, captions_of, questions_of
from worldrl.data.coco import coco_record, export_coco, run_lengths
from worldrl.data.scenes import read_scenes, write_scenes
from worldrl.errors import DataError
from worldrl.scene import Camera, Scene, Thing


def thing(name: str, left: float) -> Thing:
    colour, shape = name.split()
    box = np.array([left, 1, left + 2, 3], np.float32)
    return Thing(shape, colour, box, np.array([0.1, 0.0, 0.8]), np.full(3, 0.05), np.eye(3), 1.0)


def scene() -> Scene:
    instances = np.zeros((4, 6), np.uint8)
    instances[1:3, 3:5], instances[1:3, 0:2] = 1, 2
    camera = Camera(5.0, (3.0, 2.0), np.eye(3), np.zeros(3))
    things = (thing("red cube", 3), thing("orange mug", 0))
    image = np.arange(72, dtype=np.uint8).reshape(4, 6, 3)
    return Scene(image, instances, np.full((4, 6), 0.75, np.float32), things, camera, np.array([0.0, -1.0, 0.0]))


def told() -> Scene:
    one = scene()
    return replace(one, captions=captions_of(one.things, seed=0), questions=questions_of(one.things))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    (read,) = [write_scenes(tmp_path / "set", [told()], meta={"seed": 3})[0]]
    one = told()
    assert (read.image == one.image).all() and (read.instances == one.instances).all()
    assert np.allclose(read.depth, 0.75) and read.depth.dtype == np.float32
    assert [was.name for was in read.things] == ["red cube", "orange mug"]
    assert read.captions == one.captions and read.questions == one.questions
    assert read.camera.focal == 5.0 and np.allclose(read.things[0].corners(), one.things[0].corners())


def test_a_caption_lists_things_from_left_to_right() -> None:
    assert caption_of(scene().things) == "a picture of an orange mug and a red cube"


def test_no_question_has_two_answers() -> None:
    asked = dict(questions_of((*scene().things, thing("red ball", 1))))
    assert asked["how many things are there ?"] == "three"
    assert asked["what colour is the mug ?"] == "orange" and asked["what is orange ?"] == "mug"
    assert "what is red ?" not in asked and asked["is there a cube ?"] == "yes" and "no" in asked.values()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda record: {**record, "version": 0}, "must be of version 1, got 0: make the scenes again"),
        (lambda record: {"scenes": []}, "cannot be read: make the scenes again"),
        (lambda record: {**record, "scenes": record["scenes"] * 2}, "must hold 2 scenes as uint8, got 1"),
    ],
)
def test_scenes_that_cannot_be_trusted_are_refused(tmp_path: Path, change, sentence: str) -> None:  # type: ignore[no-untyped-def]
    write_scenes(tmp_path / "set", [told()], meta={})
    file = tmp_path / "set" / "scenes.json"
    file.write_text(json.dumps(change(json.loads(file.read_text()))))
    with pytest.raises(DataError, match=sentence):
        read_scenes(tmp_path / "set")


def test_a_folder_without_scenes_and_one_that_is_taken_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no scenes in .*: make some with worldrl scenes make"):
        read_scenes(tmp_path / "none")
    with pytest.raises(DataError, match=r"is there already: name another folder"):
        write_scenes(tmp_path, [told()], meta={})


def test_coco_has_boxes_masks_and_categories_by_shape(tmp_path: Path) -> None:
    scenes = write_scenes(tmp_path / "set", [told()], meta={})
    record = coco_record(scenes, categories=("mug", "cube"))
    assert [one["category_id"] for one in record["annotations"]] == [2, 1]
    first = record["annotations"][0]
    assert first["bbox"] == [3, 1, 2, 2] and first["area"] == 4
    assert first["segmentation"] == {"size": [4, 4], "counts": first["segmentation"]["counts"]}
    assert sum(first["segmentation"]["counts"]) == 24
    file = export_coco(scenes, tmp_path / "coco")
    assert json.loads(file.read_text())["images"][0]["file_name"] == "00000.png"
    assert (tmp_path / "coco" / "images" / "00000.png").exists()


def test_runs_go_down_the_columns_and_begin_with_what_is_not_of_the_mask() -> None:
    mask = np.array([[True, False], [True, True]])
    assert run_lengths(mask) == [0, 2, 1, 1]
    assert run_lengths(~mask) == [2, 1, 1]
    assert run_lengths(np.zeros((2, 2), bool)) == [4]
