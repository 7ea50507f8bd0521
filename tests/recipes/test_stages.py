"""A run folder has one writer, keeps its options, and does each stage once."""

import json
import platform
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from worldrl import locks
from worldrl.errors import ConfigError, StorageError
from worldrl.recipes.stages import kept_beside, kept_for, run_at


@dataclass
class Inner:
    steps: int = 3
    threads: int = 1


@dataclass
class Config:
    out: str = "a"
    seed: int = 0
    threads: int = 1
    inner: Inner = field(default_factory=Inner)


def test_stages_that_are_done_are_skipped_and_what_was_begun_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = list[str]()

    def fail() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), run_at(tmp_path / "run", Config()) as run:
        run.stage("collect", lambda: done.append("collect"))
        run.stage("fit", fail)
    before = json.loads((tmp_path / "run/stages.json").read_text())
    assert before["done"] == ["collect"] and set(before["seconds"]) == {"collect", "fit"}
    capsys.readouterr()
    with run_at(tmp_path / "run", Config()) as run:
        for name in ("collect", "fit", "refine"):
            run.stage(name, lambda name=name: done.append(name))  # type: ignore[misc]
    assert done == ["collect", "fit", "refine"]
    assert capsys.readouterr().out.splitlines() == ["found collect, skipped", "found fit begun, goes on"]
    assert run.seconds["fit"] >= before["seconds"]["fit"] and run.peak_memory_gb > 0


@pytest.mark.fault(16)
def test_a_run_goes_on_under_the_same_options_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Fault 16: another seed is refused by name; threads, wherever they stand, may differ and are told."""
    with run_at(tmp_path, Config()):
        pass
    with run_at(tmp_path, replace(Config(), out="b", threads=4, inner=Inner(threads=2))):
        pass
    told = capsys.readouterr().out.splitlines()
    assert "threads is 4, was 1: that changes no result" in told and "inner.threads is 2, was 1" in told[-1]
    for config, sentence in (
        (Config(seed=1), "seed must be 0 to go on with .*, got 1: begin anew in another folder"),
        (Config(inner=Inner(steps=5)), r"inner\.steps must be 3 to go on with .*, got 5"),
    ):
        with pytest.raises(ConfigError, match=sentence), run_at(tmp_path, config):
            pytest.fail("went on")
    assert json.loads((tmp_path / "config.json").read_text())["threads"] == 1


def test_a_folder_of_something_else_is_not_written_into(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(ConfigError, match="out must be a new folder or that of a run"), run_at(tmp_path, Config()):
        pytest.fail("began")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


SECOND = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_stages import Config, run_at
from worldrl.errors import StorageError
try:
    with run_at(Path(sys.argv[1]), Config()):
        print("began")
except StorageError as error:
    print(error)
    sys.exit(error.exit_code)
"""


@pytest.mark.fault(17)
def test_a_second_process_does_not_write_into_a_run(tmp_path: Path) -> None:
    """Fault 17: two processes with one run folder; the second exits with 8."""
    command = [sys.executable, "-c", SECOND, str(tmp_path), str(Path(__file__).parent)]
    with run_at(tmp_path, Config()):
        other = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert other.returncode == 8 and f"on {platform.node()}: wait until it is done, or stop it" in other.stdout
    assert subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout == "began\n"


def test_what_is_kept_beside_a_stage_goes_when_it_is_done_and_stays_when_it_failed(tmp_path: Path) -> None:
    out = str(tmp_path / "world")
    with pytest.raises(ZeroDivisionError), kept_beside(out, every=5):
        1 / 0  # noqa: B018 - nothing was kept yet
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ZeroDivisionError), kept_beside(out, every=5):
        (kept_for(out) / "dynamics").mkdir()
        1 / 0  # noqa: B018
    assert (tmp_path / "world.training/dynamics").exists()
    with kept_beside(out, every=5), pytest.raises(StorageError, match="is locked by"), locks.hold(kept_for(out)):
        pytest.fail("held twice")
    assert list(tmp_path.iterdir()) == []
    with kept_beside(out, every=0):
        assert list(tmp_path.iterdir()) == []
