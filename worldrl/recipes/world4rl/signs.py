"""Which sign in imagination tells that real success has fallen? Over every refined policy that was measured."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Figures = dict[str, Any]

SIGNS: dict[str, str] = {
    "gain": "imagined gain over the policy it began as",
    "haste": "how much sooner than the fast quarter of the data success is imagined (share of it)",
    "divergence": "divergence from it (nats)",
    "halted": "share of imagined episodes that are halted",
    "doubt": "share of imagined successes that the audit does not confirm",
}
"""What is looked at, each so that more of it should mean a fall."""
FEWEST = 6
"""Policies below which nothing is said."""


def gather(cell: Mapping[str, Any], start_success: float) -> list[Figures]:
    """Return the signs of each measured candidate of one refinement, and how its real success changed.

    Args:
        cell: What a finished cell noted.
        start_success: Real success of the policy that was refined.
    """
    made = cell["refinement"]
    if not made:
        return []
    by_steps = {one["steps"]: one for one in made["candidates"]}
    start, found = made["candidates"][0], []
    for path, measured in zip(made["checkpoints"], cell["ranking"][1:], strict=True):
        one = by_steps[int(path.rpartition("-at-")[2])]
        found.append({"change": measured["real"] - start_success, **_signs(one, start, made["pace"] or _pace(made))})
    return found


def _signs(one: Mapping[str, Any], start: Mapping[str, Any], pace: float) -> Figures:
    length = pace if one["length"] is None else one["length"]
    return {
        "gain": one["success"] - start["success"],
        "haste": max(0.0, 1.0 - length / pace) if pace else 0.0,
        "divergence": one["divergence"],
        "halted": one["halted"],
        "doubt": 1.0 - one["agreed"],
    }


def _pace(made: Mapping[str, Any]) -> float:
    """Return the cloned policy's own imagined decisions to success, where no pace was asked for; 0 for none."""
    return float(made["candidates"][0]["length"] or 0.0)


def rows(found: Sequence[Figures]) -> list[list[str]]:
    """Return for each sign its rank correlation with the change of real success, with a bootstrap interval."""
    from worldrl.errors import DataError
    from worldrl.evaluation.ranking import rank_correlation

    if len(found) < FEWEST:
        return []
    change, lines = [one["change"] for one in found], []
    for name, text in SIGNS.items():
        values = [one[name] for one in found]
        try:
            rank = rank_correlation(np.array(values), np.array(change), seed=0)
        except DataError:
            lines.append([text, "-", "never differs"])
            continue
        lines.append([text, f"{rank.rho:+.2f}", f"[{rank.interval.low:+.2f}, {rank.interval.high:+.2f}]"])
    return lines
