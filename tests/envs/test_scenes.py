"""Labelled scenes: what MuJoCo says of them agrees with what is drawn."""

import numpy as np
import pytest

from worldrl.envs.scenes import draw_scenes
from worldrl.envs.shapes import PARTS, bounds
from worldrl.errors import ConfigError
from worldrl.scene import BASE, SHAPES, Scene


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [*draw_scenes(4, seed=0, size=112), *draw_scenes(2, seed=0, size=112, shifted=True)]


def seen(scene: Scene, label: int) -> np.ndarray:
    """Return the points ``(n, 3)`` of a thing that the depth shows, in the camera's frame."""
    rows, columns = np.nonzero(scene.instances == label)
    return scene.camera.back_project(np.stack([columns + 0.5, rows + 0.5], axis=1), scene.depth[rows, columns])


def test_the_table_is_where_its_depth_says(scenes: list[Scene]) -> None:
    for scene in scenes:
        height = (seen(scene, 0) - scene.camera.to_camera(np.zeros(3))) @ scene.ground
        assert np.abs(height).max() < 1e-3  # a millimetre
        assert np.isclose(np.linalg.norm(scene.ground), 1.0) and scene.ground[1] < 0


def test_what_is_seen_of_a_thing_lies_in_its_oriented_box_and_fills_most_of_it(scenes: list[Scene]) -> None:
    for scene in scenes:
        for label, thing in enumerate(scene.things, start=1):
            within = (seen(scene, label) - thing.centre) @ thing.rotation
            assert (np.abs(within).max(axis=0) <= thing.size / 2 + 1e-3).all(), thing.name
            assert np.allclose(thing.rotation.T @ thing.rotation, np.eye(3), atol=1e-6)
            assert np.linalg.det(thing.rotation) > 0


def test_a_box_is_as_tight_as_its_mask(scenes: list[Scene]) -> None:
    for scene in scenes:
        for label, thing in enumerate(scene.things, start=1):
            rows, columns = np.nonzero(scene.instances == label)
            assert thing.box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert 0.4 <= thing.visible <= 1.0


def test_a_scene_follows_from_its_seed_and_its_number_alone(scenes: list[Scene]) -> None:
    (again,) = draw_scenes(1, seed=0, size=112)
    assert (again.image == scenes[0].image).all() and (again.depth == scenes[0].depth).all()
    (other,) = draw_scenes(1, seed=1, size=112)
    assert (other.image != again.image).any()


def test_only_what_was_asked_for_stands_on_the_table_and_nothing_twice() -> None:
    for scene in draw_scenes(3, seed=5, size=64, names=BASE):
        names = [thing.name for thing in scene.things]
        assert set(names) <= set(BASE) and len(set(names)) == len(names) and 2 <= len(names) <= 6


def test_names_and_numbers_that_cannot_be_are_refused() -> None:
    for names, count, sentence in (
        (("red cube", "red cube"), 1, "names must differ"),
        (("red cube", "pink cube"), 1, "names must be among those of worldrl.scene.NAMES, got 'pink cube'"),
        (("red cube", "blue ball"), 0, "count must be at least 1"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            next(draw_scenes(count, seed=0, names=names))


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_stands_on_the_table_and_its_bounds_turn_with_it(shape: str) -> None:
    low, high = bounds(shape)
    assert low[2] == pytest.approx(0.0, abs=1e-9) and (high > low).all() and PARTS[shape]
    quarter = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    turned = bounds(shape, quarter)
    assert np.allclose(np.ptp(turned, axis=0), np.ptp([low, high], axis=0)[[1, 0, 2]])
