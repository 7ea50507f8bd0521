"""Curves are for people; training does not hang on them."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from worldrl.curves import MOST, Curves
from worldrl.errors import ConfigError
from worldrl.recipes import boards
from worldrl.recipes.boards import check_boards
from worldrl.recipes.telling import curves_path, lessons

tensorboard = pytest.importorskip("torch.utils.tensorboard")


@dataclass
class Config:
    out: str
    tensorboard: str = ""
    wandb: str = ""


def learn(config: Config, *, steps: int = 3) -> None:
    with lessons(config, "fit") as told:
        training = told.training("fit")
        for step in range(steps):
            training(step, 0.5)


@pytest.mark.fault(61)
@pytest.mark.parametrize("failing", ["__init__", "add_scalar", "close"])
def test_a_writer_that_fails_is_left_alone_with_one_warning(
    failing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fault 61: the logger's backend fails; training goes on."""
    calls: list[str] = []

    class Writer:
        def __init__(self, folder: str) -> None:
            self.meet("__init__")

        def add_scalar(self, *args: Any) -> None:
            self.meet("add_scalar")

        def close(self) -> None:
            self.meet("close")

        def meet(self, name: str) -> None:
            calls.append(name)
            if name == failing:
                raise OSError("disk full")

    monkeypatch.setattr(tensorboard, "SummaryWriter", Writer)
    learn(Config(str(tmp_path / "world"), tensorboard=str(tmp_path)))
    assert calls.count(failing) == 1
    assert capsys.readouterr().err == "worldrl: TensorBoard fails, this goes on without it: disk full.\n"
    assert json.loads(curves_path(tmp_path / "world").read_text()) == {"fit": [[0, 0.5], [1, 0.5], [2, 0.5]]}


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[tuple[str, Any]]]:
    """Stands in for Weights & Biases, and notes how it is called."""

    def install(*, failing: str = "", key: bool = True) -> list[tuple[str, Any]]:
        calls = list[tuple[str, Any]]()

        def met(name: str, /, *args: Any, **kwargs: Any) -> None:
            calls.append((name, args[0] if args else kwargs))
            if name == failing:
                raise OSError("nobody answers")

        def init(**options: Any) -> Any:
            met("init", **options)
            names = ("log", "finish", "define_metric")
            return SimpleNamespace(**{name: lambda *a, name=name, **k: met(name, *a, **k) for name in names})

        fake = ModuleType("wandb")
        fake.__spec__ = ModuleSpec("wandb", None)
        fake.__dict__.update(init=init, login=lambda prompt, verify: key, Settings=dict)
        monkeypatch.setitem(sys.modules, "wandb", fake)
        return calls

    monkeypatch.delenv("WANDB_MODE", raising=False)
    return install


def test_a_stage_is_one_run_of_wandb_in_which_every_training_counts_its_own_steps(
    wandb: Callable[..., list[tuple[str, Any]]], tmp_path: Path
) -> None:
    calls = wandb()
    with lessons(Config(str(tmp_path / "run/world"), wandb="mine"), "fit") as told:
        told.training("fit dynamics")(7, 2.0)
        told.training("ppo").tell(640, {"value loss": 1.0, "reward": 3.0})
    begun = [options for name, options in calls if name == "init"]
    assert [(one["project"], one["name"], one["group"], one["job_type"]) for one in begun] == [
        ("mine", "run/world", "run", "fit")
    ]
    assert begun[0]["mode"] is None and begun[0]["settings"] == {"console": "off", "init_timeout": boards.WAIT_S}
    assert [row for name, row in calls if name == "log"] == [
        {"fit dynamics/loss": 2.0, "fit dynamics/step": 7},
        {"ppo/value loss": 1.0, "ppo/step": 640},
        {"ppo/reward": 3.0, "ppo/step": 640},
    ]
    assert [row for name, row in calls if name == "define_metric"] == [
        "fit dynamics/step", "fit dynamics/*", "ppo/step", "ppo/*",
    ]  # fmt: skip
    assert calls[-1] == ("finish", {"exit_code": 0})


@pytest.mark.fault(61)
@pytest.mark.parametrize("failing", ["init", "define_metric", "log", "finish"])
def test_weights_and_biases_that_fails_is_left_alone_with_one_warning(
    failing: str, wandb: Callable[..., list[tuple[str, Any]]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fault 61: the logger's backend fails; training goes on."""
    calls = wandb(failing=failing)
    learn(Config(str(tmp_path / "world"), wandb="mine"))
    assert [name for name, _ in calls].count(failing) == 1
    assert capsys.readouterr().err == "worldrl: Weights & Biases fails, this goes on without it: nobody answers.\n"
    assert len(json.loads(curves_path(tmp_path / "world").read_text())["fit"]) == 3


def test_without_a_key_a_run_stays_offline_and_nobody_is_asked(
    wandb: Callable[..., list[tuple[str, Any]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    calls = wandb(key=False)
    learn(Config(str(tmp_path / "world"), wandb="mine"))
    assert calls[0][1]["mode"] == "offline"
    assert "no key here (wandb login), its run stays offline" in capsys.readouterr().err
    monkeypatch.setenv("WANDB_MODE", "disabled")
    learn(Config(str(tmp_path / "world"), wandb="mine"))
    assert [options["mode"] for name, options in calls if name == "init"] == ["offline", None]


def test_a_stage_that_fails_ends_its_run_of_wandb_as_failed(
    wandb: Callable[..., list[tuple[str, Any]]], tmp_path: Path
) -> None:
    calls = wandb()
    with pytest.raises(ValueError, match="broken"), lessons(Config(str(tmp_path / "w"), wandb="mine"), "fit"):
        raise ValueError("broken")
    assert calls[-1] == ("finish", {"exit_code": 1})


@pytest.mark.parametrize("package", ["tensorboard", "wandb"])
def test_a_board_that_is_not_installed_is_refused_with_what_to_install(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boards, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=rf"{package}=mine needs .*: pip install 'worldrl\[{package}\]'\."):
        check_boards(Config("out", **{package: "mine"}))
    check_boards(Config("out"))


def test_losses_are_kept_beside_the_output_thinned_and_finite(tmp_path: Path) -> None:
    config = Config(str(tmp_path / "world"))
    with lessons(config, "fit") as told:
        fit, more = told.training("fit"), told.training("more")
        for step in range(2000):
            fit(step, float("nan") if step == 0 else 1.0 / step)
        more(1, 2.0)
        told.training("nothing")
    kept = json.loads(curves_path(config.out).read_text())
    assert set(kept) == {"fit", "more"} and 200 < len(kept["fit"]) <= MOST and kept["more"] == [[1, 2.0]]


def test_a_stage_that_is_done_again_leaves_no_curve_of_before(tmp_path: Path) -> None:
    config = Config(str(tmp_path / "world"))
    for labels in (["fit", "decoder"], ["fit"]):
        with lessons(config, "fit") as told:
            for label in labels:
                told.training(label)(0, 1.0)
    assert set(json.loads(curves_path(config.out).read_text())) == {"fit"}


def test_a_stage_that_fails_keeps_no_losses(tmp_path: Path) -> None:
    config = Config(str(tmp_path / "world"))
    with pytest.raises(ValueError, match="broken"), lessons(config, "fit") as told:
        told.training("fit")(1, 1.0)
        raise ValueError("broken")
    assert not curves_path(config.out).exists()


@pytest.mark.parametrize("stop", [0, 1, 511, 512, 513, 1700])
def test_a_curve_that_was_kept_and_goes_on_is_that_of_one_that_never_stopped(stop: int) -> None:
    def draw(curves: Curves, steps: range) -> None:
        for step in steps:
            curves.add("loss", step, float("inf") if step % 7 == 0 else 1.0 / step)

    whole, before, after = Curves(), Curves(), Curves()
    draw(whole, range(2500))
    draw(before, range(stop))
    after.restore(json.loads(json.dumps(before.state())))
    draw(after, range(stop, 2500))
    assert after.points == whole.points and len(whole.points["loss"]) <= MOST
