"""Studies: what their YAML says, what they need, what is run, and what is told of what was found."""

import json
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from worldrl.errors import ConfigError
from worldrl.recipes import experiment
from worldrl.recipes.config import compose
from worldrl.recipes.options import option
from worldrl.recipes.studies import STUDIES, grid, report
from worldrl.recipes.studies.grid import Cell, Study
from worldrl.recipes.studies.stock import ENCODERS, QUARTERS, SPLITS, Need, PoolOptions, Stock


@dataclass
class Options:
    steps: int = option(3, "steps")
    deep: bool = option(False, "deep")

    def check(self) -> None:
        if self.steps < 1:
            raise ConfigError(f"steps must be at least 1, got {self.steps}.")


STUDY = Study(
    "toy", "A toy", {"score": "score", "size": "size"}, {"plain": {}, "deep": {"deep": True}}, {"steps": 5}, 100.0,
    ("size",), (("deep", "plain", "score"),), ("deep",), ("labels: simulator",),
)  # fmt: skip


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A study whose arms need towers and features."""
    module = ModuleType("toy")
    module.Options = Options  # type: ignore[attr-defined]
    module.needs = lambda options: (  # type: ignore[attr-defined]
        Need("features", "dinov2", "train"), *([Need("towers", "captions")] if options.deep else []),
    )  # fmt: skip
    monkeypatch.setitem(__import__("sys").modules, "worldrl.recipes.studies.toy", module)


def finish(root: Path, cell: Cell, score: float) -> None:
    folder = root / "cells" / cell.name
    folder.mkdir(parents=True)
    (folder / "done.json").write_text(json.dumps({"options": {}, "figures": {"score": score, "size": 4096}}))


def test_a_cell_has_all_options_of_its_arm_and_changes_come_last(toy: None) -> None:
    plain, deep = grid.cells(STUDY, [7], {"steps": 2})
    assert plain == Cell("plain-7", "plain", 7, {"steps": 2, "deep": False})
    assert deep.options == {"steps": 2, "deep": True}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"step": 2}, "options of toy: Key 'step' not in 'Options'"),
        ({"steps": "many"}, "options of toy: Value 'many' .* could not be converted to Integer"),
        ({"steps": 0}, "steps must be at least 1, got 0"),
    ],
)
def test_options_that_cannot_be_are_refused(toy: None, changes: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        list(grid.cells(STUDY, [0], changes))


def test_what_is_shared_is_made_once_and_before_those_who_need_it(toy: None, tmp_path: Path) -> None:
    cells = list(grid.cells(STUDY, [0, 1], {}))
    jobs = grid.plan(tmp_path / "run", tmp_path / "shared", STUDY, cells, PoolOptions())
    names = [job.folder.name for job in jobs]
    assert names == [
        "scenes-train", "features-dinov2-train", "plain-0", "towers-captions-0", "deep-0",
        "plain-1", "towers-captions-1", "deep-1",
    ]  # fmt: skip
    for job in jobs:
        assert all(folder.name in names[: names.index(job.folder.name)] for folder in job.after)


def test_the_table_tells_means_intervals_and_paired_differences(tmp_path: Path, toy: None) -> None:
    cells = list(grid.cells(STUDY, [0, 1, 2], {}))
    for cell in cells[:-1]:
        finish(tmp_path, cell, 0.1 * cell.seed + (0.5 if cell.study == "deep" else 0.0))
    picture = np.full((4, 6, 3), 9, np.uint8)
    __import__("imageio.v3").v3.imwrite(tmp_path / "cells" / "deep-0" / "picture.png", picture)
    text = report.write(tmp_path, tmp_path / "results", STUDY, cells, {cell.name for cell in cells[:-1]})
    assert "| plain | 3 | 10.0 [" in text and "| deep | 2 | 55.0 [" in text
    assert "| deep against plain | score | 2 | +50.0 ± 0.00 | more |" in text and " | 4,096 |" in text
    assert "5 of 6 cells are done" in text and "Missing: deep-2." in text and "labels: simulator" in text
    record = json.loads((tmp_path / "results" / "toy.json").read_text())
    assert record["differences"][0]["verdict"] == "more" and len(record["rows"]) == 5
    assert (tmp_path / "results" / "toy.png").exists()


def test_a_difference_inside_two_standard_errors_is_none(tmp_path: Path, toy: None) -> None:
    cells = list(grid.cells(STUDY, [0, 1], {}))
    for cell, score in zip(cells, (0.5, 0.6, 0.5, 0.45), strict=True):
        finish(tmp_path, cell, score)
    assert "no difference" in report.write(tmp_path, tmp_path / "r", STUDY, cells, {cell.name for cell in cells})


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_says_what_it_is_and_what_it_needs(name: str) -> None:
    study = grid.read_study(name)
    module = __import__("importlib").import_module(f"worldrl.recipes.studies.{name}")
    assert study.title and study.figures and any("labels: " in note.lower() for note in study.notes)
    assert len(list(grid.cells(study, [0], {}))) == len(study.arms) >= 2
    assert any("random" in arm for arm in study.arms), "no random-init frozen-encoder control"
    for cell in grid.cells(study, [0], {}):
        for need in module.needs(grid.options_of(name, cell.options)):
            assert need.kind in grid.SECONDS and (not need.split or need.split in SPLITS)
            assert need.kind != "features" or need.what.removesuffix(QUARTERS) in ENCODERS
    assert all(figure in study.figures for _, _, figure in study.pairs)


def test_what_the_stock_lacks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="split must be one of train, test, shift, got 'val'"):
        Stock(tmp_path).scenes("val")
    with pytest.raises(ConfigError, match="features must be of one of dinov2"):
        Stock(tmp_path).features("clip", "train")


def test_a_pool_that_no_encoder_reads_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"pool.size must be a multiple of 112, .* got 100"):
        compose("experiment", ["name=limber", "pool.size=100"], schema=experiment.Config)
