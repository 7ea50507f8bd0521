"""The experiment from its own command, on a tiny budget: every kind of job, then nothing left to do."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

TINY = [
    "tasks=[door-lock]", "seeds=[0]", "demonstrations=2", "rollouts=4", "random=2", "episodes=3", "clone_steps=60",
    "fit_steps=10", "own_fit_steps=10", "success_steps=10", "imagined_steps=6000", "world_model=tiny", "workers=2",
]  # fmt: skip


def reproduce(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    places = [f"out={folder / 'runs'}", f"results={folder / 'results'}"]
    command = [sys.executable, "-m", "worldrl.cli", "reproduce", "world4rl", *TINY, *places, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=840, check=False)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_grid_runs_every_kind_of_job_and_repeats_none(tmp_path: Path) -> None:
    pytest.importorskip("metaworld")
    first = reproduce(tmp_path)
    assert first.returncode == 0, first.stderr
    saved = json.loads((tmp_path / "results/world4rl.json").read_text())
    assert [one["method"] for one in saved["cells"]] == ["bc", "filtered_bc", "world4rl", "ours"]
    assert saved["missing"] == []
    for one in saved["cells"]:
        assert one["masks"] == "simulator" and one["episodes"] == 3 and one["real_steps"] > 0
        assert one["repeatable"] <= one["replays"]
        assert {"expert_success", "bc_success", "imagined_success", "false_success_rate", "seconds"} <= set(one)
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("done.json")}
    second = reproduce(tmp_path)
    assert "0 of 7 jobs are to be run" in second.stdout
    assert stamps == {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("done.json")}


def test_annotations_that_are_not_used_are_no_part_of_a_job() -> None:
    from worldrl.recipes.reproduce import Config, identity

    plain, told = Config(), Config()
    told.objects.masks, told.objects.annotations = "few_shot", "annotations"
    assert "annotations" not in identity(plain)["objects"] and identity(told)["objects"]["annotations"] == "annotations"
    assert not {"seeds", "tier", "out", "workers"} & set(identity(plain))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("tier=4",), "tier must be one of 1, 2, 3, got 4"),
        (("seeds=[]",), "tasks and seeds must each name at least one"),
        (("encoder=dinov2_vits14",), "env_kwargs.drawing must be true where pictures are observed"),
        (("demonstrations=0",), "demonstrations must be positive, got 0"),
    ],
)
def test_wrong_options_are_one_sentence_and_nothing_is_begun(
    words: tuple[str, ...], sentence: str, tmp_path: Path
) -> None:
    refused = reproduce(tmp_path, *words)
    assert refused.returncode == 2 and sentence in refused.stderr and "Traceback" not in refused.stderr
    assert not (tmp_path / "runs").exists()


def test_an_experiment_that_nobody_wrote_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "worldrl.cli", "reproduce", "world4"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    assert result.returncode == 2 and "experiment must be one of world4rl, got 'world4'" in result.stderr


@pytest.mark.fault(56)
def test_a_missing_extra_is_one_sentence_with_the_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from worldrl.errors import ConfigError
    from worldrl.recipes import reproduce as recipe

    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r'Meta-World tasks need metaworld: pip install "worldrl\[metaworld\]"'):
        recipe.run(recipe.Config(dry=True))


def test_a_new_option_does_not_make_finished_cells_others() -> None:
    """What the published table was made of must be found again by the command that made it."""
    from worldrl.recipes.reproduce import Config, identity

    settings = json.loads(json.dumps(identity(Config())))
    records = sorted((Path(__file__).parents[2] / "docs" / "results" / "world4rl").glob("*.json"))
    assert len(records) > 100
    for record in records:
        options = json.loads(record.read_text())["options"]
        shared = {name: value for name, value in options.items() if name in settings and name != "tasks"}
        assert shared == {name: settings[name] for name in shared}, record.name
