"""Options of the real verbs that cannot be: each is refused at once, in one sentence that names it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from worldrl import cli

SAFE = ["episodes=a", "observation=b", "out=c"]


def refusal(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Return the one sentence with which words are refused as options."""
    assert cli.main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line.removeprefix("worldrl: ")


@pytest.mark.fault(51)
@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ("steps=-5", "steps must be positive, got -5"),
        ("steps=0", "steps must be positive, got 0"),
        ("steps=abc", "steps must be int, got abc"),
        ("steps=1e400", "steps must be int, got 1e400"),
        ("batch_size=2.5", "batch_size must be int, got 2.5"),
        ("lr=nan", "lr must be a number, got nan"),
        ("lr=inf", "lr must be a number, got inf"),
        ("lr=1e400", "lr must be a number, got inf"),
        ("lr=-1e-3", "lr must be positive, got -0.001"),
        ("held_out=1", "held_out must be in (0, 1), got 1.0"),
        ("world_model.history=0", "history must be positive, got 0"),
        ("world_model.size=vast", "world_model.size must be one of"),
        ("engine.patience_s=0", "patience_s must be positive, got 0.0"),
    ],
)
def test_a_number_that_cannot_be_is_refused_before_anything_is_read(
    option: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refusal(["fit", *SAFE, option], capsys).startswith(sentence)


@pytest.mark.fault(50, 52)
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["fit", *SAFE, "stepz=3"], "'stepz' is not an option of fit: did you mean 'steps'?"),
        (["fit", *SAFE, "world_modle=tiny"], "'world_modle' is not an option of fit: did you mean 'world_model'?"),
        (["fit", *SAFE, "world_model=huge"], "world_model must be one of base, medium, small, tiny, got 'huge'"),
        (["fit", "episodes=${observation}", "observation=${episodes}", "out=c"], ""),
        (["collect", "out=c", "env=reech"], "env must be one of"),
        (["collect", "out=c", "env.id=worldrl/Reech-v0"], "no environment is called 'worldrl/Reech-v0': did you mean"),
        (["encode", "episodes=a", "out=c", "encoder.name=dino"], "encoder.name must be one of"),
        (["encode", "episodes=a", "out=c", "encoder=dino"], "encoder must be one of dinov2_vits14"),
    ],
)
def test_a_name_that_there_is_not_is_refused_with_those_there_are(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refusal(words, capsys).startswith(sentence)


@pytest.mark.fault(50)
def test_a_misspelt_option_ends_a_process_with_two_and_without_a_traceback() -> None:
    command = [sys.executable, "-m", "worldrl.cli", "fit", *SAFE, "stepz=3"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr == "worldrl: 'stepz' is not an option of fit: did you mean 'steps'? See worldrl fit --help.\n"


@pytest.mark.fault(56)
@pytest.mark.parametrize(
    ("words", "module", "extra"),
    [
        (
            ["collect", "out={out}", "env.id=worldrl/MetaWorld-reach-v0", "episodes=1"],
            "metaworld.env_dict",
            "metaworld",
        ),
        (["collect", "out={out}", "env.id=worldrl/MinAtar-v0"], "minatar", "minatar"),
        (["fit", *SAFE, "tensorboard=board"], "tensorboard", "tensorboard"),
        (["collect", "out={out}", "cluster.address=auto"], "ray", "ray"),
    ],
)
def test_an_extra_that_is_not_installed_is_named_with_the_line_that_installs_it(
    words: list[str], module: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr("worldrl.recipes.options.find_spec", lambda name: None)
    out = tmp_path / "set"
    said = refusal([word.format(out=out) for word in words], capsys)
    assert f"worldrl[{extra}]" in said and "pip install" in said
    assert not list(tmp_path.rglob("shard-*"))


@pytest.mark.fault(64)
@pytest.mark.parametrize("name", ["api_key", "token", "hub.password", "aws_secret"])
def test_a_secret_is_no_option(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refusal(["collect", f"out={tmp_path}/set", f"+env.kwargs.{name}=hush"], capsys)
    assert said.startswith(f"env.kwargs.{name} must not be an option, for those are written down")
    assert "hush" not in said and list(tmp_path.iterdir()) == []


@pytest.mark.fault(64)
def test_nothing_of_the_environment_is_written_down(tmp_path: Path) -> None:
    secrets = {"HF_TOKEN": "hush-hush-1", "WANDB_API_KEY": "hush-hush-2", "MY_PASSWORD": "hush-hush-3"}
    command = ["collect", f"out={tmp_path}/set", "episodes=1", "policy=random", "env.kwargs={size:16,max_steps:2}"]
    done = subprocess.run(
        [sys.executable, "-m", "worldrl.cli", *command], capture_output=True, timeout=300, env=os.environ | secrets
    )
    assert done.returncode == 0, done.stderr
    written = [file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()]
    assert len(written) > 5
    assert not [one for one in [*written, done.stdout, done.stderr] if b"hush-hush" in one]
