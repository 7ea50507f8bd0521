"""Does imagination rank policies as reality does, and what in it gives a fall away? Over all that were measured."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from worldrl.recipes.table import markdown
from worldrl.recipes.world4rl import signs
from worldrl.recipes.world4rl.grid import Cell, start_of

Figures = dict[str, Any]


def _cell(one: Figures) -> Cell:
    return Cell(one["seed"], one["task"], one["method"], one["ablation"])


def distinct(finished: Sequence[Figures]) -> list[Figures]:
    """Leave out refinements that went as an earlier one: a switch that never acts makes the same policies again."""
    kept, seen = [], set()
    for one in finished:
        if made := one["refinement"]:
            way = tuple((c["steps"], c["success"], c["divergence"]) for c in made["candidates"])
            course = (one["task"], one["seed"], way)
            if course in seen:
                continue
            seen.add(course)
        kept.append(one)
    return kept


def policies(finished: Sequence[Figures]) -> list[Figures]:
    """Return imagined and real success of every policy that was measured: the cells' own and those on the way.

    All of a task and seed are imagined in one world, whichever they were made in.
    """
    return [
        {"task": one["task"], "seed": one["seed"], "method": one["method"]} | pair
        for one in finished
        for pair in one["ranking"]
    ]


def ranking(finished: Sequence[Figures]) -> str:
    """Say task by task how imagined success ranks policies, and how far chance in the real figures lets it."""
    from worldrl.errors import DataError
    from worldrl.evaluation.ranking import rank_correlation, reachable_correlation

    measured, rows, found = policies(finished), [], []
    for task in dict.fromkeys(one["task"] for one in measured):
        mine = [one for one in measured if one["task"] == task]
        real = [one["real"] for one in mine]
        try:
            rank = rank_correlation([one["imagined"] for one in mine], real, seed=0)
        except (ValueError, DataError) as error:
            rows.append([task, len(mine), "-", "-", "-", "-", str(error)])
            continue
        found.append(rank.rho)
        interval = f"[{rank.interval.low:.2f}, {rank.interval.high:.2f}]"
        reachable = reachable_correlation(real, [one["episodes"] for one in mine], seed=0)
        rows.append([
            task, rank.policies, f"{rank.rho:.2f}", interval, _within_seeds(mine), f"{reachable:.2f}",
            f"{rank.spread:.0f} points",
        ])  # fmt: skip
    if not rows:
        return ""
    mean = f"\n\nMean over tasks: {np.mean(found):.2f}." if found else ""
    header = ["task", "policies", "rank correlation", "95 %", "mean within a seed", "without error in imagination",
              "spread of real success"]  # fmt: skip
    return "## Does imagination rank policies as reality does?\n\n" + markdown(header, rows) + mean


def _within_seeds(measured: Sequence[Figures]) -> str:
    """Return the mean over seeds of the rank correlation among policies that were imagined in the same world."""
    from worldrl.evaluation.ranking import spearman

    groups = ([one for one in measured if one["seed"] == seed] for seed in sorted({one["seed"] for one in measured}))
    found = [
        spearman([one["imagined"] for one in mine], [one["real"] for one in mine]) for mine in groups if len(mine) > 1
    ]
    found = [rho for rho in found if np.isfinite(rho)]
    return f"{np.mean(found):.2f}" if found else "-"


def what_tells(finished: Sequence[Figures]) -> str:
    """Say which sign in imagination goes with a fall of real success."""
    real = {_cell(one): one["real_success"] for one in finished}
    found = []
    for one in finished:
        before = start_of(_cell(one))
        if before in real:
            found.extend(signs.gather(one, real[before]))
    lines = signs.rows(found)
    if not lines:
        return ""
    head = f"## What gives a fall away\n\nOver {len(found)} policies on the way of a refinement, measured in MuJoCo."
    return head + "\n\n" + markdown(["sign", "rank correlation with the change of real success", "95 %"], lines)


def refinements(finished: Sequence[Figures]) -> dict[str, list[tuple[float, float]]]:
    """Return imagined success along each refinement."""
    return {
        _cell(one).name: [(c["steps"], c["success"]) for c in one["refinement"]["candidates"]]
        for one in finished
        if one["method"] == "ours" and one["refinement"]
    }
