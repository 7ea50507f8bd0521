"""Episodes on a Ray cluster: the same as here, each once, whoever is lost on the way."""

import os
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from point_mass import Noisy, PointMass

from worldrl import signals
from worldrl.data.cluster import Cluster, connected, run_episodes
from worldrl.data.collection import collect
from worldrl.errors import ConfigError, DataError, DeviceError

pytest.importorskip("ray")
HERE = str(Path(__file__).parent)
ABOUT: dict[str, Any] = {"policy": "noisy", "env_id": "PointMass", "env_kwargs": {}, "episodes_per_shard": 5}
SEEDS = [3, 1, 4, 15, 9, 2, 6, 5, 35, 8, 97, 93]
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # Ray's own


class Slow(PointMass):
    """A point mass whose episodes begin a moment later."""

    def reset(self, **kwargs: Any) -> Any:
        time.sleep(0.5)
        return super().reset(**kwargs)


class Broken(PointMass):
    """An environment that cannot be built."""

    def __init__(self) -> None:
        raise RuntimeError("no such model")


class Deadly(PointMass):
    """An environment that takes its process with it."""

    def reset(self, **kwargs: Any) -> Any:
        os._exit(1)


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A cluster of two nodes with a processor each; workers find the modules of these tests."""
    from ray.cluster_utils import Cluster as Nodes

    monkeypatch.setenv("PYTHONPATH", HERE)
    monkeypatch.setenv("RAY_worker_niceness", "0")  # at Ray's own 15 they starve beside other tests
    with signals.kept():
        nodes = Nodes(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        nodes.add_node(num_cpus=1)
    yield nodes
    nodes.shutdown()


def made(env: type[PointMass]) -> Any:
    return env(), Noisy()


def test_a_cluster_finds_what_is_found_here_and_a_lost_node_changes_nothing(nodes: Any, tmp_path: Path) -> None:
    here = collect(tmp_path / "here", PointMass, Noisy, seeds=SEEDS, workers=1, **ABOUT)
    cluster, lost = Cluster(nodes.address, workers=2, patience_s=60.0), list[int]()

    def lose(done: int, total: int) -> None:
        if done == 4:
            nodes.remove_node(nodes.worker_nodes.copy().pop(), allow_graceful=False)
            lost.append(done)

    there = collect(tmp_path / "there", Slow, Noisy, seeds=SEEDS, workers=2, cluster=cluster, progress=lose, **ABOUT)
    assert lost and there.seeds == here.seeds == SEEDS
    for one, other in zip(here, there, strict=True):
        assert np.array_equal(one.acts, other.acts) and np.array_equal(one.frames, other.frames)
        assert np.array_equal(one.states, other.states)


def test_what_a_worker_cannot_do_is_said_and_nothing_is_waited_for(nodes: Any, tmp_path: Path) -> None:
    cluster = Cluster(nodes.address, workers=2, patience_s=60.0)
    with pytest.raises(DataError, match="a worker failed with RuntimeError: no such model"):
        collect(tmp_path / "there", Broken, Noisy, seeds=SEEDS, workers=2, cluster=cluster, **ABOUT)
    with pytest.raises(DataError, match="6 workers died one after the other, and no episode was finished"):
        list(run_episodes(cluster, partial(made, Deadly), seeds=SEEDS, record=False))
    with pytest.raises(DeviceError, match="5 workers need as many processors, got 2"):
        list(run_episodes(Cluster(nodes.address, 5), partial(made, PointMass), seeds=SEEDS, record=False))
    assert not list((tmp_path / "there").glob("shard-*")) and not list((tmp_path / "there").glob(".writer-*"))


@pytest.mark.fault(60)
@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("127.0.0.1:1", "nobody answers at '127.0.0.1:1' within 2 s"),
        ("elsewhere", "cluster.address must be local, auto or HOST:PORT, got 'elsewhere'"),
        ("auto", "no Ray cluster could be joined at 'auto'"),
    ],
)
def test_a_cluster_that_is_not_there_is_not_waited_for(address: str, said: str) -> None:
    began = time.monotonic()
    with pytest.raises(ConfigError, match=said):
        list(run_episodes(Cluster(address, 1, patience_s=2.0), partial(made, PointMass), seeds=[1], record=False))
    assert time.monotonic() - began < 30.0


@pytest.mark.fault(15)
def test_whoever_heard_sigterm_hears_it_still_beside_a_cluster() -> None:
    """Fault 15: Ray would end the process with its own exit code, and what is under way would be lost."""
    heard = list[int]()

    def hear(number: int, frame: object) -> None:
        heard.append(number)

    before = signal.signal(signal.SIGTERM, hear)
    try:
        with pytest.raises(ConfigError, match="no Ray cluster"), connected(Cluster("auto", 1, patience_s=2.0)):
            pass
        signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == [signal.SIGTERM]
