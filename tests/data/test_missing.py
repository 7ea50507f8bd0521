"""A recording that was stopped goes on with what is missing, and ends as the data set that it would have been."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from point_mass import Noisy, PointMass

from worldrl.data.collection import collect
from worldrl.data.dataset import Dataset
from worldrl.errors import DataError

ABOUT = {"env_id": "PointMass-v0", "env_kwargs": {}}


def gather(folder, *, policy="noisy", seeds=range(7), missing=True, **options):
    settings = {"workers": 1, "episodes_per_shard": 2, **options}
    return collect(folder, PointMass, Noisy, policy=policy, seeds=seeds, missing=missing, **ABOUT, **settings)


def content(folder):
    """Return every file of a data set with its bytes; the manifest holds a date, and an archive too."""
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    kinds = (".npy", "episodes.json")
    return names, [(folder / name).read_bytes() for name in names if name.endswith(kinds)]


def stopped(folder, *, after, **options):
    def interrupt(done, total):
        if done == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gather(folder, progress=interrupt, **options)


@pytest.mark.parametrize("slots", [1, 3])
@pytest.mark.parametrize("after", [1, 2, 3, 5, 6])
def test_what_was_interrupted_is_made_whole(tmp_path, after, slots):
    gather(tmp_path / "whole", slots=slots), gather(tmp_path / "whole", policy="other", seeds=range(20, 23))
    stopped(tmp_path / "set", after=after, slots=slots)
    counts = []
    gather(tmp_path / "set", slots=slots, progress=lambda done, total: counts.append((done, total)))
    assert counts[-1] == (7, 7) and counts[0][0] == after // 2 * 2 + 1
    gather(tmp_path / "set", policy="other", seeds=range(20, 23))
    assert content(tmp_path / "set") == content(tmp_path / "whole")


def test_what_is_there_is_not_recorded_again_and_without_missing_it_is(tmp_path):
    gather(tmp_path)
    assert gather(tmp_path, progress=lambda done, total: pytest.fail("recorded")).seeds == list(range(7))
    assert gather(tmp_path, missing=False).seeds == [*range(7), *range(7)]


def test_shards_that_came_out_of_order_leave_room_for_the_missing_one(tmp_path):
    whole = gather(tmp_path / "whole")
    gather(tmp_path / "set")
    gone = tmp_path / "set/shard-00001-00000"
    gone.rename(tmp_path / "gone")
    assert gather(tmp_path / "set").seeds == whole.seeds
    assert content(tmp_path / "set") == content(tmp_path / "whole")


def test_another_cut_is_refused(tmp_path):
    gather(tmp_path)
    with pytest.raises(DataError, match="was recorded by another number of workers"):
        gather(tmp_path, episodes_per_shard=3)
    assert Dataset(tmp_path).seeds == list(range(7))


ENDLESS = """
import sys, time
sys.path.insert(0, sys.argv[2])
from test_missing import gather

def tell(done, total):
    print(done, flush=True)
    time.sleep(0.05)

gather(sys.argv[1], progress=tell)
"""


@pytest.mark.fault(25)
@pytest.mark.parametrize("after", [1, 3, 4])
def test_a_recording_that_is_killed_keeps_every_finished_shard(tmp_path, after):
    """Fault 25: kill -9 during collection; finished shards are readable, the unfinished one is recorded again."""
    command = [sys.executable, "-c", ENDLESS, str(tmp_path / "set"), str(Path(__file__).parent)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        while process.stdout.readline() != f"{after}\n":
            time.sleep(0.001)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate(timeout=30)
    if after >= 2:
        found = Dataset(tmp_path / "set")
        assert found.seeds == list(range(after // 2 * 2)) and all(np.isfinite(e.acts).all() for e in found)
    gather(tmp_path / "set"), gather(tmp_path / "whole")
    assert content(tmp_path / "set") == content(tmp_path / "whole")
