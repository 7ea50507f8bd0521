"""Towers that studies share, and the study that asks them for names, at toy size."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from worldrl.data.scenes import write_scenes
from worldrl.errors import ConfigError
from worldrl.facts import known
from worldrl.language.towers_fit import Plan
from worldrl.language.two_tower import TwoTower
from worldrl.recipes.studies import towers as recipe
from worldrl.recipes.studies import zero_shot
from worldrl.recipes.studies.grid import options_of, read_study
from worldrl.recipes.studies.stock import Need, Stock
from worldrl.scene import BASE, COLOURS, NOVEL, Camera, Scene, Thing

SIDE = 64
CORNERS = ((2, 2, 26, 26), (36, 8, 60, 32))


def scene(*names: str) -> Scene:
    """Return a grey picture with a square of its colour for every thing."""
    image, instances, things = np.full((SIDE, SIDE, 3), 120, np.uint8), np.zeros((SIDE, SIDE), np.uint8), []
    for i, (name, box) in enumerate(zip(names, CORNERS, strict=True)):
        colour, shape = name.split()
        left, top, right, bottom = box
        image[top:bottom, left:right] = np.round(255 * np.array(COLOURS[colour]))
        instances[top:bottom, left:right] = i + 1
        box_array = np.array(box, np.float32)
        things.append(Thing(shape, colour, box_array, np.zeros(3), np.ones(3), np.eye(3), 1.0))
    camera = Camera(64.0, (32.0, 32.0), np.eye(3), np.zeros(3))
    return Scene(image, instances, np.ones((SIDE, SIDE), np.float32), tuple(things), camera, np.array([0.0, 0.0, 1.0]))


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Stock:
    """Scenes of two things each, and towers that were hardly fitted."""
    root = tmp_path_factory.mktemp("shared")
    pairs = {
        "train": [(BASE[i], BASE[i + 1]) for i in range(0, 48, 2)],
        "test": [(BASE[0], NOVEL[0]), (BASE[1], NOVEL[1])],
        "shift": [(BASE[2], NOVEL[2])],
    }
    for split, rows in pairs.items():
        write_scenes(root / f"scenes-{split}" / "set", [scene(*row) for row in rows], meta={})
    made = Stock(root)
    recipe.make(
        made.towers("random", 0), stock=made, kind="random", seed=0, windows=8, scenes=2,
        plan=Plan(steps=2, batch=4, scenes=2, every=2),
    )  # fmt: skip
    return made


def test_the_card_of_towers_tells_what_they_learned_from(stock: Stock) -> None:
    assert known(stock.towers("random", 0))["scenes"] == 24


def test_towers_are_made_frozen_and_follow_from_their_seed(stock: Stock, tmp_path: Path) -> None:
    towers = TwoTower.from_pretrained(stock.towers("random", 0))
    assert towers.stem.source["random_init"]
    assert not any(weight.requires_grad for weight in towers.parameters())
    plan = Plan(steps=2, batch=4, scenes=2, every=2)
    for name, seed in (("same", 0), ("other", 1)):
        recipe.make(tmp_path / name, stock=stock, kind="random", seed=seed, windows=8, scenes=2, plan=plan)
    assert TwoTower.from_pretrained(tmp_path / "same").fingerprint == towers.fingerprint
    assert TwoTower.from_pretrained(tmp_path / "other").fingerprint != towers.fingerprint
    with pytest.raises(ConfigError, match="towers must be one of captions, random, got 'clip'"):
        recipe.make(tmp_path / "none", stock=stock, kind="clip", seed=0)


def test_all_arms_of_the_study_have_options_that_can_be(stock: Stock) -> None:
    study = read_study("zero_shot")
    for differing in study.arms.values():
        options = options_of("zero_shot", {**study.options, **differing})
        needed = zero_shot.needs(options)
        assert Need("scenes", split="shift") in needed
        assert any(need.kind == "towers" for need in needed) == (options.who != "conse")
    with pytest.raises(ConfigError, match="who must be one of two_tower, conse, linear_probe, got 'clip'"):
        options_of("zero_shot", {"who": "clip"})
    with pytest.raises(ConfigError, match="towers must be captions or random"):
        options_of("zero_shot", {"towers": "dinov2"})
    with pytest.raises(ConfigError, match="things must be positive, got 0"):
        options_of("zero_shot", {"things": 0})


class Seeing:
    """Towers that know every colour by its pixels and take everything for a cube."""

    def images(self, frames: np.ndarray) -> Tensor:
        middle = torch.from_numpy(frames[:, frames.shape[1] // 2, frames.shape[2] // 2].astype(np.float32)) / 255
        distances = torch.cdist(middle, torch.tensor(list(COLOURS.values())))
        return F.normalize(torch.cat([(-20 * distances).softmax(dim=1), torch.ones(len(frames), 1)], dim=1), dim=-1)

    def texts(self, texts: list[str], context: Tensor | None = None) -> Tensor:
        rows = [[*(float(colour in text) for colour in COLOURS), float("cube" in text)] for text in texts]
        return F.normalize(torch.tensor(rows) + 1e-6, dim=-1)


@pytest.mark.parametrize("who", ["two_tower", "conse", "linear_probe"])
def test_the_study_counts_what_is_named_rightly(
    who: str, stock: Stock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zero_shot, "load_conse", Seeing)
    options = zero_shot.Options(who=who, towers="random", shots=1)
    figures: dict[str, Any] = zero_shot.run(options, seed=0, stock=stock, folder=tmp_path)
    assert all(0.0 <= value <= 1.0 for value in figures.values())
    assert (tmp_path / "picture.png").exists()
    json.dumps(figures)
    if who == "conse":
        cubes = [name for name in (BASE[0], BASE[1]) if name.endswith("cube")]
        assert (figures["colour"], figures["base"]) == (1.0, len(cubes) / 2)
    if who == "linear_probe":
        assert figures["novel"] == 0.0
        assert "text_at_1" not in figures
    else:
        assert {"text_at_1", "image_at_1", "novel_among_novel"} <= set(figures)
