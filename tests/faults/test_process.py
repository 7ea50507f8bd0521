"""A process in an unkind place: another locale, strange paths, few files, a log that fails."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from worldrl.data.dataset import Dataset

UNKIND = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "HOME": "/proc/1", "TZ": "Pacific/Kiritimati"}


def few_files() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))


@pytest.mark.fault(63)
def test_episodes_are_recorded_in_an_ascii_locale_under_strange_paths_without_a_home_and_with_few_files(
    tmp_path: Path,
) -> None:
    place = tmp_path / "zwei Wörter ümlaut 日本"
    place.mkdir()
    words = ["collect", "out='a set = ü'", "episodes=2", "policy=random", "env.kwargs={size:16,max_steps:2}"]
    for command in (words, ["verify", "."]):
        done = subprocess.run(
            [sys.executable, "-m", "worldrl.cli", *command], cwd=place, capture_output=True, timeout=300,
            env=os.environ | UNKIND, preexec_fn=few_files,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert b"whole" in done.stdout
    (made,) = place.iterdir()
    assert made.name == "a set = ü" and len(Dataset(made)) == 2


@pytest.mark.fault(63)
def test_a_clock_that_jumps_back_harms_no_report_of_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, dataset: Path
) -> None:
    import time

    monkeypatch.setattr(time, "time", lambda: -1.0)
    from worldrl.data.dataset import DatasetWriter

    with DatasetWriter(dataset, env_id="Toy-v0", env_kwargs={}, objects=("a", "b")) as writer:
        writer.add(Dataset(dataset)[0])
    assert len(Dataset(dataset)) == 4
