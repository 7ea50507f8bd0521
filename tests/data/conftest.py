"""Fixtures of the data room; the fake world they record is a module, so that worker processes can import it too."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from point_mass import PointMass, seek

from worldrl.data.dataset import Dataset, DatasetWriter
from worldrl.data.rollout import roll_out
from worldrl.types import Episode

Record = Callable[..., list[Episode]]


@pytest.fixture
def env() -> Iterator[PointMass]:
    env = PointMass()
    yield env
    env.close()


@pytest.fixture
def record() -> Record:
    """Record episodes with the given seeds in a point mass world."""

    def make(*seeds: int, **options: object) -> list[Episode]:
        return roll_out([PointMass()], seek, seeds=seeds, record=True, **{"policy": "seek", **options})

    return make


@pytest.fixture
def about() -> dict[str, object]:
    return {"env_id": "PointMass-v0", "env_kwargs": {"size": 8}, "objects": ("point", "goal")}


@pytest.fixture
def stored(tmp_path: Path, record: Record, about: dict[str, object]) -> Dataset:
    """Five episodes in shards of two."""
    with DatasetWriter(tmp_path / "set", **about, episodes_per_shard=2) as writer:
        for episode in record(0, 1, 2, 3, 4):
            writer.add(episode)
    return Dataset(tmp_path / "set")
