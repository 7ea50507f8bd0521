"""The probe asks the simulator where things are, and says which encoder tells it best."""

import json
from pathlib import Path

import pytest

from worldrl import checkpoint, cli
from worldrl.recipes import collect
from worldrl.recipes.options import EnvOptions


@pytest.fixture(scope="module")
def episodes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("probe") / "episodes"
    env = EnvOptions("worldrl/Reach-v0", {"size": 56, "max_steps": 4})
    collect.run(collect.Config(env=env, out=str(folder), policy="random", episodes=40))
    return folder


def test_the_geometry_of_a_mask_tells_where_its_object_is(
    episodes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [f"episodes={episodes}", "encoders=[]", "frames=2", f"out={tmp_path / 'probe.json'}"]
    assert cli.main(["probe", *words, "--json"]) == 0
    (row,) = checkpoint.read_json(tmp_path / "probe.json")["rows"]
    assert json.loads(capsys.readouterr().out) == {"out": str(tmp_path / "probe.json"), "rows": [row]}
    assert (row["reads"], row["encoder"], row["frames"]) == ("geometry of the mask", "none", 80)
    assert row["r2"] > 0.6 and row["error_cm"] < 0.6 * row["blind_cm"]
    assert row["objects"][0]["name"] == "fingers"


@pytest.mark.weights
def test_each_encoder_stands_beside_its_random_twin(episodes: Path, tmp_path: Path) -> None:
    out = tmp_path / "probe.json"
    words = [f"episodes={episodes}", "encoders=[dinov2_vits14]", "frames=1", f"out={out}", "groups=3"]
    for _ in range(2):  # what is there is not measured again
        assert cli.main(["probe", *words]) == 0
    rows = checkpoint.read_json(out)["rows"]
    assert len(rows) == 1 + 2 * 3
    assert {row["encoder"] for row in rows} == {"none", "dinov2_vits14", "dinov2_vits14 (random)"}
    text = out.with_suffix(".md").read_text()
    assert " > dinov2" in text and "looks and geometry of prototypes" in text


def test_an_encoder_that_frames_do_not_fit_is_refused(episodes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["probe", f"episodes={episodes}", "encoders=[efficientnet_lite0]"]) == 2
    assert "frames must be a multiple of 16 pixels for efficientnet_lite0, got 56" in capsys.readouterr().err


def test_too_few_episodes_are_said_before_anything_is_encoded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    env = EnvOptions("worldrl/Reach-v0", {"size": 56, "max_steps": 4})
    collect.run(collect.Config(env=env, out=str(tmp_path / "few"), policy="random", episodes=3))
    assert cli.main(["probe", f"episodes={tmp_path / 'few'}", f"out={tmp_path / 'probe.json'}"]) == 3
    assert "episodes must be at least 5, got 3" in capsys.readouterr().err
    assert not (tmp_path / "probe.json").exists()
