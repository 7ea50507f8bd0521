"""A verb in several processes: what they find, and what is said where one of them fails."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from worldrl.errors import ConfigError, DataError, DeviceError, WorldRLError, error_of
from worldrl.recipes import launch
from worldrl.recipes.config import changes, compose
from worldrl.recipes.options import EngineOptions, check_engine


def test_texts_survive_the_way_to_another_process() -> None:
    words = ["episodes='a, b=c/{d}'", "observation=o", "out=x", "without=[random]", "engine.accumulate=2"]
    config = compose("fit", words)
    assert compose("fit", changes(config, quoted=True)) == config
    assert config.episodes == "a, b=c/{d}"


def test_a_process_tells_its_launcher_and_not_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not launch.tell_launcher("gone", 3)
    monkeypatch.setenv(launch.ERROR_FILE, str(tmp_path / "error.json"))
    assert launch.tell_launcher("gone", 3)
    assert json.loads((tmp_path / "error.json").read_text())["message"]["message"] == "gone"


@pytest.mark.fault(53)
def test_processes_that_there_cannot_be_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DeviceError, match="3 processes need 3 GPUs, got 0"):
        monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
        check_engine(EngineOptions(processes=3, device="cuda"))
    with pytest.raises(ConfigError, match=r"engine.precision must be one of no, bf16, got 'half'"):
        check_engine(EngineOptions(precision="half"))
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match=r"engine.processes must be 1 or the 2 that were launched, got 4"):
        check_engine(EngineOptions(processes=4))


@pytest.mark.slow
def test_where_a_process_fails_its_sentence_is_said_once(tmp_path: Path) -> None:
    config: Any = compose("fit", [f"episodes={tmp_path}", "observation=x", f"out={tmp_path / 'world'}"])
    with pytest.raises(ConfigError, match="no data set in"):
        launch.launch("fit", config, processes=2)
    assert not (tmp_path / "world").exists()


@pytest.mark.fault(59)
@pytest.mark.slow
def test_where_a_process_is_killed_the_others_are_stopped(tmp_path: Path) -> None:
    code = (
        "import os, sys, time\n"
        f"open(os.path.join({str(tmp_path)!r}, os.environ['RANK'] + '-' + str(os.getpid())), 'w')\n"
        "time.sleep(120)\n"
    )
    (tmp_path / "sitecustomize.py").write_text(code)
    command = "from worldrl.recipes.launch import launch\nfrom worldrl.recipes.fit import Config\n" \
        "launch('fit', Config('a', 'b', 'c'), processes=2)"  # fmt: skip
    parent = subprocess.Popen(
        [sys.executable, "-c", f"import os; os.environ['PYTHONPATH'] = {str(tmp_path)!r}\n{command}"],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    until = time.monotonic() + 60
    while len(found := [path.name.split("-") for path in tmp_path.glob("?-*")]) < 2 and time.monotonic() < until:
        time.sleep(0.1)
    pids = {int(rank): int(pid) for rank, pid in found}
    os.kill(pids[1], signal.SIGKILL)
    told = parent.communicate(timeout=60)[1]
    assert "process 1 of 2 died with exit code -9, without a word." in told
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


def test_what_the_launcher_stopped_is_not_taken_for_the_cause() -> None:
    def failure(exitcode: int, sentence: str = "", meant: int = 0) -> SimpleNamespace:
        told: Any = {"message": sentence, "extraInfo": {"exit_code": meant}} if sentence else "<NONE>"
        return SimpleNamespace(exitcode=exitcode, error_file_data={"message": told}, timestamp=7)

    stopped, killed, spoke = failure(-15), failure(-9), failure(2, "no data set", 2)
    surprised, leaving = failure(1, "Connection closed by peer", 1), failure(-15, "no data set", 2)
    assert min([stopped, spoke, killed], key=launch._aftermath) is spoke
    assert min([stopped, killed], key=launch._aftermath) is killed
    assert min([surprised, spoke], key=launch._aftermath) is spoke
    assert min([surprised, leaving], key=launch._aftermath) is leaving
    assert min([surprised, killed, stopped], key=launch._aftermath) is killed


def test_the_error_has_the_exit_code_that_the_process_had() -> None:
    assert error_of(3) is DataError and error_of(99) is error_of(1) is WorldRLError
