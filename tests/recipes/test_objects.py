"""The experiment on objects: which cells there are, and that its report says what its cells found."""

import json
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest

from worldrl import checkpoint
from worldrl.errors import ConfigError
from worldrl.recipes import experiment, train
from worldrl.recipes.config import compose
from worldrl.recipes.jobs import left
from worldrl.recipes.objects import grid, jobs, picture, report
from worldrl.recipes.objects.grid import Cell
from worldrl.recipes.results import figures_of


def done(root: Path, cell: Cell, share: float, **other: Any) -> None:
    """Write down a cell whose episodes succeeded in a share of a hundred."""
    folder = root / "cells" / cell.name
    folder.mkdir(parents=True)
    outcomes = [i < round(100 * share) for i in range(100)]
    masks = "none" if cell.what == "visual" else "simulator"
    figures = {"masks": masks, "success": share, "outcomes": outcomes, "rets": [10 * share] * 100,
               "ret": 10 * share, "imagined_ret": 1.0, "imagined_end": 0.9, "imagined_steps": 5} | other  # fmt: skip
    (options,) = (job.options for job in jobs.plan(root, [cell]) if job.kind == "cell")
    checkpoint.write_json(folder / "done.json", {"options": options, "seconds": 1.0, "figures": figures})


def test_every_cell_has_a_folder_of_its_own_and_few_shot_comes_after_its_annotations(tmp_path: Path) -> None:
    wanted = list(grid.cells([0, 1, 2]))
    planned = jobs.plan(tmp_path, wanted)
    assert len({cell.name for cell in wanted}) == len(wanted) == 3 * (3 + 3 + 3 + 2 + 3)
    places = {job.folder: i for i, job in enumerate(planned)}
    assert all(places[needed] < places[job.folder] for job in planned for needed in job.after)
    assert sum(job.kind == "annotations" for job in planned) == 3


def test_what_is_done_is_not_run_again(tmp_path: Path) -> None:
    wanted = list(grid.cells([0]))
    done(tmp_path, wanted[0], 0.5)
    assert wanted[0].name not in {job.folder.name for job in left(jobs.plan(tmp_path, wanted))}


def test_a_cell_that_was_run_in_other_words_is_not_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done(tmp_path, Cell("touch", "both", 0), 0.5)
    monkeypatch.setattr(grid, "TOUCH", (*grid.TOUCH, "agent.horizon=8"))
    assert "touch-both-0" in {job.folder.name for job in left(jobs.plan(tmp_path, [Cell("touch", "both", 0)]))}
    assert "touch-both-0" in report.write(tmp_path, tmp_path / "results", seeds=[0])  # as missing


def test_the_report_says_what_the_cells_found(tmp_path: Path) -> None:
    root, results = tmp_path / "run", tmp_path / "results"
    for seed in range(3):
        for what, share in (("both", 0.9), ("objects", 0.89), ("visual", 0.2)):
            done(root, Cell("touch", what, seed), share + 0.01 * seed)
            done(root, Cell("diffusion", what, seed), 1.0 - share, imagined=0.5)
        done(root, Cell("few_shot", "objects", seed), 0.69 + 0.01 * seed)
    rows = [
        {"method": "few_shot", "look": "colour and features", "seed": seed, "iou": {"mean": 0.8 + 0.1 * task},
         "frames_per_second_cached": 40.0}
        for seed in range(3) for task in range(2)
    ]  # fmt: skip
    results.mkdir()
    (results / "masks.json").write_text(json.dumps({"rows": rows}))
    text = report.write(root, results, seeds=[0, 1, 2])
    told = json.loads((results / "objects.json").read_text())
    assert told["objects_and_visual_success"] == pytest.approx(0.91)
    assert told["visual_success"] == pytest.approx(0.21)
    assert np.allclose(told["per_seed"]["objects_success"], [0.89, 0.90, 0.91])
    assert told["masks"] == "simulator" and told["sam_miou"] is None
    assert told["few_shot_miou"] == pytest.approx(0.85) and told["per_seed"]["few_shot_fps"] == [40.0] * 3
    assert "breakout-both-0" in told["missing"]
    assert "| objects and frame against frame alone | 3 | +70.0 [" in text and "| more |" in text
    assert "objects and frame against objects alone | 3 | +1.0" in text and "no difference" in text
    assert "| objects alone against the same with the simulator's masks | 3 | -20.0 [" in text
    assert "-70.0 [" in text and "| less |" in text
    assert "masks: simulator" in text and "masks: none" in text


def test_a_dry_run_runs_nothing_and_keeps_what_cells_found(tmp_path: Path) -> None:
    done(tmp_path / "run", Cell("touch", "both", 0), 0.9)
    words = ["name=objects", "seeds=[0]", "dry=true", f"results={tmp_path / 'results'}"]
    experiment.run(compose("experiment", [*words, f"out={tmp_path / 'run'}"], schema=experiment.Config))
    assert (tmp_path / "results/objects/touch-both-0.json").exists()
    result = experiment.run(compose("experiment", [*words, f"out={tmp_path / 'elsewhere'}"], schema=experiment.Config))
    assert "1 of 14 cells are done" in result.text
    figures = figures_of(result)
    assert len(figures["cells"]) == 1 and len(figures["missing"]) == 13 and figures["failed"] == []
    assert figures["results"] == str(tmp_path / "results/objects.json")


def test_an_unknown_experiment_or_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"name must be one of objects, .* got 'subjects'"):
        compose("experiment", ["name=subjects"], schema=experiment.Config)
    config = compose("experiment", ["name=objects", "only=[tuch]", f"out={tmp_path}"], schema=experiment.Config)
    with pytest.raises(ConfigError, match="only must be among those of objects, got tuch"):
        experiment.run(config)


def test_the_picture_shows_frames_and_what_two_models_draw_of_them(tmp_path: Path) -> None:
    assert picture.draw(tmp_path, tmp_path, seed=0) is None
    tiny = ["steps=60", "warmup=40", "checks=0", "episodes=1", "storm.size=tiny", "agent.starts=4", "agent.horizon=2"]
    for what in ("visual", "both"):
        out = f"out={tmp_path / 'cells' / f'touch-{what}-0' / 'run'}"
        train.run(compose("train", [*tiny, out, f"inputs={what}"], schema=train.Config))
    file = picture.draw(tmp_path, tmp_path, seed=0)
    assert file is not None
    shown = iio.imread(file)
    assert shown.shape == (3 * 3 * 64, 8 * 3 * 64, 3)
    assert all(row.std() > 1.0 for row in np.split(shown, 3))
