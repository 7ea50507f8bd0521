"""Run jobs side by side, each in a process of its own; what is done stays done, what fails is told."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from worldrl.recipes.jobs import Job, left

COMMAND = [sys.executable, "-m"]
LAST_LINES = 5
POLL_S = 0.5


@dataclass(frozen=True)
class Limits:
    """How many jobs run at once, how long one may take, and after how long no new one is begun (seconds)."""

    workers: int
    job_s: float
    total_s: float


class _Running:
    """A job in its process, with its log."""

    def __init__(self, job: Job) -> None:
        self.job, self.began = job, time.monotonic()
        shutil.rmtree(job.folder, ignore_errors=True)  # what an interrupted run left is not built upon
        job.folder.mkdir(parents=True)
        spec = job.folder / "job.json"
        spec.write_text(
            json.dumps(
                {"kind": job.kind, "folder": str(job.folder), "options": job.options, "threads": job.threads}, indent=1
            )
        )
        self.log = (job.folder / "log.txt").open("w")
        threads = {} if job.threads == 0 else {"OMP_NUM_THREADS": str(job.threads)}
        self.process = subprocess.Popen(
            [*COMMAND, job.module, str(spec)], stdout=self.log, stderr=self.log, env=os.environ | threads
        )

    def stop(self) -> None:
        """Kill it if it runs, and close its log."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.log.close()


def run_left(
    jobs: Sequence[Job], tell: Callable[[str], None], *, workers: int, minutes: float, job_minutes: float, dry: bool
) -> list[Job]:
    """Say what of some jobs is to be run and how long that takes, run it, and return what failed.

    Args:
        jobs: In an order in which each comes after what it needs.
        tell: Called with one line for the whole and one for each job that ends.
        workers: Jobs at a time; 0 for one a core.
        minutes: No job is begun after so long; 0 for no limit.
        job_minutes: A job that takes longer has failed.
        dry: Whether to say it only.
    """
    ahead = left(jobs)
    workers = workers or len(os.sched_getaffinity(0))
    hours = sum(job.seconds for job in ahead) / (workers * 3600.0)
    tell(f"{len(ahead)} of {len(jobs)} jobs are to be run; that takes about {hours:.1f} h with {workers} workers")
    return [] if dry else run_jobs(ahead, Limits(workers, 60.0 * job_minutes, 60.0 * minutes or float("inf")), tell)


def run_jobs(jobs: Sequence[Job], limits: Limits, tell: Callable[[str], None]) -> list[Job]:
    """Run what is not done and return what failed.

    A job that uses all threads runs alone. A failed job leaves ``failed.json`` with the last lines of its log; what
    needs it is not begun. A failure of an earlier run is tried again.

    Args:
        jobs: In an order in which each comes after what it needs.
        limits: Of processes and time.
        tell: Called with one line for each job that ends.
    """
    began, running, failed = time.monotonic(), list[_Running](), list[Job]()
    waiting = [job for job in jobs if not job.is_whole()]
    try:
        while waiting or running:
            late = time.monotonic() - began > limits.total_s
            while not late and (job := _next(waiting, running, limits.workers)) is not None:
                waiting.remove(job)
                running.append(_Running(job))
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
    return one.process.poll() is not None or time.monotonic() - one.began > job_s


def _succeeded(one: _Running, tell: Callable[[str], None]) -> bool:
    """Say how a job ended; a failure is written down."""
    seconds = time.monotonic() - one.began
    if one.job.is_done():
        tell(f"done {one.job.folder} in {seconds:.0f} s")
        return True
    lines = (one.job.folder / "log.txt").read_text(errors="replace").splitlines()[-LAST_LINES:]
    why = {"exit_code": one.process.returncode, "seconds": round(seconds, 1), "log": lines}
    (one.job.folder / "failed.json").write_text(json.dumps(why, indent=1))
    tell(f"failed {one.job.folder} after {seconds:.0f} s: {lines[-1] if lines else 'nothing in its log'}")
    return False


def failure(folder: Path) -> dict[str, object] | None:
    """Return why a job failed, or None if it did not."""
    file = folder / "failed.json"
    return json.loads(file.read_text()) if file.exists() else None
