"""Masks are measured on episodes that nobody annotated, once a row, and told in one table."""

import json
from pathlib import Path

import pytest

from worldrl import checkpoint, cli
from worldrl.recipes import collect
from worldrl.recipes.options import EnvOptions


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("masks")
    env = EnvOptions("worldrl/Push-v0", {"size": 56, "max_steps": 6})
    collect.run(collect.Config(env=env, out=str(folder / "episodes"), policy="random", episodes=5))
    assert cli.main(["annotate", f"episodes={folder / 'episodes'}", f"out={folder / 'annotations'}", "shots=2"]) == 0
    return folder


def masks(folder: Path, out: Path, *words: str) -> int:
    given = [f"{name}={folder / name}" for name in ("episodes", "annotations")]
    return cli.main(["masks", *given, "encoder=none", f"out={out}", "timed=4", *words])


def test_colours_find_the_objects_of_other_episodes(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert masks(folder, tmp_path / "masks.json", "--json") == 0
    (row,) = checkpoint.read_json(tmp_path / "masks.json")["rows"]
    assert json.loads(capsys.readouterr().out) == {"out": str(tmp_path / "masks.json"), "rows": [row]}
    assert (row["task"], row["look"], row["shots"], row["episodes"]) == ("worldrl/Push-v0", "colour", 2, 3)
    assert row["iou"]["mean"] > 0.8 and row["tokens_per_second"] > 0
    assert [one["name"] for one in row["objects"]][:2] == ["fingers", "block"]


def test_finished_rows_are_kept_and_told_beside_new_ones(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "masks.json"
    for seed in (1, 0, 1):
        assert masks(folder, out, f"seed={seed}", f"held_out={1 + seed}") == 0
    rows = checkpoint.read_json(out)["rows"]
    assert [(row["seed"], row["episodes"]) for row in rows] == [(0, 1), (1, 2)]
    text = out.with_suffix(".md").read_text()
    assert f"{rows[0]['iou']['mean']:.3f}" in text and "held_out=2" in text


def test_what_cannot_be_measured_is_refused(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert masks(folder, tmp_path / "masks.md") == 2 and "ends in .json" in capsys.readouterr().err
    assert masks(folder, tmp_path / "masks.json", "method=magic") == 2
    assert "method must be one of few_shot, mobilesam" in capsys.readouterr().err
    few = ["annotate", f"episodes={folder / 'episodes'}", f"out={tmp_path / 'all'}", "shots=5"]
    assert cli.main(few) == 0
    assert masks(folder, tmp_path / "masks.json", f"annotations={tmp_path / 'all'}") == 3
    assert "every episode holds an annotated frame" in capsys.readouterr().err
