"""The study of cuboids: what its arms need, what they are given, and what is measured of them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from worldrl.data.scenes import write_scenes
from worldrl.errors import ConfigError
from worldrl.perception.cube_head import FoundCubes
from worldrl.recipes.studies import grid, weak_cube
from worldrl.recipes.studies.stock import Need, Stock
from worldrl.recipes.studies.weak_cube import Options, judge
from worldrl.scene import Camera, Scene, Thing
from worldrl.types import Features

SMALL = {"steps": 3, "batch": 2, "cells": 2, "scenes": 3}
UPRIGHT = np.array([[1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]]).T


def walled(count: int) -> Iterator[Scene]:
    """Yield scenes of two boxes that float before a wall."""
    camera, rng = Camera(100.0, (28.0, 28.0), np.eye(3), np.zeros(3)), np.random.default_rng(0)
    for _ in range(count):
        instances, depth, things = np.zeros((56, 56), np.uint8), np.full((56, 56), 1.3, np.float32), []
        for i, shape in enumerate(("cube", "can")):
            centre = np.array([0.14 * (2 * i - 1), 0.0, rng.uniform(0.9, 1.1)])
            size = np.full(3, rng.uniform(0.1, 0.12))
            pixels = camera.project(Thing(shape, "red", np.zeros(4), centre, size, UPRIGHT, 1.0).corners())
            box = np.concatenate([pixels.min(axis=0), pixels.max(axis=0)]).round().astype(np.float32)
            left, top, right, bottom = box.astype(int)
            instances[top:bottom, left:right], depth[top:bottom, left:right] = i + 1, centre[2] - size[2] / 2
            things.append(Thing(shape, "red", box, centre, size, UPRIGHT, 1.0))
        image = np.repeat(100 * instances[..., None], 3, axis=-1)
        yield Scene(image, instances, depth, tuple(things), camera, np.array([0.0, -1.0, 0.0]))


class ToyStock(Stock):
    """Few scenes, and features that say nothing."""

    def features(self, what: str, split: str) -> Features:
        count = len(self.scenes(split))
        patches = torch.randn(count, 16, 5, generator=torch.Generator().manual_seed(count))
        return Features(patches.mean(dim=1), patches, (4, 4))


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> ToyStock:
    toy = ToyStock(tmp_path_factory.mktemp("shared"))
    for split, count in {"train": 4, "test": 3, "shift": 2}.items():
        write_scenes(toy.at(Need("scenes", split=split)) / "set", walled(count), meta={})
    return toy


def test_every_arm_of_the_yaml_can_be_run_and_its_figures_are_those_that_it_names(stock: Stock, tmp_path: Path) -> None:
    study = grid.read_study("weak_cube")
    for cell in grid.cells(study, [1], SMALL):
        figures = weak_cube.run(grid.options_of("weak_cube", cell.options), seed=1, stock=stock, folder=tmp_path)
        assert set(study.figures) <= set(figures)
        assert all(np.isfinite(value) for value in figures.values())
    assert not (tmp_path / "picture.png").exists(), "pictures are of the first seed"
    assert {figure for _, _, figure in study.pairs} <= set(figures)


def test_the_first_seed_draws_what_it_found(stock: Stock, tmp_path: Path) -> None:
    weak_cube.run(Options(method="depth_median", **SMALL), seed=0, stock=stock, folder=tmp_path)
    assert (tmp_path / "picture.png").stat().st_size > 0


def test_correcting_the_surface_moves_boxes_of_measured_depth_to_where_they_are(stock: Stock, tmp_path: Path) -> None:
    plain, corrected = (
        weak_cube.run(
            Options(method="depth_median", surface_to_centre=on, depth_scale=0.0, depth_noise=0.0, **SMALL),
            seed=1, stock=stock, folder=tmp_path,
        )
        for on in (False, True)
    )  # fmt: skip
    assert plain["z_bias"] == pytest.approx(-5.5, abs=0.6)
    assert abs(corrected["z_bias"]) < 1.0
    assert corrected["iou"] > plain["iou"] + 0.2


def test_the_truth_is_judged_perfect(stock: Stock) -> None:
    things = weak_cube._collect(Options(method="depth_median"), stock, "test", 0)
    figures = judge(things, FoundCubes(things.true, torch.zeros(len(things))))
    expected = {"ap_15": 1.0, "ap_25": 1.0, "ap_50": 1.0, "iou": 1.0, "z_bias": 0.0, "z_error": 0.0}
    assert figures == pytest.approx(expected, abs=1e-6)


def test_features_are_needed_where_something_is_learnt() -> None:
    assert Need("features", "random_dinov2", "shift") in weak_cube.needs(Options(encoder="random_dinov2"))
    assert {need.kind for need in weak_cube.needs(Options(method="depth_median"))} == {"scenes"}


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"method": "strong"}, "method must be one of weak, supervised, depth_median, got 'strong'"),
        ({"encoder": "clip"}, "encoder must be one of dinov2"),
        ({"steps": 0}, "steps must be positive, got 0"),
        ({"slide": -1.0}, "weights must be at least 0, got -1"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1"),
        ({"depth_scale": 0.5}, r"must be in \[0, 0.2\), got 0.5"),
    ],
)
def test_options_out_of_range_are_refused(wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        Options(**wrong).check()
