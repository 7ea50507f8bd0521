"""What was timed, as a summary, a table and a plot."""

from collections.abc import Mapping, Sequence
from math import log2
from typing import Any

from worldrl.recipes.table import markdown
from worldrl.recipes.timing.rate import Row

HEADER = ("what", "batch", "sampling steps", "parameters", "rate", "MFLOP each", "of the limit", "memory (MB)")


def table(rows: Sequence[Row], summary: Mapping[str, Any], *, command: str) -> str:
    """Return rows and summary as markdown."""
    parts = ["Rates on this machine, as it was then: medians, beside others' work where there was any.", ""]
    for group in dict.fromkeys(row.group for row in rows):
        parts += [f"**{group}**", "", markdown(HEADER, [_line(row) for row in rows if row.group == group]), ""]
    told = [(name, _number(value)) for name, value in summary.items() if name != "machine"]
    parts += [
        markdown(("summary", ""), told), "",
        ", ".join(f"{name}: {_number(value)}" for name, value in summary["machine"].items()) + ".", "",
        "`of the limit`: of a large matrix product, timed just before, where operations are counted (those of matrix "
        "products and convolutions alone, as written out: a library that convolves by a faster algorithm can pass the "
        "limit, and so does what another process let through meanwhile); of a large copy, where bytes are moved, which "
        "what fits into the cache passes too.", "",
        f"Made by `{command}`.", "",
    ]  # fmt: skip
    return "\n".join(parts)


def _line(row: Row) -> tuple[str, ...]:
    return (
        row.name,
        str(row.batch),
        "-" if row.steps is None else str(row.steps),
        "-" if row.parameters is None else f"{row.parameters:,}",
        f"{row.rate:,.{0 if row.rate >= 100 else 1}f} {row.unit}/s",
        "-" if row.mflop is None else f"{row.mflop:,.1f}",
        "-" if row.share is None else f"{100 * row.share:.0f} %",
        "-" if row.memory_mb is None else f"{row.memory_mb:,.0f}",
    )


def _number(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or "-"
    return f"{value:,.0f}" if isinstance(value, int) or value >= 100 else f"{value:,.2f}"


def lines(rows: Sequence[Row], groups: Sequence[str]) -> dict[str, list[tuple[float, float]]]:
    """Return the share of the limit over the batch (as its logarithm), a line for each model and number of steps."""
    found: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        if row.group in groups and row.share is not None:
            found.setdefault(f"{row.name}, {row.steps} steps", []).append((log2(row.batch), row.share))
    return {name: sorted(points) for name, points in found.items() if len(points) > 1}
