"""One writer at a time, whoever was killed before."""

import json
import os
import platform
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from worldrl import locks
from worldrl.errors import StorageError

HOLD = """
import sys, time
from pathlib import Path
from worldrl import locks
with locks.hold(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    other = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None and other.stdout.readline() == "held\n"
    return other


@pytest.mark.fault(17)
def test_a_second_process_is_told_who_holds_the_folder_and_a_dead_one_is_followed(tmp_path: Path) -> None:
    """Fault 17: two processes in one run folder, and the lock of one that was killed."""
    other = holder(tmp_path / "run")
    try:
        sentence = rf"run is locked by pid {other.pid} on {platform.node()}: wait until it is done, or stop it"
        with pytest.raises(StorageError, match=sentence), locks.hold(tmp_path / "run"):
            pytest.fail("held twice")
    finally:
        other.send_signal(signal.SIGKILL)
        other.communicate(timeout=30)
    with locks.hold(tmp_path / "run") as left:
        assert left is not None and (left.pid, left.host) == (other.pid, platform.node())
    with locks.hold(tmp_path / "run") as left:
        assert left is None


def test_a_lock_that_names_a_living_process_but_is_not_held_misleads_nobody(tmp_path: Path) -> None:
    told = {"pid": os.getpid(), "host": "another", "since": "2999-01-01T00:00:00+00:00"}
    (tmp_path / ".lock").write_text(json.dumps(told))
    with locks.hold(tmp_path) as left:
        assert left is not None and str(left) == f"pid {os.getpid()} on another"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": "x"}'])
def test_a_lock_that_was_cut_off_names_nobody(tmp_path: Path, text: str) -> None:
    (tmp_path / ".lock").write_text(text)
    with locks.hold(tmp_path) as left:
        assert left is None


def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot be written"), locks.hold(tmp_path / "file" / "run"):
        pytest.fail("held")
