"""Windows of scenes: where they lie, what they show, and how much of a box is in a cell."""

from pathlib import Path

import numpy as np
import pytest
import torch

from worldrl.data.scenes import SceneSet, write_scenes
from worldrl.language.crops import around, at_random, box_weights, cut, view, whole, window_of
from worldrl.scene import COLOURS, Camera, Scene, Thing

SIDE = 64


def thing(name: str, box: tuple[float, float, float, float], visible: float = 1.0) -> Thing:
    colour, shape = name.split()
    return Thing(shape, colour, np.array(box, np.float32), np.zeros(3), np.ones(3), np.eye(3), visible)


def scene(*things: Thing) -> Scene:
    """Return a grey picture with a rectangle of its colour for every thing."""
    image, instances = np.full((SIDE, SIDE, 3), 120, np.uint8), np.zeros((SIDE, SIDE), np.uint8)
    for i, one in enumerate(things):
        left, top, right, bottom = one.box.astype(int)
        image[top:bottom, left:right] = np.round(255 * np.array(COLOURS[one.colour]))
        instances[top:bottom, left:right] = i + 1
    camera = Camera(64.0, (32.0, 32.0), np.eye(3), np.zeros(3))
    return Scene(image, instances, np.ones((SIDE, SIDE), np.float32), things, camera, np.array([0.0, 0.0, 1.0]))


@pytest.fixture
def scenes(tmp_path: Path) -> SceneSet:
    row = [
        scene(thing("red cube", (4, 4, 24, 24)), thing("blue ball", (40, 40, 60, 60))),
        scene(thing("green mug", (20, 20, 40, 44)), thing("white can", (44, 0, 64, 20), visible=0.3)),
    ]
    return write_scenes(tmp_path / "set", row, meta={})


def test_a_window_is_as_wide_as_asked_and_stands_around_its_box() -> None:
    assert window_of(np.array([20, 24, 40, 34]), scale=2.0, side=SIDE).tolist() == [10.0, 9.0, 50.0, 49.0]


def test_a_window_is_moved_into_the_picture_and_never_larger() -> None:
    assert window_of(np.array([0, 0, 20, 20]), scale=2.0, side=SIDE).tolist() == [0.0, 0.0, 40.0, 40.0]
    assert window_of(np.array([0, 0, 60, 60]), scale=3.0, side=SIDE).tolist() == [0.0, 0.0, 64.0, 64.0]
    assert window_of(np.array([30, 30, 34, 34]), scale=1.0, side=SIDE).tolist() == [20.0, 20.0, 44.0, 44.0]  # 24 px


def test_a_window_can_stand_beside_its_box() -> None:
    window = window_of(np.array([22, 22, 42, 42]), scale=2.0, side=SIDE, shift=(0.1, -0.05))
    assert window.tolist() == [16.0, 10.0, 56.0, 50.0]


def test_a_view_tells_the_things_whose_middles_it_shows_from_left_to_right() -> None:
    things = (thing("blue ball", (40, 10, 60, 30)), thing("red cube", (4, 4, 24, 24)), thing("red mug", (0, 50, 9, 64)))
    shown = view(scene(*things).image, things, np.array([0.0, 0.0, 40.0, 40.0]), things[1])
    assert (shown.names, shown.about) == (("red cube",), 0)
    wide = view(scene(*things).image, things, np.array([0.0, 0.0, 52.0, 52.0]), things[0])
    assert (wide.names, wide.about) == (("red cube", "blue ball"), 1)
    assert wide.boxes[1].tolist() == pytest.approx([40 / 52, 10 / 52, 1.0, 30 / 52])  # cut off on the right


def test_a_window_is_shown_in_its_own_colours() -> None:
    one = thing("red cube", (4, 4, 44, 44))
    shown = cut(scene(one).image, np.array([10.0, 10.0, 30.0, 30.0]), size=16)
    assert shown.shape == (16, 16, 3)
    assert (shown == np.round(255 * np.array(COLOURS["red"])).astype(np.uint8)).all()


def test_every_thing_that_is_seen_well_enough_has_one_window(scenes: SceneSet) -> None:
    names = [one.names[one.about] for one in around(scenes)]
    assert names == ["red cube", "blue ball", "green mug"]
    assert len(list(around(scenes, least_visible=0.0))) == 4
    assert all(one.frame.shape == (112, 112, 3) for one in around(scenes))


def test_windows_at_random_follow_from_their_seed(scenes: SceneSet) -> None:
    one, same, other = (list(at_random(scenes, 6, seed=seed)) for seed in (1, 1, 2))
    assert all(np.array_equal(a.frame, b.frame) for a, b in zip(one, same, strict=True))
    assert not all(np.array_equal(a.frame, b.frame) for a, b in zip(one, other, strict=True))
    assert {view.names[view.about] for view in one} == {"red cube", "blue ball", "green mug", "white can"}
    assert all(view.about >= 0 for view in one)


def test_a_whole_scene_is_about_no_single_thing(scenes: SceneSet) -> None:
    shown = whole(scenes.images[0], scenes.things(0))
    assert (shown.names, shown.about) == (("red cube", "blue ball"), -1)
    assert np.array_equal(shown.frame, scenes.images[0])
    assert shown.boxes[0].tolist() == pytest.approx([4 / 64, 4 / 64, 24 / 64, 24 / 64])


def test_a_box_is_shared_among_the_cells_it_lies_in() -> None:
    boxes = torch.tensor([[0.0, 0.0, 0.5, 0.5], [0.25, 0.0, 0.75, 1.0], [0.9, 0.9, 1.0, 1.0]])
    shares = box_weights(boxes, (2, 2))
    assert shares.tolist() == [[1.0, 0.0, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25], [0.0, 0.0, 0.0, 1.0]]
