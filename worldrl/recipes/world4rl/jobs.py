"""Jobs of the grid of World4RL: which there are, and how one is run.

``python -m worldrl.recipes.world4rl.jobs SPEC.json`` runs one.
"""

import sys
from pathlib import Path

from worldrl.recipes.jobs import Job, Options, work
from worldrl.recipes.world4rl.grid import (
    ABLATIONS,
    Cell,
    fit_options,
    judge_of,
    settings_of,
    start_of,
    worlds_name,
    worlds_tasks,
)


def plan(root: Path, cells: list[Cell], settings: Options) -> list[Job]:
    """Return the jobs that some cells need, in an order in which each comes after what it needs.

    Args:
        root: Run folder of the grid.
        cells: What is wanted.
        settings: The options of ``reproduce`` that change results; each kind of job knows those that concern it.
    """
    jobs: dict[Path, Job] = {}
    for cell in cells:
        worlds = (_world(root, one, settings) for one in (judge_of(cell), cell))
        for job in (*_data(root, cell.seed, settings), *worlds, _cell(root, cell, settings)):
            jobs.setdefault(job.folder, job)
    return list(jobs.values())


def _data(root: Path, seed: int, settings: Options) -> list[Job]:
    """Return the jobs that record the episodes of a seed, one a task."""
    known = {name: settings[name] for name in DATA}
    return [
        Job("data", root / f"seed-{seed}" / "data" / task, known | {"task": task, "seed": seed}, SECONDS["data"])
        for task in settings["tasks"]
    ]


def _world(root: Path, cell: Cell, settings: Options) -> Job:
    """Return the job that fits the worlds of a cell's seed."""
    change = ABLATIONS[cell.ablation]
    tasks, home = worlds_tasks(cell, settings["tasks"]), root / f"seed-{cell.seed}"
    options = {name: settings[name] for name in (*DATA, *WORLD)}
    options |= {"seed": cell.seed, "tasks": tasks, "fit": fit_options(cell), "without": list(change.without)}
    after, threads = tuple(home / "data" / task for task in tasks), 1 if len(tasks) == 1 else 0
    return Job("world", home / worlds_name(cell), options, SECONDS["world"] * len(tasks), threads=threads, after=after)


def _cell(root: Path, cell: Cell, settings: Options) -> Job:
    """Return the job that makes and measures a cell's policy."""
    options = {name: settings[name] for name in (*DATA, *WORLD, *CELL)}
    options["tasks"] = worlds_tasks(cell, settings["tasks"])
    options |= {"task": cell.task, "seed": cell.seed, "method": cell.method, "ablation": cell.ablation}
    if chosen := settings_of(cell):
        options["settings"] = chosen
    needed = {Cell(cell.seed, cell.task, "bc"), start_of(cell) or cell} - {cell}
    worlds = dict.fromkeys(_world(root, one, settings).folder for one in (cell, judge_of(cell)))
    after = (*worlds, *(root / "cells" / one.name for one in sorted(needed)))
    return Job("cell", root / "cells" / cell.name, options, SECONDS.get(cell.method, SECONDS["cell"]), after=after)


DATA = ("env_kwargs", "demonstrations", "rollouts", "drifting", "drift", "random", "beyond", "encoder", "objects",
        "pixels", "clone_steps", "price", "proprio", "sigma", "episodes")  # fmt: skip
WORLD = (
    "tasks",
    "world_model",
    "fit_steps",
    "batch_size",
    "own_fit_steps",
    "own_batch_size",
    "success_steps",
    "success_price",
    "push",
    "reach",
    "blur",
)
CELL = ("imagined_steps",)
"""Which options concern which kind of job, beside those of the kinds before."""
SECONDS = {
    "data": 130.0, "world": 90.0, "bc": 100.0, "filtered_bc": 60.0, "cell": 160.0, "planning": 1200.0,
    "diffusion_policy": 400.0, "evolved": 700.0,
}  # fmt: skip
"""What jobs take on one busy core, for the estimate alone; a world's is for each task."""


def main(spec: str) -> None:
    """Run one job of the grid."""
    from worldrl.recipes.world4rl import cell, stages

    work(spec, {"data": stages.data, "world": stages.world, "cell": cell.run})


if __name__ == "__main__":
    main(sys.argv[1])
