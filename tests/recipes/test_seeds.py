"""The table over seeds: finished seeds are not run again, and the command beside it makes it again."""

import json
import shlex
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from worldrl.errors import ConfigError
from worldrl.recipes import demo, seeds
from worldrl.recipes.config import compose
from worldrl.recipes.options import EncoderOptions
from worldrl.recipes.results import figures_of


def summary(seed: int, before: list[bool], after: list[bool]) -> dict[str, Any]:
    share = {name: sum(outcomes) / len(outcomes) for name, outcomes in (("bc", before), ("refined", after))}
    return {
        "task": "worldrl/Reach-v0", "observation": "tokens (6, 42)", "seed": seed, "masks": "none",
        "encoder": "dinov2_vits14",
        "encoder_random_init": False, "episodes": len(before), "bc_success": share["bc"], "bc_interval": [0.1, 0.9],
        "refined_success": share["refined"], "refined_interval": [0.2, 1.0],
        "gain": {"mean": share["refined"] - share["bc"], "low": 0.0, "high": 1.0}, "imagined_success": 1.0,
        "gap": 1.0 - share["refined"], "real_steps_collected": 1000, "real_steps_during_refinement": 0,
        "imagined_steps": 2000, "seconds_total": 10.0, "peak_memory_gb": 1.0, "versions": {"worldrl": "0"},
        "outcomes": {"bc": before, "refined": after},
    }  # fmt: skip


@pytest.fixture
def finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> seeds.Config:
    for seed in (0, 1):
        folder = tmp_path / "runs" / f"seed-{seed}"
        folder.mkdir(parents=True)
        outcomes = [i % 2 == 0 for i in range(10)], [i != seed for i in range(10)]
        (folder / "summary.json").write_text(json.dumps(summary(seed, *outcomes)))
        (folder / "config.json").write_text(json.dumps(asdict(demo.Config(seed=seed))))
    monkeypatch.setattr(seeds.demo_recipe, "run", lambda config: pytest.fail(f"seed {config.seed} was run again"))
    return seeds.Config(seeds=[0, 1], out=str(tmp_path / "runs"), table=str(tmp_path / "docs/table.md"))


def test_finished_seeds_are_read_and_not_run_again(finished: seeds.Config) -> None:
    result = seeds.run(finished)
    text, figures = result.text, figures_of(result)
    assert Path(finished.table).read_text() == text
    assert [one["seed"] for one in figures["seeds"]] == [0, 1] and figures["table"] == finished.table
    assert figures["gain"]["mean"] == pytest.approx(0.4) and figures["gain"]["low"] <= 0.4 <= figures["gain"]["high"]
    assert "Mean gain +40.0 points" in text and text.count("masks: none") == 2


def test_a_finished_seed_of_other_options_is_not_passed_off_as_this_one(finished: seeds.Config) -> None:
    other = replace(finished, demo=demo.Config(encoder=EncoderOptions(random_init=True)))
    with pytest.raises(ConfigError, match=r"seed-0 was made with encoder.random_init=false: choose another out"):
        seeds.run(other)
    assert not Path(finished.table).exists()


def test_an_unfinished_seed_goes_on_in_its_folder(finished: seeds.Config, monkeypatch: pytest.MonkeyPatch) -> None:
    left = Path(finished.out) / "seed-1"
    kept = (left / "summary.json").rename(left / "episodes")

    def run(config: Any) -> str:
        assert config.out == str(left) and config.seed == 1 and kept.exists()
        (left / "summary.json").write_text(json.dumps(summary(config.seed, [True, False], [True, True])))
        return ""

    monkeypatch.setattr(seeds.demo_recipe, "run", run)
    assert "+50" in seeds.run(finished).text


def test_the_command_under_the_table_makes_the_same_config() -> None:
    words = ["encoder@demo.encoder=random_dinov2", "demo.videos=0", "seeds=[3,4]", "env@demo.env=metaworld_door_lock"]
    config = compose("seeds", words)
    said = shlex.split(seeds.command(config))
    assert said[:2] == ["worldrl", "seeds"] and "demo.encoder.random_init=true" in said
    assert compose("seeds", said[2:]) == config
