"""Run jobs side by side, each in a process of its own; what is done stays done, what fails is told."""

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, cast

from worldrl.data.cluster import Cluster, connected
from worldrl.recipes.jobs import Job, left

COMMAND = [sys.executable, "-m"]
LAST_LINES = 5
POLL_S = 0.5
RETRIES = 3
"""Nodes that a job may lose."""
STOP_S = 10.0
"""Seconds that a cluster is given to stop a job."""
PR_SET_PDEATHSIG = 1
"""Linux: the signal that a process gets when its parent dies."""


@dataclass(frozen=True)
class Limits:
    """How many jobs run at once, how long one may take, and after how long no new one is begun (seconds)."""

    workers: int
    job_s: float
    total_s: float


class _Process(Protocol):
    """What runs a job; the words of ``subprocess.Popen``."""

    returncode: int | None

    def poll(self) -> int | None: ...
    def kill(self) -> None: ...
    def wait(self) -> int: ...


def _begin(folder: Path, spec: dict[str, object]) -> subprocess.Popen[bytes]:
    """Begin a job in a process of its own, in an empty folder: what an interrupted run left is not built upon."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "job.json").write_text(json.dumps(spec, indent=1))
    threads = {} if spec["threads"] == 0 else {"OMP_NUM_THREADS": str(spec["threads"])}
    words = [*COMMAND, str(spec["module"]), str(folder / "job.json")]
    with (folder / "log.txt").open("w") as log:
        return subprocess.Popen(words, stdout=log, stderr=log, env=os.environ | threads, preexec_fn=_end_with_parent)


def _end_with_parent() -> None:
    """Ask the system to kill this process with its parent, so that nobody writes into a folder that is begun anew."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _run_there(folder: Path, spec: dict[str, object]) -> int:
    """Run a job where this is called, on some node of a cluster, and return its exit code."""
    return _begin(folder, spec).wait()


class _Remote:
    """A job on some node of a Ray cluster, which begins it anew on another one if that node is lost."""

    def __init__(self, ray: Any, folder: Path, spec: dict[str, object]) -> None:
        self.ray, self.returncode = ray, cast(int | None, None)
        remote = ray.remote(num_cpus=spec["threads"] or 1, max_retries=RETRIES)(_run_there)
        self.ref = remote.remote(folder.absolute(), spec)

    def poll(self) -> int | None:
        if self.returncode is None and self.ray.wait([self.ref], timeout=0)[0]:
            try:
                self.returncode = self.ray.get(self.ref)
            except self.ray.exceptions.RayError:
                self.returncode = -signal.SIGKILL
        return self.returncode

    def kill(self) -> None:
        self.ray.cancel(self.ref, force=True)

    def wait(self) -> int:
        self.ray.wait([self.ref], timeout=STOP_S)
        return -signal.SIGKILL


class _Running:
    """A job and the process that runs it."""

    def __init__(self, job: Job, start: Callable[[Path, dict[str, object]], _Process]) -> None:
        self.job, self.began = job, cast(float | None, None)
        self.process = start(
            job.folder,
            {"kind": job.kind, "folder": str(job.folder.absolute()), "options": job.options, "threads": job.threads,
             "module": job.module},
        )  # fmt: skip

    def seconds(self) -> float:
        """Return for how long it has run; on a cluster it may wait for a processor before."""
        if self.began is None and (self.job.folder / "job.json").exists():
            self.began = time.monotonic()
        return 0.0 if self.began is None else time.monotonic() - self.began

    def stop(self) -> None:
        """Kill it if it runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def run_left(
    jobs: Sequence[Job],
    tell: Callable[[str], None],
    *,
    workers: int,
    minutes: float,
    job_minutes: float,
    dry: bool,
    cluster: Cluster | None = None,
) -> list[Job]:
    """Say what of some jobs is to be run and how long that takes, run it, and return what failed.

    Args:
        jobs: In an order in which each comes after what it needs.
        tell: Called with one line for the whole and one for each job that ends.
        workers: Jobs at a time; 0 for one a core.
        minutes: No job is begun after so long; 0 for no limit.
        job_minutes: A job that takes longer has failed.
        dry: Whether to say it only.
        cluster: Where they are run, on nodes that share the run folder; None for this machine.
    """
    ahead = left(jobs)
    workers = cluster.workers if cluster else workers or len(os.sched_getaffinity(0))
    hours = sum(job.seconds for job in ahead) / (workers * 3600.0)
    tell(f"{len(ahead)} of {len(jobs)} jobs are to be run; that takes about {hours:.1f} h with {workers} workers")
    limits = Limits(workers, 60.0 * job_minutes, 60.0 * minutes or float("inf"))
    if dry or not ahead:
        return []
    if cluster is None:
        return run_jobs(ahead, limits, tell)
    with connected(cluster) as ray:
        return run_jobs(ahead, limits, tell, start=partial(_Remote, ray))


def run_jobs(
    jobs: Sequence[Job],
    limits: Limits,
    tell: Callable[[str], None],
    *,
    start: Callable[[Path, dict[str, object]], _Process] = _begin,
) -> list[Job]:
    """Run what is not done and return what failed.

    A job that uses all threads runs alone. A failed job leaves ``failed.json`` with the last lines of its log; what
    needs it is not begun. A failure of an earlier run is tried again.

    Args:
        jobs: In an order in which each comes after what it needs.
        limits: Of processes and time.
        tell: Called with one line for each job that ends.
        start: Begins one, given its folder and what it needs to know.
    """
    began, running, failed = time.monotonic(), list[_Running](), list[Job]()
    waiting = [job for job in jobs if not job.is_whole()]
    try:
        while waiting or running:
            late = time.monotonic() - began > limits.total_s
            while not late and (job := _next(waiting, running, limits.workers)) is not None:
                waiting.remove(job)
                running.append(_Running(job, start))
            if not running:
                break
            time.sleep(POLL_S)
            for one in [one for one in running if _is_over(one, limits.job_s)]:
                running.remove(one)
                one.stop()
                if not _succeeded(one, tell):
                    failed.append(one.job)
    finally:
        for one in running:
            one.stop()
    return failed


def _next(waiting: Sequence[Job], running: Sequence[_Running], workers: int) -> Job | None:
    """Return the first job that may begin now."""
    if len(running) >= workers or any(one.job.threads == 0 for one in running):
        return None
    pending = {job.folder for job in waiting} | {one.job.folder for one in running}
    ready = next((job for job in waiting if job.is_ready() and pending.isdisjoint(job.after)), None)
    return None if ready is None or (ready.threads == 0 and running) else ready


def _is_over(one: _Running, job_s: float) -> bool:
    return one.process.poll() is not None or one.seconds() > job_s


def _succeeded(one: _Running, tell: Callable[[str], None]) -> bool:
    """Say how a job ended; a failure is written down."""
    seconds, log = one.seconds(), one.job.folder / "log.txt"
    if one.job.is_done():
        tell(f"done {one.job.folder} in {seconds:.0f} s")
        return True
    lines = log.read_text(errors="replace").splitlines()[-LAST_LINES:] if log.exists() else []
    one.job.folder.mkdir(parents=True, exist_ok=True)  # on a cluster it may never have begun
    why = {"exit_code": one.process.returncode, "seconds": round(seconds, 1), "log": lines}
    (one.job.folder / "failed.json").write_text(json.dumps(why, indent=1))
    tell(f"failed {one.job.folder} after {seconds:.0f} s: {lines[-1] if lines else 'nothing in its log'}")
    return False


def failure(folder: Path) -> dict[str, object] | None:
    """Return why a job failed, or None if it did not."""
    file = folder / "failed.json"
    return json.loads(file.read_text()) if file.exists() else None
