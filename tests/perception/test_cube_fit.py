"""A small world with known answers: cubes on a table that is drawn by meeting rays with it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from worldrl.data.scenes import SceneSet, write_scenes
from worldrl.errors import DataError
from worldrl.perception.cube_fit import Recipe, evidence_of, find_cubes, fit_head, place_cubes
from worldrl.perception.cube_losses import Weights
from worldrl.perception.cube_things import LEAST_SPREAD, Things, classes_of, collect
from worldrl.scene import SHAPES, Camera, Scene, Thing
from worldrl.types import Features

SIZE = 56
UP = np.array([0.0, -0.8, -0.6])
"""The table's normal in the camera's frame; the table is half a metre below."""
SIDES = np.array([0.08, 0.06, 0.1])


def standing(degrees: float) -> np.ndarray:  # type: ignore[type-arg]
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    across, along = np.array([1.0, 0, 0]), np.cross(UP, [1.0, 0, 0])
    return np.stack([c * across + s * along, -s * across + c * along, UP], axis=1)


def scene(rng: np.random.Generator, things: int = 2) -> Scene:
    camera = Camera(90.0, (28.0, 28.0), np.eye(3), np.zeros(3))
    rows, columns = np.mgrid[:SIZE, :SIZE]
    rays = camera.back_project(np.stack([columns, rows], axis=-1) + 0.5, np.ones((SIZE, SIZE)))
    depth, instances, kept = -0.5 / (rays @ UP), np.zeros((SIZE, SIZE), np.uint8), []
    for i in range(things):
        ground = camera.back_project(np.array([12.0 + 30 * i, 26.0]) + rng.uniform(-4, 4, 2), np.ones(()))
        centre, turned = ground * (-0.5 / (ground @ UP)) + UP * SIDES[2] / 2, standing(rng.uniform(0, 90))
        slopes, start = rays @ turned, -centre @ turned
        enter = (-np.sign(slopes) * SIDES / 2 - start) / slopes
        leave = (np.sign(slopes) * SIDES / 2 - start) / slopes
        hit = (enter.max(axis=-1) < leave.min(axis=-1)) & (enter.max(axis=-1) < depth)
        depth, instances = np.where(hit, enter.max(axis=-1), depth), np.where(hit, i + 1, instances)
        y, x = np.nonzero(hit)
        box = np.array([x.min(), y.min(), x.max() + 1, y.max() + 1], np.float32)
        kept.append(Thing("cube", "red", box, centre, SIDES, turned, 1.0))
    image = np.repeat(instances[..., None] * 80, 3, axis=-1).astype(np.uint8)
    return Scene(image, instances.astype(np.uint8), depth.astype(np.float32), tuple(kept), camera, UP)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> SceneSet:
    rng = np.random.default_rng(0)
    return write_scenes(tmp_path_factory.mktemp("cubes") / "set", [scene(rng) for _ in range(12)], meta={})


def seen(scenes: SceneSet, *, masks: bool = False) -> Things:
    patches = torch.randn(len(scenes), 16, 5, generator=torch.Generator().manual_seed(0))
    features = Features(patches.mean(dim=1), patches, (4, 4))
    return collect(scenes, range(len(scenes)), features=features, cells=2, masks=masks)


def test_things_come_with_their_measured_depth_ground_and_features(scenes: SceneSet) -> None:
    things = seen(scenes)
    assert len(things) == 24
    assert things.views.pictures.tolist() == sorted([*range(12), *range(12)])
    assert things.owners.tolist() == [1, 2] * 12
    assert things.features is not None
    assert things.features.shape == (24, 4, 5)
    assert (things.normals @ torch.tensor(UP, dtype=torch.float32)).min() > 0.999
    assert things.confidence.tolist() == [1.0] * 24
    assert things.maps.owners is None
    assert (things.depth - things.true.centres[:, 2]).abs().max() < 0.1


def test_errors_of_depth_are_of_the_picture_and_its_number(scenes: SceneSet) -> None:
    clean = collect(scenes, [3, 5])
    wrong, alone = (collect(scenes, rows, depth_scale=0.1, seed=4) for rows in ([3, 5], [5]))
    ratio = wrong.depth / clean.depth
    assert ratio[0].item() == pytest.approx(ratio[1].item(), rel=1e-3)
    assert ratio[0].item() != pytest.approx(ratio[2].item(), rel=1e-3)
    torch.testing.assert_close(alone.depth, wrong.depth[2:])


def test_masks_show_how_far_the_surface_is_before_the_centre(scenes: SceneSet) -> None:
    things = seen(scenes, masks=True)
    classes = classes_of(things)
    gap = things.depth - things.true.centres[:, 2]
    assert -0.05 < gap.mean() < -0.015
    plain = evidence_of(things, things.true, classes)
    corrected = evidence_of(things, things.true, classes, surface_to_centre=True)
    torch.testing.assert_close(plain.depth, things.depth)
    off = corrected.depth - things.true.centres[:, 2]
    assert off.abs().mean() < 0.4 * gap.abs().mean()


def test_what_is_known_of_a_class_is_no_more_than_its_size_and_how_it_fills_it(scenes: SceneSet) -> None:
    classes = classes_of(seen(scenes))
    expected = torch.tensor(SIDES, dtype=torch.float32).expand(len(SHAPES), 3)
    torch.testing.assert_close(classes.sizes, expected)
    torch.testing.assert_close(classes.spread, LEAST_SPREAD * expected)
    assert classes.fill.min() > 0.85, "a cube fills its cuboid, but for the pixels at its border"


def test_untrained_cuboids_stand_about_where_things_are(scenes: SceneSet) -> None:
    things = seen(scenes)
    found = place_cubes(things, classes_of(things), surface_to_centre=True)
    assert (found.cuboids.centres - things.true.centres).norm(dim=1).mean() < 0.06
    assert found.scores().unique().tolist() == [1.0]


@pytest.mark.parametrize("supervised", [False, True])
def test_a_head_learns_where_things_are(scenes: SceneSet, supervised: bool) -> None:
    things = seen(scenes)
    classes = classes_of(things)
    recipe = Recipe(steps=60, batch=12, cells=2, supervised=supervised, unit=0.1, weights=Weights(slide=0.0), rate=3e-3)
    first, last = (
        find_cubes(fit_head(things, classes, replace(recipe, steps=steps), seed=0), things) for steps in (1, 60)
    )
    errors = [(found.cuboids.centres - things.true.centres).norm(dim=1).mean().item() for found in (first, last)]
    assert errors[1] < 0.7 * errors[0]


def test_a_seed_repeats_a_head(scenes: SceneSet) -> None:
    things = seen(scenes)
    recipe = Recipe(steps=2, batch=4, cells=2, dropout=0.2)
    some, again, other = (
        find_cubes(fit_head(things, classes_of(things), recipe, seed=seed), things).cuboids.centres
        for seed in (0, 0, 1)
    )
    torch.testing.assert_close(some, again, rtol=0, atol=0)
    assert not torch.equal(some, other)


def test_what_cannot_be_learnt_from_is_refused(scenes: SceneSet, tmp_path: Path) -> None:
    things = collect(scenes, [0])
    with pytest.raises(ValueError, match="collect them with features"):
        fit_head(things, classes_of(things), Recipe(steps=1), seed=0)
    bad = scene(np.random.default_rng(0))
    outside = replace(bad.things[0], box=np.array([50.0, 0, 60, 9], np.float32))
    with pytest.raises(DataError, match="boxes must be"):
        collect(write_scenes(tmp_path / "outside", [replace(bad, things=(outside,))], meta={}), [0])
    with pytest.raises(DataError, match="at least one thing"):
        collect(write_scenes(tmp_path / "empty", [replace(bad, things=())], meta={}), [0])
