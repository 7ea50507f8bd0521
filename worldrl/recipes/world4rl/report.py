"""Tables, plots and JSON of whatever cells there are."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from worldrl.recipes.world4rl import signs
from worldrl.recipes.world4rl.grid import Cell, start_of
from worldrl.recipes.world4rl.plots import curves, scatter
from worldrl.recipes.world4rl.runner import failure

Figures = dict[str, Any]
WORSE, ALARM = -0.05, 0.0
"""A cell is flagged whose mean loss against cloning is more than this, with an interval that lies below the second."""


def write(root: Path, cells: Sequence[Cell], results: Path, *, made_by: str) -> str:
    """Write ``world4rl.json``, ``world4rl.md`` and plots into a folder, and return the table.

    Args:
        root: Run folder of the grid.
        cells: Those that were wanted; what is missing or failed is told, never dropped.
        results: The folder; made if it is not there.
        made_by: The command that makes it.
    """
    results.mkdir(parents=True, exist_ok=True)
    done = [(cell, _read(root, cell)) for cell in cells]
    finished = [figures for _, figures in done if figures is not None]
    (results / "world4rl.json").write_text(
        json.dumps({"cells": [_told(figures) for figures in finished], "missing": _missing(root, done)}, indent=1)
        + "\n"
    )
    distinct = _distinct(root, finished)
    parts = [_cells_table(finished), _summary(finished), _promise(finished), _ranking(root, distinct)]
    parts += [_signs(root, distinct), _times(root)]
    made = f"{len(finished)} of {len(cells)} cells are done. Made by `{made_by}`, which goes on where it was stopped."
    text = "\n\n".join(part for part in [*parts, _missing_table(root, done), made] if part)
    (results / "world4rl.md").write_text(text + "\n")
    points = [(one["imagined"], one["real"], one["method"]) for one in _policies(root, distinct)]
    if points:
        (results / "world4rl-imagined-real.svg").write_text(scatter(points, "imagined success", "real success"))
    lines = _refinements(root, _plain(finished))
    if lines:
        (results / "world4rl-refinement.svg").write_text(curves(lines, "imagined steps", "imagined success"))
    return text


def _read(root: Path, cell: Cell) -> Figures | None:
    """Return the figures of a cell with its seconds, or None if it is not done."""
    file = root / "cells" / cell.name / "done.json"
    if not file.exists():
        return None
    done = json.loads(file.read_text())
    return {**done["cell"], "seconds": done["seconds"]}


def _told(figures: Figures) -> Figures:
    return {name: value for name, value in figures.items() if name != "outcomes"}


def _missing(root: Path, done: Sequence[tuple[Cell, Figures | None]]) -> list[Figures]:
    return [
        {"task": cell.task, "seed": cell.seed, "method": cell.method, "ablation": cell.ablation}
        | {"failure": failure(root / "cells" / cell.name)}
        for cell, figures in done
        if figures is None
    ]


def _missing_table(root: Path, done: Sequence[tuple[Cell, Figures | None]]) -> str:
    """List every cell that failed; those that were not run yet share a row where only their tasks differ."""
    waiting: dict[tuple[int, str, str], list[str]] = {}
    rows = []
    for one in _missing(root, done):
        if one["failure"] is None:
            waiting.setdefault((one["seed"], one["method"], one["ablation"]), []).append(one["task"])
            continue
        last = f"failed: {' / '.join(one['failure']['log'])}"
        rows.append([one["task"], one["seed"], one["method"], one["ablation"], last.replace("|", "\\|")])
    rows += [[", ".join(tasks), *rest, "not run yet"] for rest, tasks in waiting.items()]
    return "" if not rows else "## Not finished\n\n" + table(["task", "seed", "method", "ablation", "why"], rows)


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def _cells_table(finished: Sequence[Figures]) -> str:
    header = ["task", "seed", "method", "ablation", "masks", "expert", "cloned", "real success (95 %)", "gain, paired",
              "imagined", "gap", "false successes", "real steps", "seconds"]  # fmt: skip
    rows = []
    for one in finished:
        low, high = _wilson(one)
        rows.append([
            one["task"], one["seed"], one["method"], one["ablation"], f"masks: {one['masks']}",
            _points(one["expert_success"]), _points(one["bc_success"]),
            f"{_points(one['real_success'])} [{_points(low)}, {_points(high)}]", _gain_text(one, finished),
            _points(one["imagined_success"]), f"{100 * (one['imagined_success'] - one['real_success']):+.0f}",
            f"{one['false_successes']} of {one['replays']}", f"{one['real_steps']:,}", f"{one['seconds']:.0f}",
        ])  # fmt: skip
    return "# World4RL on Meta-World\n\n" + table(header, rows)


def _summary(finished: Sequence[Figures]) -> str:
    """Say what each method reaches over tasks and seeds."""
    from worldrl.evaluation.aggregate import interquartile_mean, probability_of_improvement

    rows = []
    for method, ablation in sorted({(one["method"], one["ablation"]) for one in finished}):
        mine = [one for one in finished if (one["method"], one["ablation"]) == (method, ablation)]
        scores, base = _by_task(mine, "real_success"), _by_task(mine, "bc_success")
        middle = interquartile_mean(scores, seed=0)
        better = probability_of_improvement(scores, base, seed=0)
        mean = np.mean([one["real_success"] for one in mine])
        trials = sum(one["replays"] for one in mine)
        false = sum(one["false_successes"] for one in mine) / max(1, trials)
        rows.append([
            method, ablation, len(mine), _points(mean),
            *("-" if (method, ablation) == (start, "none") else _gain_over(mine, finished, start) for start in STARTS),
            f"{_points(middle.mean)} [{_points(middle.interval.low)}, {_points(middle.interval.high)}]",
            f"{better.mean:.2f} [{better.interval.low:.2f}, {better.interval.high:.2f}]",
            f"{_points(false)} % of {trials}",
        ])  # fmt: skip
    header = ["method", "ablation", "cells", "mean real success", "over bc (paired 95 %)",
              "over filtered_bc (paired 95 %)", "over ours as it is (paired 95 %)", "interquartile mean (95 %)",
              "probability of improvement (95 %)", "false successes"]  # fmt: skip
    return "## Over tasks and seeds\n\n" + table(header, rows) if rows else ""


STARTS = ("bc", "filtered_bc", "ours")
"""Methods that every other is held against."""


def _plain(finished: Sequence[Figures]) -> list[Figures]:
    """Return the cells in which nothing is ablated."""
    return [one for one in finished if one["ablation"] == "none"]


def _gain_over(mine: Sequence[Figures], finished: Sequence[Figures], start: str) -> str:
    """Return the gain over another method as it is, on the same tasks and seeds.

    The bootstrap draws cells, then episodes.
    """
    from worldrl.evaluation.intervals import paired_over_seeds

    plain = _plain(finished)
    bases = {(one["task"], one["seed"]): one["outcomes"] for one in plain if one["method"] == start}
    places = [(one, (one["task"], one["seed"])) for one in mine]
    pairs = [
        (one["outcomes"], bases[at]) for one, at in places if at in bases and len(bases[at]) == len(one["outcomes"])
    ]
    if not pairs:
        return "-"
    gain = paired_over_seeds([after for after, _ in pairs], [before for _, before in pairs], seed=0)
    return f"{100 * gain.mean:+.1f} [{100 * gain.interval.low:+.1f}, {100 * gain.interval.high:+.1f}]"


def _by_task(cells: Sequence[Figures], name: str) -> list[list[float]]:
    tasks = sorted({one["task"] for one in cells})
    return [[one[name] for one in cells if one["task"] == task] for task in tasks]


def _promise(finished: Sequence[Figures]) -> str:
    """Say in how many cells the kept policy is worse than cloning, and what so many cells allow."""
    mine = [one for one in _plain(finished) if one["method"] == "ours"]
    if not mine:
        return ""
    flagged = [one for one in mine if is_worse(one, finished)]
    bound = upper_bound(len(flagged), len(mine))
    names = ", ".join(f"{one['task']} seed {one['seed']}" for one in flagged) or "none"
    return (
        f"## Never worse than cloning\n\nOf {len(mine)} cells of `ours`, {len(flagged)} are worse than their cloned "
        f"start (more than 5 points down, paired 95 % interval below zero): {names}. So many cells allow a share of up "
        f"to {100 * bound:.0f} % (one-sided 95 %)."
    )


def upper_bound(count: int, trials: int, confidence: float = 0.95) -> float:
    """Return the share that ``count`` of ``trials`` still allows, one-sided.

    Source: Clopper & Pearson 1934.
    """
    low, high = count / trials, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _at_most(count, trials, middle) > 1 - confidence else (low, middle)
    return high


def _at_most(count: int, trials: int, share: float) -> float:
    from math import comb

    return sum(comb(trials, i) * share**i * (1 - share) ** (trials - i) for i in range(count + 1))


def is_worse(one: Figures, finished: Sequence[Figures]) -> bool:
    """Return whether a cell is worse than its cloned start beyond doubt."""
    gain = _gain(one, finished)
    return gain is not None and gain.mean < WORSE and gain.interval.high < ALARM


def _gain(one: Figures, finished: Sequence[Figures]) -> Any:
    """Return the paired gain over the cloned policy of the same task and seed; None for the cloned policy itself."""
    from worldrl.evaluation.intervals import paired_difference

    if one["method"] == "bc":
        return None
    base = next((b for b in finished if (b["task"], b["seed"], b["method"]) == (one["task"], one["seed"], "bc")), None)
    return None if base is None else paired_difference(one["outcomes"], base["outcomes"], seed=0)


def _gain_text(one: Figures, finished: Sequence[Figures]) -> str:
    gain = _gain(one, finished)
    if gain is None:
        return "-"
    return f"{100 * gain.mean:+.0f} [{100 * gain.interval.low:+.0f}, {100 * gain.interval.high:+.0f}]"


def _cell(one: Figures) -> Cell:
    return Cell(one["seed"], one["task"], one["method"], one["ablation"])


def _done(root: Path, one: Figures) -> Figures:
    """Return all that a finished cell noted."""
    done: Figures = json.loads((root / "cells" / _cell(one).name / "done.json").read_text())
    return done


def _distinct(root: Path, finished: Sequence[Figures]) -> list[Figures]:
    """Leave out refinements that went as an earlier one: a switch that never acts makes the same policies again."""
    kept, seen = [], set()
    for one in finished:
        made = _done(root, one).get("refinement")
        if made:
            way = tuple((c["steps"], c["success"], c["divergence"]) for c in made["candidates"])
            course = (one["task"], one["seed"], way)
            if course in seen:
                continue
            seen.add(course)
        kept.append(one)
    return kept


def _policies(root: Path, finished: Sequence[Figures]) -> list[Figures]:
    """Return imagined and real success of every policy that was measured: the cells' own and those on the way."""
    found = []
    for one in finished:
        about = {"task": one["task"], "method": one["method"]}
        found.append(about | {"imagined": one["imagined_success"], "real": one["real_success"]})
        found.extend(about | pair for pair in _done(root, one)["ranking"])
    return found


def _ranking(root: Path, finished: Sequence[Figures]) -> str:
    """Say task by task how imagined success ranks policies."""
    from worldrl.errors import DataError
    from worldrl.evaluation.decisions import rank_correlation

    policies, rows, found = _policies(root, finished), [], []
    for task in dict.fromkeys(one["task"] for one in policies):
        mine = [one for one in policies if one["task"] == task]
        try:
            rank = rank_correlation([one["imagined"] for one in mine], [one["real"] for one in mine], seed=0)
        except (ValueError, DataError) as error:
            rows.append([task, len(mine), "-", "-", str(error)])
            continue
        found.append(rank.rho)
        interval = f"[{rank.interval.low:.2f}, {rank.interval.high:.2f}]"
        rows.append([task, rank.policies, f"{rank.rho:.2f}", interval, f"{rank.spread:.0f} points"])
    if not rows:
        return ""
    mean = f"\n\nMean over tasks: {np.mean(found):.2f}." if found else ""
    header = ["task", "policies", "rank correlation", "95 %", "spread of real success"]
    return "## Does imagination rank policies as reality does?\n\n" + table(header, rows) + mean


def _signs(root: Path, finished: Sequence[Figures]) -> str:
    """Say which sign in imagination goes with a fall of real success."""
    found = []
    for one in finished:
        cell = _cell(one)
        before = start_of(cell)
        if before is not None:
            start = json.loads((root / "cells" / before / "done.json").read_text())["cell"]["real_success"]
            found.extend(signs.gather(root / "cells" / cell.name, start))
    lines = signs.rows(found)
    if not lines:
        return ""
    head = f"## What gives a fall away\n\nOver {len(found)} policies on the way of a refinement, measured in MuJoCo."
    return head + "\n\n" + table(["sign", "rank correlation with the change of real success", "95 %"], lines)


def _refinements(root: Path, finished: Sequence[Figures]) -> dict[str, list[tuple[float, float]]]:
    """Return imagined success along each refinement."""
    lines = {}
    for one in finished:
        made = _done(root, one).get("refinement")
        if made and one["method"] == "ours":
            lines[_cell(one).name] = [(c["steps"], c["success"]) for c in made["candidates"]]
    return lines


def _times(root: Path) -> str:
    """Say what the jobs took."""
    kinds: dict[str, list[float]] = {}
    for file in root.rglob("done.json"):
        kind = json.loads((file.parent / "job.json").read_text())["kind"]
        kinds.setdefault(kind, []).append(json.loads(file.read_text())["seconds"])
    rows = [[kind, len(seconds), f"{np.mean(seconds):.0f}", f"{max(seconds):.0f}"] for kind, seconds in kinds.items()]
    return "## Time\n\n" + table(["job", "done", "mean seconds", "longest"], rows) if rows else ""


def _wilson(one: Figures) -> tuple[float, float]:
    from worldrl.evaluation.intervals import wilson

    interval = wilson(round(one["real_success"] * one["episodes"]), one["episodes"])
    return interval.low, interval.high


def _points(share: float) -> str:
    return f"{100 * share:.0f}"
