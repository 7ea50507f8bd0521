"""Jobs of the grid: each is a process of its own, has a folder of its own, and is done once its ``done.json`` stands.

``python -m worldrl.recipes.world4rl.jobs SPEC.json`` runs one.
"""

import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from worldrl.recipes.world4rl.grid import ABLATIONS, Cell, worlds_name

Options = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """One step of the grid.

    Attributes:
        kind: ``data``, ``world`` or ``cell``.
        folder: Where its results go.
        options: What it needs to know, as plain JSON; a finished job of other options is another job.
        seconds: What it is expected to take.
        threads: Threads of torch it uses.
        after: Folders of the jobs that must be done before.
    """

    kind: str
    folder: Path
    options: Options
    seconds: float
    threads: int = 1
    after: tuple[Path, ...] = field(default=())

    def is_done(self) -> bool:
        """Return whether it was finished under these options."""
        file = self.folder / "done.json"
        return file.exists() and json.loads(file.read_text())["options"] == json.loads(json.dumps(self.options))

    def is_ready(self) -> bool:
        """Return whether all that it needs is there."""
        return all((folder / "done.json").exists() for folder in self.after)


def plan(root: Path, cells: list[Cell], settings: Options) -> list[Job]:
    """Return the jobs that some cells need, in an order in which each comes after what it needs.

    Args:
        root: Run folder of the grid.
        cells: What is wanted.
        settings: Options that all jobs share: those of ``reproduce`` that change results.
    """
    jobs: dict[Path, Job] = {}
    for cell in cells:
        home = root / f"seed-{cell.seed}"
        tasks = list(settings["tasks"])
        data = [home / "data" / task for task in tasks]
        for task, folder in zip(tasks, data, strict=True):
            jobs.setdefault(folder, Job("data", folder, settings | {"task": task, "seed": cell.seed}, SECONDS["data"]))
        needs: tuple[Path, ...] = (home / "data" / cell.task,)
        change, folder = ABLATIONS[cell.ablation], home / worlds_name(cell)
        options = settings | {"seed": cell.seed, "fit": change.fit, "without": list(change.without)}
        seconds = SECONDS["world"] * len(tasks)
        jobs.setdefault(folder, Job("world", folder, options, seconds, threads=0, after=tuple(data)))
        needs = (*needs, folder)
        folder = root / "cells" / cell.name
        if cell.method != "bc":
            needs = (*needs, root / "cells" / Cell(cell.seed, cell.task, "bc").name)
        options = settings | {"task": cell.task, "seed": cell.seed, "method": cell.method, "ablation": cell.ablation}
        jobs[folder] = Job("cell", folder, options, SECONDS.get(cell.method, SECONDS["cell"]), after=needs)
    return list(jobs.values())


SECONDS = {"data": 200.0, "world": 60.0, "bc": 60.0, "cell": 180.0, "planning": 1200.0, "diffusion_policy": 400.0}
"""What jobs take on one busy core, for the estimate alone; a world's is for each task."""


def main(spec: str) -> None:
    """Run one job and write ``done.json`` when all of it stands."""
    from worldrl import checkpoint
    from worldrl.recipes.parts import use_threads
    from worldrl.recipes.world4rl import cell, stages

    job = json.loads(Path(spec).read_text())
    folder, options = Path(job["folder"]), job["options"]
    use_threads(job["threads"])
    began = time.perf_counter()
    run = {"data": stages.data, "world": stages.world, "cell": cell.run}[job["kind"]]
    result = run(folder, options)
    seconds = round(time.perf_counter() - began, 1)
    checkpoint.write_json(folder / "done.json", {"options": options, "seconds": seconds, **result})


if __name__ == "__main__":
    main(sys.argv[1])
