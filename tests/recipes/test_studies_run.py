"""A study from its own command on a tiny pool: everything it needs is made, then nothing is left to do."""

import json
import shutil
from pathlib import Path

import pytest

from worldrl.recipes import experiment
from worldrl.recipes.config import compose

pytestmark = [pytest.mark.slow, pytest.mark.weights]
POOL = ["pool.train=6", "pool.test=3", "pool.shift=3", "pool.size=112"]


def run(tmp_path: Path, *words: str) -> str:
    places = [f"{name}={tmp_path / name}" for name in ("out", "shared", "results")]
    config = compose("experiment", [*words, *places, *POOL, "seeds=[0]", "workers=2"], schema=experiment.Config)
    return experiment.run(config).text


def test_a_study_is_run_told_and_not_run_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("faster_coco_eval")
    words = ["name=frozen_detr", "only=[none,both]", "+options.steps=2", "+options.batch=2", "+options.level=4"]
    text = run(tmp_path, *words)
    assert "2 of 6 cells are done" in text and "| both | 1 |" in text
    record = json.loads((tmp_path / "results" / "frozen_detr.json").read_text())
    assert {row["arm"] for row in record["rows"]} == {"none", "both"} and all("map" in row for row in record["rows"])
    assert (tmp_path / "results" / "frozen_detr.png").exists()
    shutil.rmtree(tmp_path / "out")  # as in a fresh clone: what cells found is kept beside the results
    capsys.readouterr()
    assert "2 of 6 cells are done" in run(tmp_path, *words)
    assert capsys.readouterr().out.startswith("0 of ")


def test_cuboids_are_learnt_and_judged_from_scenes_and_cached_features(tmp_path: Path) -> None:
    text = run(tmp_path, "name=weak_cube", "only=[depth_median,weak_adapted]", "+options.steps=2")
    assert "2 of 8 cells are done" in text and "AP3D@25" in text
