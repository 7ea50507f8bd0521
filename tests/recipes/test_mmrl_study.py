"""The study of prompts and tokens: where examples come from, what is measured, and what each arm finds."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from worldrl.checkpoint import hash_tensors
from worldrl.data.scenes import SceneSet, write_scenes
from worldrl.encoders.frozen import Encoder, load_encoder, seeded
from worldrl.errors import ConfigError, DataError
from worldrl.language.image_tower import ImageTower
from worldrl.language.text_tower import TextTower
from worldrl.language.two_tower import TwoTower
from worldrl.recipes.studies import grid, mmrl, shots
from worldrl.recipes.studies.mmrl import Options
from worldrl.recipes.studies.stock import Need, Stock
from worldrl.scene import BASE, COLOURS, NOVEL, Camera, Scene, Thing

SEEN = (*BASE[:3], *NOVEL[:2])
SMALL = {"shots": 2, "epochs": 1, "rank": 1, "project_rank": 2}


def painted(count: int) -> Iterator[Scene]:
    """Yield scenes of two coloured squares each, whose names go round."""
    camera = Camera(100.0, (56.0, 56.0), np.eye(3), np.zeros(3))
    for i in range(count):
        image, instances = np.full((112, 112, 3), 90, np.uint8), np.zeros((112, 112), np.uint8)
        things = []
        for j, left in enumerate((8, 64)):
            colour, shape = SEEN[(2 * i + j) % len(SEEN)].split()
            image[40:72, left : left + 32] = np.round(255 * np.array(COLOURS[colour]))
            instances[40:72, left : left + 32] = j + 1
            box = np.array([left, 40, left + 32, 72], np.float32)
            things.append(Thing(shape, colour, box, np.array([0, 0, 1.0]), np.ones(3), np.eye(3), 1.0))
        depth = np.ones((112, 112), np.float32)
        yield Scene(image, instances, depth, tuple(things), camera, np.array([0.0, -1.0, 0.0]), ("a",), (("b", "c"),))


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Stock:
    """Few small scenes, and towers that were never fitted."""
    folder = tmp_path_factory.mktemp("shared")
    stock = Stock(folder)
    for split, count in {"shift": 20, "test": 3}.items():
        write_scenes(stock.at(Need("scenes", split=split)) / "set", painted(count), meta={})
    stem = load_encoder("efficientnet_lite0", random_init=True)
    assert isinstance(stem, Encoder)
    build = lambda: (  # noqa: E731
        ImageTower(inputs=124, width=16, embedding=8, depth=2, heads=2, grid=7),
        TextTower(width=12, embedding=8, depth=2, heads=2),
    )
    pictures, words = seeded(build, 0)
    TwoTower(stem, pictures, words, colours=True, scale=10.0).save_pretrained(stock.towers("captions", 0))
    return stock


def run(stock: Stock, folder: Path, **options: Any) -> dict[str, Any]:
    given = Options(**{**SMALL, **options})
    given.check()
    return mmrl.run(given, seed=0, stock=stock, folder=folder)


@pytest.mark.parametrize("choosing", [False, True])
def test_no_scene_is_both_learned_from_and_measured(choosing: bool) -> None:
    halves = shots.halve(20, seed=3, choosing=choosing)
    assert not set(halves.shots) & set(halves.held)
    assert len(halves.shots) + len(halves.held) == (10 if choosing else 20)
    assert halves != shots.halve(20, seed=4, choosing=choosing)


def test_options_are_chosen_on_no_scene_that_is_measured_later() -> None:
    chosen, final = shots.halve(20, seed=3, choosing=True), shots.halve(20, seed=3)
    assert set(chosen.shots) | set(chosen.held) == set(final.shots)


def test_every_name_has_as_many_windows_as_are_asked_for(stock: Stock) -> None:
    scenes: SceneSet = stock.scenes("shift")
    views = list(shots.examples(scenes, range(5), names=(*SEEN, "black arch"), count=3, seed=0))
    names = [view.names[view.about] for view in views]
    assert {name: names.count(name) for name in set(names)} == dict.fromkeys(SEEN, 3)  # no black arch is there
    assert all(view.about >= 0 for view in (*views, *shots.windows(scenes, range(5))))
    assert shots.counted(scenes, range(5), (*SEEN, "black arch")) == [2, 2, 2, 2, 2, 0]
    first, _, third = (view.frame for view in views[:3])  # two things, three windows: the third is of the first
    assert not np.array_equal(first, third)


def test_without_a_thing_there_is_no_map(stock: Stock) -> None:
    with pytest.raises(DataError, match="a window of at least one thing"):
        shots.read(TwoTower.from_pretrained(stock.towers("captions", 0)), [])


def test_the_arms_of_the_study_are_as_its_options_allow() -> None:
    study = grid.read_study("mmrl")
    cells = list(grid.cells(study, [0], {}))
    assert {cell.options["method"] for cell in cells} == set(mmrl.METHODS)
    for cell in cells:
        needed = mmrl.needs(grid.options_of("mmrl", cell.options))
        assert Need("towers", cell.options["towers"]) in needed


@pytest.mark.parametrize(("method", "learned"), [("zero_shot", 0), ("coop", 4 * 12), ("mmrl", None), ("mmrl_pp", None)])
def test_an_arm_that_is_open_finds_base_novel_and_another_domain(
    stock: Stock, tmp_path: Path, method: str, learned: int | None
) -> None:
    figures = run(stock, tmp_path, method=method)
    assert all(0 <= figures[name] <= 1 for name in ("base", "novel", "hm", "cross"))
    assert learned is None or figures["parameters"] == learned
    assert ("novel_fused" in figures) == (learned is None)
    assert (tmp_path / "picture.png").exists()


def test_a_linear_probe_has_no_figure_for_what_it_cannot_name(stock: Stock, tmp_path: Path) -> None:
    figures = run(stock, tmp_path, method="linear_probe")
    assert figures["novel"] is None and figures["hm"] is None and "cross" not in figures
    assert figures["parameters"] == len(BASE) * (8 + 1)


def test_options_are_chosen_by_base_things_alone(stock: Stock, tmp_path: Path) -> None:
    assert list(run(stock, tmp_path, method="mmrl", choosing=True)) == ["validation", "validation_loss"]


def test_an_arm_repeats_under_its_seed_and_leaves_the_towers(stock: Stock, tmp_path: Path) -> None:
    before = hash_tensors(TwoTower.from_pretrained(stock.towers("captions", 0)).state_dict())
    assert run(stock, tmp_path) == run(stock, tmp_path)
    assert hash_tensors(TwoTower.from_pretrained(stock.towers("captions", 0)).state_dict()) == before


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"method": "clip"}, "method must be one of"),
        ({"towers": "clip"}, "towers must be one of"),
        ({"alpha": 2.0}, "alpha and blend must be in"),
        ({"pull": -1.0}, "pull, decay and layers must be at least 0"),
        ({"epochs": 0}, "epochs must be"),
    ],
)
def test_options_that_cannot_be_are_refused(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        Options(**given).check()
