"""Jobs of the experiment on objects: which there are, and how one is run.

``python -m worldrl.recipes.objects.jobs SPEC.json`` runs one.
"""

import sys
from pathlib import Path
from typing import Any

from worldrl.recipes.jobs import Job, Options, work
from worldrl.recipes.objects.grid import Cell, command_lines

SHOTS = 3
"""Annotated frames of few-shot masks."""
KEPT = (
    "masks",
    "success",
    "interval",
    "outcomes",
    "ret",
    "rets",
    "length",
    "imagined_end",
    "imagined_ret",
    "curve",
    "real_steps",
    "imagined_steps",
    "seconds_by_stage",
)
"""What of a run's summary becomes figures."""
SECONDS = {"touch": 600.0, "few_shot": 700.0, "breakout": 600.0, "diffusion": 400.0, "encoder": 300.0}
"""What a cell takes on one busy core, for the estimate alone."""


def plan(root: Path, wanted: list[Cell]) -> list[Job]:
    """Return the jobs that some cells need, in an order in which each comes after what it needs."""
    jobs: dict[Path, Job] = {}
    for cell in wanted:
        folder, after = root / "cells" / cell.name, tuple[Path, ...]()
        if cell.study == "few_shot":
            notes = _job("annotations", root / f"annotations-{cell.seed}", {"seed": cell.seed}, 20.0)
            jobs.setdefault(notes.folder, notes)
            after = (notes.folder,)
        options = {"study": cell.study, "what": cell.what, "seed": cell.seed, "words": command_lines(cell)}
        jobs[folder] = _job("cell", folder, options, SECONDS[cell.study], after=after)
    return list(jobs.values())


def _job(kind: str, folder: Path, options: Options, seconds: float, *, after: tuple[Path, ...] = ()) -> Job:
    return Job(kind, folder, options, seconds, after=after, module="worldrl.recipes.objects.jobs")


def annotate(folder: Path, options: Options) -> Options:
    """Annotate a few frames of random play; the simulator stands in for the human who would paint them."""
    from worldrl.recipes import annotate as annotating
    from worldrl.recipes import collect
    from worldrl.recipes.options import EnvOptions

    env = EnvOptions(id="worldrl/Touch-v0", kwargs={"size": 64, "max_steps": 40})
    data = str(folder / "episodes")
    collect.run(collect.Config(env=env, out=data, policy="random", episodes=SHOTS, seed=options["seed"]))
    annotating.run(annotating.Config(episodes=data, out=str(folder / "masks"), shots=SHOTS, seed=options["seed"]))
    return {}


def run_cell(folder: Path, options: Options) -> Options:
    """Run a cell and return its figures."""
    run = {"diffusion": _diffusion, "encoder": _encoder}.get(options["study"], _storm)
    return {"figures": run(folder, options)}


def _storm(folder: Path, options: Options) -> Options:
    """Train OC-STORM."""
    from worldrl import checkpoint
    from worldrl.recipes import train
    from worldrl.recipes.config import compose

    words = [*options["words"]["train"], f"out={folder / 'run'}"]
    if options["study"] == "few_shot":
        notes = folder.parents[1] / f"annotations-{options['seed']}" / "masks"
        words += ["objects.masks=few_shot", f"objects.annotations={notes}"]
    print(train.run(compose("train", words, schema=train.Config)), flush=True)
    summary = checkpoint.read_json(folder / "run" / "summary.json")
    return {name: summary[name] for name in KEPT}


def _diffusion(folder: Path, options: Options) -> Options:
    """Clone an expert and refine in a diffusion world model: every stage of the demo, on about as many real steps."""
    from worldrl import checkpoint
    from worldrl.recipes import demo
    from worldrl.recipes.config import compose

    words = [*options["words"]["demo"], f"out={folder / 'run'}"]
    print(demo.run(compose("demo", words, schema=demo.Config)), flush=True)
    summary = checkpoint.read_json(folder / "run" / "summary.json")
    return {
        "masks": "none" if options["what"] == "visual" else summary["masks"],
        "success": summary["refined_success"], "interval": summary["refined_interval"],
        "outcomes": summary["outcomes"]["refined"], "cloned": summary["bc_success"],
        "cloned_outcomes": summary["outcomes"]["bc"], "imagined": summary["imagined_success"],
        "real_steps": summary["real_steps_collected"], "imagined_steps": summary["imagined_steps"],
    }  # fmt: skip


def _encoder(folder: Path, options: Options) -> Options:
    """Clone an expert from tokens of a frozen encoder, geometry and look, and measure the clone."""
    from worldrl import checkpoint
    from worldrl.recipes import clone, collect, encode, evaluate
    from worldrl.recipes.config import compose
    from worldrl.recipes.parts import use_threads

    use_threads(1)
    data, features = f"episodes={folder / 'episodes'}", f"features={folder / 'features'}"
    seen = [f"observation={folder / 'observation'}", features]
    stages: list[tuple[Any, str, list[str]]] = [
        (collect, "collect", [f"out={folder / 'episodes'}"]),
        (encode, "encode", [data, f"out={folder / 'observation'}", features]),
        (clone, "clone", [data, *seen, f"out={folder / 'clone'}"]),
        (evaluate, "evaluate", [f"policies=[{folder / 'clone'}]", *seen, f"out={folder / 'evaluation.json'}"]),
    ]
    for recipe, verb, paths in stages:
        recipe.run(compose(verb, [*options["words"][verb], *paths], schema=recipe.Config))
    (report,) = checkpoint.read_json(folder / "evaluation.json")["reports"]
    return {name: report[name] for name in ("masks", "success", "outcomes", "real_steps")}


def main(spec: str) -> None:
    """Run one job of the grid."""
    work(spec, {"annotations": annotate, "cell": run_cell})


if __name__ == "__main__":
    main(sys.argv[1])
