"""Fixtures of the faults; rows, page and data are modules, so that they can be used without pytest too."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))

from fault_data import small_episode, small_scene

from worldrl.data.dataset import DatasetWriter
from worldrl.data.scenes import write_scenes
from worldrl.types import Episode


@pytest.fixture
def episode() -> Episode:
    return small_episode()


@pytest.fixture
def make_writer() -> Callable[..., Any]:
    """Make what writes small episodes, two a shard, into a folder."""
    return partial(DatasetWriter, env_id="Toy-v0", env_kwargs={}, objects=("a", "b"), episodes_per_shard=2)


@pytest.fixture
def dataset(tmp_path: Path, make_writer: Callable[..., Any]) -> Path:
    """The folder of a data set of three small episodes in two shards."""
    with make_writer(tmp_path / "set") as writer:
        for seed in range(3):
            writer.add(small_episode(seed))
    return tmp_path / "set"


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """The folder of two labelled scenes."""
    return write_scenes(tmp_path / "scenes", [small_scene(), small_scene()], meta={"seed": 0}).folder


settings.register_profile("faults", max_examples=40, derandomize=True, deadline=None, database=None)
settings.load_profile("faults")
