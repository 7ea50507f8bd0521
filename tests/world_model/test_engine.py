import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from shared_training import fit  # beside this file

from worldrl import checkpoint
from worldrl.errors import CheckpointError, ConfigError, DeviceError
from worldrl.resuming import Stops
from worldrl.world_model.chance import Chance
from worldrl.world_model.descent import LATEST
from worldrl.world_model.engine import Engine

SCRIPT = Path(__file__).with_name("shared_training.py")


def launch(out: Path, *words: str, processes: int = 2) -> dict[str, Any]:
    """Fit in several processes, and return what the first wrote down."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    done = subprocess.run([*command, str(SCRIPT), str(out), *words], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(json.loads(out.read_text()))


@pytest.fixture(scope="module")
def alone() -> dict[str, Any]:
    return fit(Engine())


def same(found: dict[str, Any], alone: dict[str, Any]) -> bool:
    """Return whether losses and weights are equal but for the order in which numbers were added."""
    return all(np.allclose(found[name], alone[name], rtol=0, atol=2e-5) for name in ("losses", "weights"))


def test_rows_are_drawn_alike_whoever_draws_them() -> None:
    def draw(first: int, last: int) -> tuple[torch.Tensor, ...]:
        chance = Chance((3,), 7, total=50, rows=slice(first, last))
        return chance.normal(2, 3), chance.uniform(), chance.normal()

    whole = draw(0, 50)
    assert all(len(one) == 50 for one in whole)
    for cut in (13, 16, 40):
        parts = zip(draw(0, cut), draw(cut, 50), strict=True)
        assert all(torch.equal(torch.cat(part), one) for part, one in zip(parts, whole, strict=True))
    assert abs(float(whole[0].mean())) < 0.2 and len(whole[1].unique()) == 50
    other = Chance((3,), 8, total=50, rows=slice(0, 50))
    assert not torch.equal(other.normal(2, 3), whole[0])


def test_parts_of_a_batch_are_the_whole_of_it() -> None:
    engine = Engine(accumulate=3)
    rows = [engine.rows(10, part) for part in range(3)]
    assert [row for part in rows for row in range(10)[part]] == list(range(10))
    with pytest.raises(ConfigError, match="batch_size must be at least 3"):
        engine.rows(2, 0)


def test_a_batch_taken_in_parts_teaches_the_same(alone: dict[str, Any]) -> None:
    assert same(fit(Engine(accumulate=2)), alone)
    assert not same(fit(Engine(), batch_size=32), alone)


def test_bfloat16_learns_nearly_the_same(alone: dict[str, Any]) -> None:
    found = fit(Engine(precision="bf16"))
    assert not same(found, alone)
    assert np.mean(found["losses"][-10:]) == pytest.approx(np.mean(alone["losses"][-10:]), rel=0.05)


def stopping(tmp_path: Path) -> Stops:
    """Stop a training after 25 of its steps, the last 5 of which are lost."""
    stops = Stops(tmp_path / "kept", 10)
    with pytest.raises(KeyboardInterrupt):
        fit(Engine(), stops=stops, die=25)
    return stops


@pytest.mark.fault(15)
def test_a_training_that_was_stopped_ends_as_if_it_had_not_been(alone: dict[str, Any], tmp_path: Path) -> None:
    stops = stopping(tmp_path)
    assert [path.name for path in stops.folder.glob("step-*")] == ["step-20"]
    found = fit(Engine(), stops=stops)
    assert found["losses"] == alone["losses"][20:]
    assert found["weights"] == alone["weights"]
    again = fit(Engine(), stops=stops)  # nothing is left to do, and nothing is done
    assert again["losses"] == [] and again["weights"] == alone["weights"]


def test_the_loss_that_is_told_in_the_end_counts_steps_from_before_a_stop(
    alone: dict[str, Any], tmp_path: Path
) -> None:
    stops = Stops(tmp_path / "kept", 2)
    with pytest.raises(KeyboardInterrupt):
        fit(Engine(), stops=stops, die=39)  # two of the last four steps are kept
    found = fit(Engine(), stops=stops)
    assert len(found["losses"]) == 2 and found["mean"] == alone["mean"]


@pytest.mark.fault(5)
def test_killed_before_the_old_state_is_removed_the_new_one_counts(
    alone: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault 5: killed between commit and prune; a state that is whole exists at every moment."""

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    stops = Stops(tmp_path / "kept", 10)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("worldrl.world_model.descent.shutil", SimpleNamespace(rmtree=killed))
        fit(Engine(), stops=stops)
    assert sorted(path.name for path in stops.folder.glob("step-*")) == ["step-10", "step-20"]
    found = fit(Engine(), stops=stops)
    assert found["losses"] == alone["losses"][20:] and found["weights"] == alone["weights"]
    assert len(list(stops.folder.glob("step-*"))) == 1


def spoilt(stops: Stops, change: Callable[[dict[str, Any]], None]) -> None:
    latest = checkpoint.read_json(stops.folder / LATEST)
    change(latest)
    checkpoint.write_json(stops.folder / LATEST, latest)


@pytest.mark.fault(16)
@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (lambda kept: kept.update(shards=4), CheckpointError, "hold weights that are whole, got weights shared by 4"),
        (lambda kept: kept["about"].update(batch_size=99), ConfigError, "batch_size must be 99 to go on with"),
        (lambda kept: kept.update(step="x"), CheckpointError, "latest.json is damaged .*: remove .* to begin anew"),
    ],
)
def test_what_was_kept_of_another_training_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], error: type[Exception], said: str
) -> None:
    stops = stopping(tmp_path)
    spoilt(stops, change)
    with pytest.raises(error, match=said):
        fit(Engine(), stops=stops)
    assert (stops.folder / "step-20").exists()


def test_what_there_cannot_be_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="precision must be one of no, bf16, got 'fp8'"):
        Engine(precision="fp8")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(DeviceError, match="2 processes need 2 GPUs, got 1: ask for fewer, or for device=cpu"):
        Engine(device="cuda")


def test_processes_that_do_not_come_are_waited_for_no_longer_than_said(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "from worldrl.world_model.engine import Engine; Engine(patience_s=2.0)"
    where = {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    for name, value in where.items():
        monkeypatch.setenv(name, value)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "ConfigError: the other processes must be there within 2 s" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("words", [(), ("shard",)], ids=["copied", "sharded"])
def test_two_processes_learn_what_one_learns(words: tuple[str, ...], alone: dict[str, Any], tmp_path: Path) -> None:
    assert same(launch(tmp_path / "found.json", *words), alone)


@pytest.mark.slow
def test_a_sharded_training_goes_on_with_as_many_processes_only(alone: dict[str, Any], tmp_path: Path) -> None:
    words = ("shard", f"stops={tmp_path / 'kept'}")
    with pytest.raises(AssertionError, match="SIGINT"):
        launch(tmp_path / "lost.json", *words, "die=25")
    assert len(list((tmp_path / "kept" / "step-20").iterdir())) == 2
    with pytest.raises(CheckpointError, match="must hold weights that are whole, got weights shared by 2"):
        fit(Engine(shard=True), stops=Stops(tmp_path / "kept", 10))
    found = launch(tmp_path / "found.json", *words)
    assert same({**found, "losses": [*alone["losses"][:20], *found["losses"]]}, alone) and len(found["losses"]) == 20
