"""Tables, plots and JSON of whatever cells there are."""

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from worldrl.recipes.plots import curves, scatter
from worldrl.recipes.runner import failure
from worldrl.recipes.table import markdown
from worldrl.recipes.world4rl import gains, ranking
from worldrl.recipes.world4rl.grid import Cell

Figures = dict[str, Any]
STARTS = ("bc", "filtered_bc", "ours")
"""Methods that every other is held against."""
NOTED = ("ranking", "refinement")
"""What cells note for tables that are about more than one of them."""


def write(root: Path, cells: Sequence[Cell], results: Path, *, done: Collection[str], made_by: str) -> str:
    """Write ``world4rl.json``, ``world4rl.md`` and plots into a folder, and return the table.

    Args:
        root: Run folder of the grid.
        cells: Those that were wanted; what is missing or failed is told, never dropped.
        results: The folder; made if it is not there.
        done: Names of the cells that are done: what was made under other options is not told.
        made_by: The command that makes it.
    """
    results.mkdir(parents=True, exist_ok=True)
    finished = [_read(root, cell) for cell in cells if cell.name in done]
    missing = _missing(root, [cell for cell in cells if cell.name not in done])
    (results / "world4rl.json").write_text(
        json.dumps({"cells": [_told(figures) for figures in finished], "missing": missing}, indent=1) + "\n"
    )
    distinct = ranking.distinct(finished)
    parts = [
        _cells_table(finished),
        _summary(gains.plain(finished)),
        gains.ablations(finished),
        gains.promise(finished),
        ranking.ranking(distinct),
        ranking.what_tells(distinct),
        _times(root),
        _missing_table(missing),
    ]
    made = f"{len(finished)} of {len(cells)} cells are done. Made by `{made_by}`, which goes on where it was stopped."
    text = "\n\n".join(part for part in [*parts, made] if part)
    (results / "world4rl.md").write_text(text + "\n")
    points = [(one["imagined"], one["real"], one["method"]) for one in ranking.policies(distinct)]
    if points:
        (results / "world4rl-imagined-real.svg").write_text(scatter(points, "imagined success", "real success"))
    lines = ranking.refinements(gains.plain(finished))
    if lines:
        (results / "world4rl-refinement.svg").write_text(curves(lines, "imagined steps", "imagined success"))
    return text


def _read(root: Path, cell: Cell) -> Figures:
    """Return the figures of a cell with its seconds, and what else it noted."""
    done = json.loads((root / "cells" / cell.name / "done.json").read_text())
    return {**done["cell"], **{name: done[name] for name in ("seconds", *NOTED)}}


def _told(figures: Figures) -> Figures:
    return {name: value for name, value in figures.items() if name not in ("outcomes", *NOTED)}


def _missing(root: Path, cells: Sequence[Cell]) -> list[Figures]:
    return [
        {"task": cell.task, "seed": cell.seed, "method": cell.method, "ablation": cell.ablation}
        | {"failure": failure(root / "cells" / cell.name)}
        for cell in cells
    ]


def _missing_table(missing: Sequence[Figures]) -> str:
    """List every cell that failed; those that were not run yet share a row where only their tasks differ."""
    waiting: dict[tuple[int, str, str], list[str]] = {}
    rows = []
    for one in missing:
        if one["failure"] is None:
            waiting.setdefault((one["seed"], one["method"], one["ablation"]), []).append(one["task"])
            continue
        last = f"failed: {' / '.join(one['failure']['log'])}"
        rows.append([one["task"], one["seed"], one["method"], one["ablation"], last.replace("|", "\\|")])
    rows += [[", ".join(tasks), *rest, "not run yet"] for rest, tasks in waiting.items()]
    return "" if not rows else "## Not finished\n\n" + markdown(["task", "seed", "method", "ablation", "why"], rows)


def _cells_table(finished: Sequence[Figures]) -> str:
    header = ["task", "seed", "method", "ablation", "masks", "expert", "cloned", "real success (95 %)", "gain, paired",
              "imagined", "gap", "false successes", "of those that repeat", "real steps", "seconds"]  # fmt: skip
    rows = []
    for one in finished:
        low, high = _wilson(one)
        gain = gains.told(gains.gain_over("bc", [one], finished))
        rows.append([
            one["task"], one["seed"], one["method"], one["ablation"], f"masks: {one['masks']}",
            _points(one["expert_success"]), _points(one["bc_success"]),
            f"{_points(one['real_success'])} [{_points(low)}, {_points(high)}]", gain,
            _points(one["imagined_success"]), f"{100 * (one['imagined_success'] - one['real_success']):+.0f}",
            f"{one['false_successes']} of {one['replays']}", f"{one['repeatable_false']} of {one['repeatable']}",
            f"{one['real_steps']:,}", f"{one['seconds']:.0f}",
        ])  # fmt: skip
    return "# World4RL on Meta-World\n\n" + markdown(header, rows)


def _summary(finished: Sequence[Figures]) -> str:
    """Say what each method reaches over tasks and seeds."""
    from worldrl.evaluation.aggregate import interquartile_mean, probability_of_improvement

    rows = []
    for method in dict.fromkeys(one["method"] for one in finished):
        mine = [one for one in finished if one["method"] == method]
        scores, base = _by_task(mine, "real_success"), _by_task(mine, "bc_success")
        middle = interquartile_mean(scores, seed=0)
        better = probability_of_improvement(scores, base, seed=0)
        mean = np.mean([one["real_success"] for one in mine])
        rows.append([
            method, len(mine), _points(mean),
            *(gains.told(gains.gain_over(start, mine, finished), 1) for start in STARTS),
            f"{_points(middle.mean)} [{_points(middle.interval.low)}, {_points(middle.interval.high)}]",
            f"{better.mean:.2f} [{better.interval.low:.2f}, {better.interval.high:.2f}]",
            f"{np.mean([one['real_steps'] for one in mine]):,.0f}",
            _share_of(mine, "false_successes", "replays"), _share_of(mine, "repeatable_false", "repeatable"),
        ])  # fmt: skip
    header = ["method", "cells", "mean real success", "over bc (paired 95 %)",
              "over filtered_bc (paired 95 %)", "over ours as it is (paired 95 %)", "interquartile mean (95 %)",
              "probability of improvement (95 %)", "real steps", "false successes", "of those that repeat"]  # fmt: skip
    return "## Over tasks and seeds\n\n" + markdown(header, rows) if rows else ""


def _share_of(cells: Sequence[Figures], counted: str, trials: str) -> str:
    """Return how many of all trials of some cells were counted."""
    count, over = (sum(one[name] for one in cells) for name in (counted, trials))
    return f"{_points(count / over)} % of {over:,}" if over else "-"


def _by_task(cells: Sequence[Figures], name: str) -> list[list[float]]:
    tasks = sorted({one["task"] for one in cells})
    return [[one[name] for one in cells if one["task"] == task] for task in tasks]


def _times(root: Path) -> str:
    """Say what the jobs took."""
    kinds: dict[str, list[float]] = {}
    for file in root.rglob("done.json"):
        kind = json.loads((file.parent / "job.json").read_text())["kind"]
        kinds.setdefault(kind, []).append(json.loads(file.read_text())["seconds"])
    rows = [[kind, len(seconds), f"{np.mean(seconds):.0f}", f"{max(seconds):.0f}"] for kind, seconds in kinds.items()]
    return "## Time\n\n" + markdown(["job", "done", "mean seconds", "longest"], rows) if rows else ""


def _wilson(one: Figures) -> tuple[float, float]:
    from worldrl.evaluation.intervals import wilson

    interval = wilson(round(one["real_success"] * one["episodes"]), one["episodes"])
    return interval.low, interval.high


def _points(share: float) -> str:
    return f"{100 * share:.0f}"
