"""Jobs of a grid: each is a process of its own, has a folder of its own, and is done once its ``done.json`` stands."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Options = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """One step of the grid.

    Attributes:
        kind: ``cell`` for what is wanted for itself; any other name for what others need.
        folder: Where its results go.
        options: What it needs to know, as plain JSON; a finished job of other options is another job.
        seconds: What it is expected to take.
        threads: Threads of torch it uses.
        after: Folders of the jobs that must be done before.
        module: What runs it, as ``python -m MODULE SPEC.json``.
    """

    kind: str
    folder: Path
    options: Options
    seconds: float
    threads: int = 1
    after: tuple[Path, ...] = field(default=())
    module: str = "worldrl.recipes.world4rl.jobs"

    def is_done(self) -> bool:
        """Return whether it was finished under these options."""
        return self._done() is not None

    def is_whole(self) -> bool:
        """Return whether it is done and what it made is there, not only the record of it."""
        done = self._done()
        return done is not None and not done.get("restored", False)

    def is_ready(self) -> bool:
        """Return whether all that it needs is there."""
        return all((folder / "done.json").exists() for folder in self.after)

    def _done(self) -> Options | None:
        """Return what it wrote when it was finished under these options."""
        file = self.folder / "done.json"
        done: Options = json.loads(file.read_text()) if file.exists() else {"options": None}
        return done if done["options"] == json.loads(json.dumps(self.options)) else None


def left(jobs: Sequence[Job]) -> list[Job]:
    """Return the jobs to be run: the cells that are not done, and what of that which they need is not there."""
    places, wanted = {job.folder: job for job in jobs}, set[Path]()

    def want(job: Job) -> None:
        if job.folder not in wanted:
            wanted.add(job.folder)
            for needed in (places[folder] for folder in job.after):
                if not needed.is_whole():
                    want(needed)

    for job in jobs:
        if job.kind == "cell" and not job.is_done():
            want(job)
    return [job for job in jobs if job.folder in wanted]


def work(spec: str, runs: Mapping[str, Callable[[Path, Options], Options]]) -> None:
    """Run one job in its own process and write ``done.json`` when all of it stands.

    Args:
        spec: The file that the runner wrote.
        runs: What runs each kind of job: called with its folder and options, returns what it found.
    """
    from worldrl import checkpoint
    from worldrl.allocation import keep_freed_memory
    from worldrl.recipes.parts import use_threads

    keep_freed_memory()
    job = json.loads(Path(spec).read_text())
    folder, options = Path(job["folder"]), job["options"]
    use_threads(job["threads"])
    began = time.perf_counter()
    result = runs[job["kind"]](folder, options)
    seconds = round(time.perf_counter() - began, 1)
    checkpoint.write_json(folder / "done.json", {"options": options, "seconds": seconds, **result})
