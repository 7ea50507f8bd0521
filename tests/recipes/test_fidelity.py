"""A world is told how far it can be trusted, from its own command."""

import json
from pathlib import Path
from typing import Any

import pytest

from worldrl import cli
from worldrl.encoders import ENCODERS
from worldrl.recipes import clone, collect, encode, fidelity, fit
from worldrl.recipes.fidelity_table import table
from worldrl.recipes.options import EncoderOptions, EnvOptions, WorldModelOptions

ENV = EnvOptions(id="worldrl/CloseDrawer-v0", kwargs={"size": 56, "max_steps": 40})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Eight episodes of an expert and a world and a policy that have hardly learnt anything from them."""
    folder = tmp_path_factory.mktemp("made")
    paths = {name: str(folder / name) for name in ("episodes", "observation", "world", "policy")}
    both = {name: paths[name] for name in ("episodes", "observation")}
    collect.run(collect.Config(env=ENV, out=paths["episodes"], policy="expert", episodes=8))
    encode.run(encode.Config(episodes=paths["episodes"], out=paths["observation"], encoder=EncoderOptions(name="none")))
    clone.run(clone.Config(**both, out=paths["policy"], steps=2))
    fit.run(
        fit.Config(
            **both, out=paths["world"], world_model=WorldModelOptions(size="tiny"), steps=5, success_steps=5,
            decoder_steps=2, held_out=0.5,
        )
    )  # fmt: skip
    return paths


def test_the_command_leaves_figures_and_table(made: dict[str, str], tmp_path: Path, capsys: Any) -> None:
    words = [f"{name}={made[name]}" for name in ("world", "episodes", "observation")]
    out = tmp_path / "new" / "fidelity.json"
    policies = f"policies=[{made['policy']}]"
    assert cli.main(["fidelity", *words, policies, f"out={out}", "pictures=2"]) == 0
    figures = json.loads(out.read_text())
    assert capsys.readouterr().out == out.with_suffix(".md").read_text()
    assert figures["task"] == "worldrl/CloseDrawer-v0" and figures["episodes"] == 4
    assert [error["steps"] for error in figures["open_loop"]] == [10, 25, 50]
    assert figures["open_loop"][2] == {"steps": 50, "segments": 0, "model": None, "repeat_last": None}
    assert figures["missed_success"]["trials"] == 4 and figures["failed_replay"] is None
    pictures = figures["pictures"]
    assert pictures["size"] == 64 and pictures["encoder"] is None
    assert len(pictures["imagined"]["psnr"]) == len(pictures["redrawn"]["ssim"]) == len(pictures["episodes_by_step"])
    (found,) = figures["policies"]
    assert found["imagined_success"]["trials"] == 4
    assert found["false_success"]["trials"] == found["imagined_success"]["count"]
    assert found["repeatable_false_success"]["trials"] <= found["false_success"]["trials"]


def test_pictures_can_be_left_out(made: dict[str, str], tmp_path: Path) -> None:
    paths = {name: made[name] for name in ("world", "episodes", "observation")}
    fidelity.run(fidelity.Config(**paths, out=str(tmp_path / "fidelity.json"), held_out=0.5, pictures=0))
    figures = json.loads((tmp_path / "fidelity.json").read_text())
    assert figures["pictures"] is None and figures["policies"] == []


def test_the_table_has_a_row_a_figure_and_says_what_is_missing() -> None:
    share = {"share": 0.25, "count": 1, "trials": 4, "interval": [0.046, 0.699]}
    side = {
        "psnr": [30.0, None],
        "ssim": [0.9, 0.8],
        "st_lpips": None,
        "frechet_frames": 1.5,
        "frechet_clips": None,
    }
    figures = {
        "task": "worldrl/Reach-v0",
        "episodes": 3,
        "seed": 0,
        "one_step_skill": 0.634,
        "action_sensitivity": 0.98,
        "open_loop": [{"steps": 10, "segments": 7, "model": 0.02, "repeat_last": 0.1}],
        "missed_success": share,
        "failed_replay": None,
        "pictures": {
            "size": 64, "encoder": "dinov2_vits14", "frames": 12, "clips": 1, "episodes_by_step": [3, 2],
            "imagined": side, "held": side | {"psnr": [20.0, 19.0]}, "redrawn": None,
        },
        "policies": [{"policy": "runs/a", "imagined_success": share, "halted": 0.5, "false_success": share,
                      "repeatable_false_success": share}],
    }  # fmt: skip
    lines = table(figures).splitlines()
    for row in (
        "| one-step error removed | 63 % | repeating the last: 0 % | 3 episodes |",
        "| open-loop error after 10 steps | 0.0200 | repeating the last: 0.1000 | 7 segments |",
        "| missed success | 25 % [5, 70] | should be 0 % | 4 |",
        "| failed replay | - | should be 0 % | 0 |",
        "| PSNR (dB) after 1 step | 30.0 | first frame held: 20.0 | 3 episodes |",
        "| frechet_frames over dinov2_vits14 features | 1.50 | first frame held: 1.50 | 12 frames |",
        "| `runs/a`: imagined success | 25 % [5, 70] | halted: 50 % | 4 |",
    ):
        assert row in lines
    assert not any("clips" in line or "ST-LPIPS (" in line for line in lines)
    assert "worldrl encoders install stlpips" in lines[-1] and "decoder" not in lines[-1]
    assert "No pictures" in table(figures | {"pictures": None})


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("held_out=1.0", "held_out must be in (0, 1), got 1.0"),
        ("pictures=-1", "pictures and slack must be 0 or more, got -1 and 0"),
        ("frechet=resnet", f"frechet must be one of {', '.join(ENCODERS)}, got 'resnet'"),
        ("world=nowhere", "no world at 'nowhere'"),
    ],
)
def test_a_wrong_option_is_refused(word: str, sentence: str, capsys: Any) -> None:
    given = {"world": "w", "episodes": "e", "observation": "o", "out": "x.json"}
    words = [f"{name}={value}" for name, value in given.items() if not word.startswith(f"{name}=")]
    assert cli.main(["fidelity", *words, word]) == 2
    assert sentence in capsys.readouterr().err
