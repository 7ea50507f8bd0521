"""Jobs of a grid on a Ray cluster: a node that is lost takes none with it."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Timer
from typing import Any

import pytest

from worldrl import signals
from worldrl.data.cluster import Cluster
from worldrl.recipes.jobs import Job
from worldrl.recipes.runner import failure, run_left

pytest.importorskip("ray")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # Ray's own
PROGRAM = """
import json, pathlib, sys, time
spec = json.loads(pathlib.Path(sys.argv[-1]).read_text())
folder = pathlib.Path(spec["folder"])
with (folder.parent / "begun").open("a") as file:
    file.write(folder.name + "\\n")
time.sleep(spec["options"]["seconds"])
assert not spec["options"].get("bad"), "no ball"
(folder / "done.json").write_text(json.dumps({"options": spec["options"], "seconds": 0.1}))
"""


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    from ray.cluster_utils import Cluster as Nodes

    (tmp_path / "scripted_job.py").write_text(PROGRAM)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("RAY_worker_niceness", "0")
    with signals.kept():
        nodes = Nodes(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        nodes.add_node(num_cpus=1)
    yield nodes
    nodes.shutdown()


def job(folder: Path, **options: Any) -> Job:
    return Job("cell", folder, options, 1.0, module="scripted_job")


def test_a_lost_node_loses_no_job_and_a_failure_is_written_down(nodes: Any, tmp_path: Path) -> None:
    jobs = [job(tmp_path / f"job-{i}", seconds=4.0) for i in range(4)] + [job(tmp_path / "bad", seconds=0.0, bad=True)]
    node, begun = nodes.worker_nodes.copy().pop(), tmp_path / "begun"

    def lose() -> None:
        until = time.monotonic() + 60
        while (not begun.exists() or len(begun.read_text().split()) < 2) and time.monotonic() < until:
            time.sleep(0.1)
        nodes.remove_node(node, allow_graceful=False)

    Timer(0.0, lose).start()
    cluster = Cluster(nodes.address, workers=2, patience_s=60.0)
    failed = run_left(jobs, print, workers=0, minutes=0, job_minutes=3.0, dry=False, cluster=cluster)
    assert failed == jobs[4:] and all(one.is_done() for one in jobs[:4])
    why = failure(tmp_path / "bad")
    assert why is not None and "no ball" in json.dumps(why)
    assert len(begun.read_text().split()) == 6  # one of them twice
