"""The shell: help, options, refusals and exit codes, on a toy recipe."""

import errno
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from omegaconf import MISSING

from worldrl import cli, signals
from worldrl.errors import ConfigError, DataError
from worldrl.recipes import config as configuration
from worldrl.recipes.config import compose


class LauncherError(Exception):
    """As torch's launcher has it."""

    def __init__(self, text: str, sigval: signal.Signals) -> None:
        super().__init__(text)
        self.sigval = sigval


HEAVY = ("torch", "mujoco", "stable_baselines3", "diffusers", "transformers")
YAML = """
defaults:
  - toy_schema
  - arm: short
  - _self_
steps: 7
"""


@dataclass(frozen=True)
class Optimiser:
    lr: float = field(default=1e-3, metadata={"help": "Step size."})


@dataclass(frozen=True)
class Config:
    source: str = field(default=MISSING, metadata={"help": "Folder of episodes."})
    steps: int = field(default=5, metadata={"help": "Steps of the optimiser."})
    folder: Path | None = None
    arm: Any = field(default=MISSING, metadata={"help": "The arm."})
    optimiser: Optimiser = field(default_factory=Optimiser)

    def check(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}.")


@pytest.fixture(scope="module")
def configs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    package = tmp_path_factory.mktemp("toy") / "toy_configs"
    (package / "arm").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "toy.yaml").write_text(YAML)
    for name, length in (("short", 1), ("long", 2)):
        (package / "arm" / f"{name}.yaml").write_text(f"_target_: toys.Arm\nlength: {length}\n")
    return package


@pytest.fixture
def toy(configs: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run ``worldrl toy ...`` with a recipe of one line and return the exit code."""
    monkeypatch.syspath_prepend(configs.parent)
    monkeypatch.setattr(configuration, "CONFIGS", "toy_configs")
    monkeypatch.setitem(cli.RECIPES, "toy", ("toy_recipe", "Play."))

    def call(*words: str, run: Callable[[Config], object] = lambda config: config) -> int:
        monkeypatch.setitem(sys.modules, "toy_recipe", SimpleNamespace(Config=Config, run=run))
        return cli.main(["toy", *words])

    return call


def test_a_recipe_receives_its_dataclass_with_the_yaml_and_the_options_merged(toy: Callable[..., int]) -> None:
    seen: list[Config] = []

    assert toy("source=runs/a", "arm=long", "arm.length=3", "optimiser.lr=0.5", "folder=out", run=seen.append) == 0

    arm = {"_target_": "toys.Arm", "length": 3}
    assert seen == [Config("runs/a", 7, Path("out"), arm, Optimiser(0.5))]


def test_what_a_recipe_returns_is_printed(toy: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert toy("source=a", run=lambda config: f"{config.steps} steps") == 0
    assert capsys.readouterr().out == "7 steps\n"


def test_what_a_component_leaves_to_its_constructor_can_be_added(toy: Callable[..., int]) -> None:
    seen: list[Config] = []
    assert toy("source=a", "+arm.colour=red", run=seen.append) == 0
    assert seen[0].arm["colour"] == "red"


@pytest.mark.fault(50, 51, 52)
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["stepz=3"], "'stepz' is not an option of toy: did you mean 'steps'? See worldrl toy --help."),
        (["+steps2=3"], "'+steps2' is not an option of toy: did you mean 'steps'? See worldrl toy --help."),
        (["~steps"], "'~steps' is not an option of toy: did you mean 'steps'? See worldrl toy --help."),
        (["zzz=3"], "'zzz' is not an option of toy. See worldrl toy --help."),
        (["optimiser.lrr=3"], "'optimiser.lrr' is not an option of toy: did you mean 'lr'? See worldrl toy --help."),
        (["arm.lenght=3"], "'arm.lenght' is not an option of toy: did you mean 'length'? See worldrl toy --help."),
        (["arm=lng"], "arm must be one of long, short, got 'lng': did you mean 'long'? See worldrl toy --help."),
        (["steps=abc"], "steps must be int, got abc. See worldrl toy --help."),
        (["steps=1.5"], "steps must be int, got 1.5. See worldrl toy --help."),
        (["steps=null"], "steps must be int, got null. See worldrl toy --help."),
        (["optimiser.lr=x"], "optimiser.lr must be float, got x. See worldrl toy --help."),
        (["optimiser.lr=nan"], "optimiser.lr must be a number, got nan. See worldrl toy --help."),
        (["steps=0"], "steps must be at least 1, got 0. See worldrl toy --help."),
        (["steps"], "options must be written key=value, got 'steps'. See worldrl toy --help."),
        (["--steps=3"], "options must be written key=value, got '--steps=3'. See worldrl toy --help."),
    ],
)
def test_a_wrong_option_is_refused_in_one_sentence(
    toy: Callable[..., int], capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    assert toy("source=a", *words) == 2
    assert capsys.readouterr().err == f"worldrl: {sentence}\n"


@pytest.mark.fault(52)
@pytest.mark.parametrize("word", ["steps=1,2", "source=a=b", "source=[a", "arm=3", "source=${nowhere}"])
def test_what_hydra_cannot_read_is_a_config_error_too(
    toy: Callable[..., int], capsys: pytest.CaptureFixture[str], word: str
) -> None:
    assert toy("source=a", word) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_an_option_without_a_default_must_be_given(toy: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert toy() == 2
    assert "source must be given: write source=... after toy." in capsys.readouterr().err


def test_the_help_of_a_verb_lists_name_type_default_and_meaning(
    toy: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert toy("--help") == 0
    lines = [line.split(maxsplit=3) for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    assert ["source", "str", "required", "Folder of episodes."] in lines
    assert ["steps", "int", "7", "Steps of the optimiser."] in lines
    assert ["arm", "component", "Arm", "The arm. One of long, short."] in lines
    assert ["optimiser.lr", "float", "0.001", "Step size."] in lines


def test_the_help_has_a_line_for_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    assert listed == [*cli.RECIPES, *cli.TOOLS]


@pytest.mark.fault(50)
def test_a_misspelt_verb_is_told_the_right_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["evalute"]) == 2
    assert capsys.readouterr().err == (
        "worldrl: 'evalute' is not a verb: did you mean 'evaluate'? See worldrl --help.\n"
    )


@pytest.mark.fault(6, 7)
@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (DataError("no episodes in runs/a."), 3, "no episodes in runs/a."),
        (OSError(errno.ENOSPC, "No space left on device", "runs/b"), 8, "runs/b: No space left on device."),
        (PermissionError(errno.EACCES, "Permission denied", "runs/c"), 8, "runs/c: Permission denied."),
        (FileNotFoundError(errno.ENOENT, "No such file", "runs/d"), 1, "unexpected error, FileNotFoundError"),
        (RuntimeError("first\nsecond"), 1, "unexpected error, RuntimeError: first (--debug"),
        (KeyboardInterrupt(), 130, "interrupted."),
        (signals.Stopped(signal.SIGTERM), 143, "interrupted."),
        (LauncherError("heard by a launcher", signal.SIGTERM), 143, "interrupted."),
    ],
)
def test_how_a_recipe_fails_decides_the_exit_code(
    toy: Callable[..., int], capsys: pytest.CaptureFixture[str], error: BaseException, code: int, sentence: str
) -> None:
    def run(config: Config) -> None:
        raise error

    assert toy("source=a", run=run) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"worldrl: {sentence}")


def test_debug_shows_the_traceback_and_keeps_the_exit_code(
    toy: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    def run(config: Config) -> None:
        raise DataError("no episodes.")

    assert toy("source=a", "--debug", run=run) == 3
    shown = capsys.readouterr().err
    assert "Traceback" in shown
    assert shown.endswith("worldrl: no episodes.\n")


def test_composing_twice_leaves_no_trace_of_the_first(toy: Callable[..., int]) -> None:
    first = compose("toy", ["source=a", "steps=9"], schema=Config)
    second = compose("toy", ["source=a"], schema=Config)
    assert (first.steps, second.steps) == (9, 7)


def test_unknown_words_after_a_tool_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "now"]) == ConfigError.exit_code
    assert cli.main(["encoders", "lst"]) == ConfigError.exit_code
    assert "list, show, install or verify, got 'lst'" in capsys.readouterr().err


def test_the_encoders_can_be_listed_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    from worldrl.encoders.registry import WEIGHTS

    assert cli.main(["encoders", "list"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert listed == [*WEIGHTS, "timm:NAME", "transformers:NAME", "open_clip:NAME/PRETRAINED"]
    name = next(iter(WEIGHTS))
    assert cli.main(["encoders", "show", name]) == 0
    assert WEIGHTS[name].sha256 in capsys.readouterr().out


def test_every_environment_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    import gymnasium

    import worldrl.envs  # noqa: F401 - registers them

    assert cli.main(["envs"]) == 0
    listed = {line.split()[0] for line in capsys.readouterr().out.splitlines() if line}
    assert listed == {name for name in gymnasium.registry if name.startswith("worldrl/")}


def test_the_doctor_names_the_versions_and_tries_to_draw(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor"]) == 0
    rows = dict(re.split(r"\s{2,}", line, maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert rows["torch"] == metadata.version("torch")
    assert rows["torch build"].startswith(("CPU only", "CUDA"))
    assert rows["drawing"].startswith(("works, with ", "broken: "))


@pytest.mark.parametrize("command", [["-c", "import worldrl"], ["-m", "worldrl.cli", "--help"]])
def test_importing_the_package_and_asking_for_help_import_nothing_heavy(command: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *command], capture_output=True, text=True, timeout=60, check=True
    )
    imported = {line.rsplit("|", 1)[1].strip().split(".")[0] for line in done.stderr.splitlines() if "|" in line}
    assert "worldrl" in imported
    assert not imported & set(HEAVY)
