"""Recording in several processes."""

import multiprocessing
import time

import numpy as np
import pytest
from point_mass import Noisy, PointMass, Trouble

from worldrl.data.collection import collect
from worldrl.data.dataset import Dataset
from worldrl.errors import DataError

ABOUT = {"policy": "noisy", "env_id": "PointMass-v0", "env_kwargs": {}}


def gather(folder, *, make_actor=Noisy, seeds=range(5), workers=1, **options):
    return collect(folder, PointMass, make_actor, seeds=seeds, workers=workers, **ABOUT, **options)


def visible(folder):
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_the_number_of_workers_does_not_change_the_data_set(tmp_path):
    counts = []
    alone = gather(tmp_path / "one", episodes_per_shard=2)
    beside = gather(
        tmp_path / "two", workers=2, episodes_per_shard=2, progress=lambda done, total: counts.append((done, total))
    )
    assert alone.seeds == beside.seeds == [0, 1, 2, 3, 4] and alone.policies == ["noisy"] * 5
    assert all(np.array_equal(a.frames, b.frames) for a, b in zip(alone, beside, strict=True))
    assert counts == [(i, 5) for i in range(1, 6)] and alone.manifest.objects == ("point", "goal")
    assert visible(tmp_path / "two") == []


def test_collecting_again_appends(tmp_path):
    gather(tmp_path, seeds=[4, 5])
    assert gather(tmp_path, seeds=[1]).seeds == [4, 5, 1]


@pytest.mark.fault(59)
def test_an_error_in_a_worker_reaches_the_caller(tmp_path, monkeypatch):
    monkeypatch.setenv("TROUBLE", "raise")
    with pytest.raises(DataError, match="a worker failed with RuntimeError: out of ideas"):
        gather(tmp_path, make_actor=Trouble, seeds=[3], workers=2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.fault(25, 59)
def test_a_worker_that_dies_is_reported_and_its_whole_shards_stay(tmp_path, monkeypatch):
    monkeypatch.setenv("TROUBLE", "die")
    with pytest.raises(DataError, match="a worker died with exit code -9: its finished shards are kept"):
        gather(tmp_path, make_actor=Trouble, seeds=[1, 1, 3, 3], workers=2, episodes_per_shard=1)
    assert Dataset(tmp_path).seeds in ([1], [1, 1]) and visible(tmp_path) == []


@pytest.mark.fault(59)
def test_workers_that_are_silent_too_long_are_stopped(tmp_path):
    start = time.monotonic()
    with pytest.raises(DataError, match=r"workers must finish an episode within 0\.05 s, got none: they seem to hang"):
        gather(tmp_path, workers=2, timeout_s=0.05)
    assert time.monotonic() - start < 30 and visible(tmp_path) == [] and multiprocessing.active_children() == []


@pytest.mark.fault(57)
def test_an_interrupt_leaves_whole_episodes(tmp_path):
    def interrupt(done, total):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gather(tmp_path, progress=interrupt, episodes_per_shard=2)
    assert Dataset(tmp_path).seeds == [0, 1, 2] and visible(tmp_path) == []


def test_an_error_in_this_process_stays_itself(tmp_path, monkeypatch):
    monkeypatch.setenv("TROUBLE", "raise")
    with pytest.raises(RuntimeError, match="out of ideas"):
        gather(tmp_path, make_actor=Trouble)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "workers must be at least 1, got 0"),
        ({"seeds": []}, "seeds must be at least 1, got 0"),
        ({"episodes_per_shard": 0}, "episodes_per_shard must be at least 1, got 0"),
    ],
)
def test_bad_numbers_are_refused_before_anything_is_made(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        gather(tmp_path / "set", **options)
    assert not (tmp_path / "set").exists()
