"""What a policy gains over another method's on the same start states, and whether refinement is never worse."""

from collections.abc import Sequence
from typing import Any

from worldrl.evaluation.intervals import SeedGain, paired_over_seeds, upper_bound
from worldrl.recipes.table import markdown

Figures = dict[str, Any]
WORSE, ALARM = -0.05, 0.0
"""A cell is flagged whose mean loss against cloning is more than this, with an interval that lies below the second."""

FEWEST = 3
"""Cells below which nothing is said of a change: PPO's chance moves one cell by more than its episodes tell."""


def plain(finished: Sequence[Figures]) -> list[Figures]:
    """Return the cells in which nothing is ablated."""
    return [one for one in finished if one["ablation"] == "none"]


def gain_over(method: str, mine: Sequence[Figures], finished: Sequence[Figures]) -> SeedGain | None:
    """Return what some cells gain over a method as it is, on the same tasks, seeds and start states.

    The bootstrap draws cells, then episodes. None where there is nothing to hold them against, or they are it.
    """
    bases = {(one["task"], one["seed"]): one for one in plain(finished) if one["method"] == method}
    pairs = [(one, bases[at]) for one in mine if (at := (one["task"], one["seed"])) in bases]
    pairs = [(one, base) for one, base in pairs if len(one["outcomes"]) == len(base["outcomes"])]
    if all(one is base for one, base in pairs):
        return None
    return paired_over_seeds([one["outcomes"] for one, _ in pairs], [base["outcomes"] for _, base in pairs], seed=0)


def told(gain: SeedGain | None, digits: int = 0) -> str:
    """Return a gain in points with its interval, or a dash."""
    if gain is None:
        return "-"
    mean, low, high = (f"{100 * x:+.{digits}f}" for x in (gain.mean, gain.interval.low, gain.interval.high))
    return f"{mean} [{low}, {high}]"


def ablations(finished: Sequence[Figures]) -> str:
    """Say what each change of ours costs on the cells where it was made."""
    rows = []
    for name in dict.fromkeys(one["ablation"] for one in finished if one["ablation"] != "none"):
        mine = [one for one in finished if one["ablation"] == name]
        gain = gain_over("ours", mine, finished)
        if gain is not None:
            after = sum(one["real_success"] for one in mine) / len(mine)
            rows.append([name, len(mine), f"{100 * after:.0f}", told(gain, 1), _verdict(gain)])
    header = ["change", "cells", "mean real success", "against ours as it is (paired 95 %)", "verdict"]
    return "## What each part of ours is worth\n\n" + markdown(header, rows) if rows else ""


def _verdict(gain: SeedGain) -> str:
    if not any(gain.by_seed) and gain.interval.low == gain.interval.high:
        return "the same runs: it never acted"
    if len(gain.by_seed) < FEWEST:
        return "too few cells"
    if 0.0 in gain.interval:
        return "no difference"
    return "worse" if gain.mean < 0 else "better"


def is_worse(one: Figures, finished: Sequence[Figures]) -> bool:
    """Return whether a cell is worse than its cloned start beyond doubt."""
    gain = gain_over("bc", [one], finished)
    return gain is not None and gain.mean < WORSE and gain.interval.high < ALARM


def promise(finished: Sequence[Figures]) -> str:
    """Say in how many cells the kept policy is worse than cloning, and what so many cells allow."""
    mine = [one for one in plain(finished) if one["method"] == "ours"]
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
