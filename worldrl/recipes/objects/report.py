"""Tables and JSON of what objects are worth, of whatever cells there are."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from worldrl.evaluation.intervals import mean_over_seeds, paired_over_seeds
from worldrl.recipes.objects.grid import ENCODERS, INPUTS, STEPS, Cell, cells
from worldrl.recipes.objects.jobs import plan
from worldrl.recipes.objects.picture import draw
from worldrl.recipes.table import markdown

Figures = dict[str, Any]
NAMED = {"both": "objects and frame", "objects": "objects alone", "visual": "frame alone"}
STUDIES = {
    "touch": "OC-STORM on Touch (success)",
    "few_shot": "OC-STORM on Touch, masks from three annotated frames (success)",
    "diffusion": "diffusion world model on Touch, cloned and refined (success)",
    "breakout": "OC-STORM on MinAtar Breakout, discrete actions (return)",
    "encoder": "cloned on Reach from geometry and looks by a frozen encoder (success)",
}
PAIRS = (("both", "visual"), ("objects", "visual"), ("both", "objects"),
         ("dinov2", "efficientnet"), ("dinov2", "random_dinov2"), ("efficientnet", "random_dinov2"))  # fmt: skip


def write(root: Path, results: Path, *, seeds: list[int]) -> str:
    """Write ``objects.json``, ``objects.md`` and, where its models are, ``objects.png``, and return the table.

    Args:
        root: Run folder of the grid.
        results: The folder; ``masks.json`` and ``probe.json`` are read there if they are.
        seeds: Whose cells were wanted; what is missing is told, and so is what was run with other options than today's.
    """
    wanted = list(cells(seeds))
    done = {job.folder.name for job in plan(root, wanted) if job.kind == "cell" and job.is_done()}
    found = {cell: _read(root, cell) for cell in wanted if cell.name in done}
    missing = [cell.name for cell in wanted if cell not in found]
    results.mkdir(parents=True, exist_ok=True)
    found_here, measured = headline(found), extractors(results)
    figures = {
        **{name: _mean(values) for name, values in (measured | found_here).items()},
        "masks": "simulator",
        "per_seed": measured | found_here,
        "probe": probe(results),
        "cells": [_told(*one) for one in found.items()],
        "missing": missing,
    }
    (results / "objects.json").write_text(json.dumps(figures, indent=1) + "\n")
    parts = [_studies(found), _differences(found), _imagined(found)]
    made = (
        f"{len(found)} of {len(wanted)} cells are done. Those of OC-STORM take {STEPS:,} real steps; how many those of "
        "diffusion take, an expert's among them, is in `objects.json`. Made by `worldrl experiment objects`, which "
        "goes on where it was stopped."
    )
    text = "\n\n".join(part for part in [*parts, made, f"Missing: {', '.join(missing)}." if missing else ""] if part)
    (results / "objects.md").write_text(text + "\n")
    draw(root, results, seed=seeds[0])
    return text


def headline(found: dict[Cell, Figures]) -> dict[str, list[float]]:
    """Return the success of each input on ``touch``, by seed."""
    names = {"both": "objects_and_visual_success", "objects": "objects_success", "visual": "visual_success"}
    return {name: _by_seed(found, "touch", what) for what, name in names.items()}


def extractors(results: Path) -> dict[str, list[float]]:
    """Return what was measured of few-shot and MobileSAM masks by seed, means over tasks: IoU, and frames a second."""
    rows = _rows(results / "masks.json")
    few = [row for row in rows if row["method"] == "few_shot" and row["look"] == "colour and features"]
    sam = [row for row in rows if row["method"] == "mobilesam"]
    return {
        "few_shot_miou": _over_tasks(few, _iou),
        "few_shot_fps": _over_tasks(few, lambda row: float(row["frames_per_second_cached"])),
        "sam_miou": _over_tasks(sam, _iou),
    }


def probe(results: Path) -> list[Figures]:
    """Return how well tokens tell where things are, a row for each task, encoder and seed."""
    names = ("task", "reads", "encoder", "seed", "r2", "error_cm")
    return [{name: row[name] for name in names} for row in _rows(results / "probe.json")]


def _over_tasks(rows: list[Figures], figure: Callable[[Figures], float]) -> list[float]:
    seeds = sorted({row["seed"] for row in rows})
    return [float(np.mean([figure(row) for row in rows if row["seed"] == seed])) for seed in seeds]


def _iou(row: Figures) -> float:
    return float(row["iou"]["mean"])


def _rows(path: Path) -> list[Figures]:
    return list(json.loads(path.read_text())["rows"]) if path.exists() else []


def _read(root: Path, cell: Cell) -> Figures:
    """Return the figures of a finished cell."""
    return dict(json.loads((root / "cells" / cell.name / "done.json").read_text())["figures"])


def _told(cell: Cell, figures: Figures) -> Figures:
    return {"study": cell.study, "what": cell.what, "seed": cell.seed} | {
        name: value for name, value in figures.items() if name not in ("outcomes", "rets", "cloned_outcomes")
    }


def _values(cell: Cell, figures: Figures) -> list[float]:
    """Return what each episode of the evaluation brought: success, or the return of a game."""
    return [float(value) for value in figures["rets" if cell.study == "breakout" else "outcomes"]]


def _by_seed(found: dict[Cell, Figures], study: str, what: str) -> list[float]:
    return [
        float(np.mean(_values(cell, figures)))
        for cell, figures in found.items()
        if (cell.study, cell.what) == (study, what)
    ]


def _mean(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _studies(found: dict[Cell, Figures]) -> str:
    rows = []
    for study, told in STUDIES.items():
        for what in (*INPUTS, *ENCODERS):
            of = {cell: figures for cell, figures in found.items() if (cell.study, cell.what) == (study, what)}
            if of:
                values = _by_seed(found, study, what)
                masks = next(iter(of.values()))["masks"]
                rows.append(
                    (told, NAMED.get(what, what), f"masks: {masks}", _seeds(values, study), _interval(values, study))
                )
    return markdown(("study", "sees", "masks", "by seed", "mean, 95 % over seeds"), rows) if rows else ""


def _differences(found: dict[Cell, Figures]) -> str:
    """Return what each kind of input, and of masks, is worth beside another, paired over seeds and episodes."""
    pairs = [(study, one, study, other) for study in STUDIES for one, other in PAIRS]
    pairs += [("few_shot", what, "touch", what) for what in INPUTS]
    rows = []
    for study, one, beside, other in pairs:
        seeds = [s for s in range(100) if {Cell(study, one, s), Cell(beside, other, s)} <= found.keys()]
        if not seeds:
            continue
        sides = ((study, one), (beside, other))
        gain = paired_over_seeds(*([_values(Cell(*x, s), found[Cell(*x, s)]) for s in seeds] for x in sides))
        low, high = gain.interval.low, gain.interval.high
        verdict = "no difference" if low <= 0.0 <= high else ("more" if low > 0 else "less")
        against = NAMED.get(other, other) if study == beside else "the same with the simulator's masks"
        shown = [_shown(x, study) for x in (gain.mean, low, high)]
        names = f"{NAMED.get(one, one)} against {against}"
        rows.append((STUDIES[study], names, len(seeds), f"{shown[0]} [{shown[1]}, {shown[2]}]", verdict))
    header = ("study", "what", "seeds", "difference, 95 % over seeds and episodes", "verdict")
    return markdown(header, rows) if rows else ""


def _imagined(found: dict[Cell, Figures]) -> str:
    """Return what was imagined beside what was real, of every cell that has both."""
    rows = [
        (cell.study, NAMED[cell.what], cell.seed, f"{figures['ret']:.2f}", f"{figures['imagined_ret']:.2f}",
         f"{100 * figures['success']:.0f}", f"{100 * figures['imagined_end']:.0f}", f"{figures['imagined_steps']:,}")
        for cell, figures in found.items() if "imagined_ret" in figures
    ] + [
        (cell.study, NAMED[cell.what], cell.seed, "-", "-", f"{100 * figures['success']:.0f}",
         f"{100 * figures['imagined']:.0f}", f"{figures['imagined_steps']:,}")
        for cell, figures in found.items() if "imagined" in figures
    ]  # fmt: skip
    header = ("study", "sees", "seed", "return", "imagined", "success", "imagined to end", "imagined steps")
    return markdown(header, rows) if rows else ""


def _shown(value: float, study: str) -> str:
    return f"{value:+.2f}" if study == "breakout" else f"{100 * value:+.1f}"


def _seeds(values: list[float], study: str) -> str:
    return ", ".join(_shown(value, study).lstrip("+") for value in values)


def _interval(values: list[float], study: str) -> str:
    if len(values) < 2:
        return _seeds(values, study)
    found = mean_over_seeds(values)
    least, most = (-np.inf, np.inf) if study == "breakout" else (0.0, 1.0)  # Student's t does not know of shares
    ends = np.clip([found.interval.low, found.mean, found.interval.high], least, most)
    low, mean, high = (_shown(float(x), study).lstrip("+") for x in ends)
    return f"{mean} [{low}, {high}]"
