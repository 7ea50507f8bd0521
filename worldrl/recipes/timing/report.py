"""What was timed, as a summary, a table and a plot."""

from collections.abc import Callable, Mapping, Sequence
from math import log2, log10
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


def growth(rows: Sequence[Row], *, batch: int) -> dict[str, tuple[dict[str, list[tuple[float, float]]], str, str]]:
    """Return what is drawn of time and memory against the size of data sets and of models: lines, x and y.

    Args:
        rows: Everything that was timed.
        batch: Of the imagined environments whose models are compared.
    """
    kept = [row for row in rows if row.group == "data in files"]
    sized = [row for row in rows if row.parameters and row.batch == batch and row.group in SIZED]
    data, model = "transitions, as a power of ten", "parameters, as a power of ten"
    found = {
        "data-time": (_by(kept, _transitions, lambda row: 1e6 / row.rate), data, "microseconds each"),
        "data-memory": (_by(kept, _transitions, lambda row: row.memory_mb), data, "memory (MB)"),
        "model-time": (_by(sized, lambda row: row.parameters, lambda row: 1e6 / row.rate), model, "microseconds each"),
        "model-memory": (_by(sized, lambda row: row.parameters, lambda row: row.memory_mb), model, "memory (MB)"),
    }
    return {name: told for name, told in found.items() if told[0]}


SIZED = ("imagined tokens", "training")
"""Groups whose models are compared by size."""


def _transitions(row: Row) -> float:
    return float(row.name.split(", ")[1].split()[0].replace(",", "") if ", " in row.name else 0)


def _by(
    rows: Sequence[Row], x: Callable[[Row], float | None], y: Callable[[Row], float | None]
) -> dict[str, list[tuple[float, float]]]:
    """Return a line for each kind of row: ``y`` over the logarithm of ``x``."""
    found: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        across, up = x(row), y(row)
        if across and up is not None:
            kind = row.name.split(",")[0] if row.steps is None else f"{row.name.split(',')[0]}, {row.steps} step"
            found.setdefault(kind, []).append((log10(across), up))
    return {name: sorted(points) for name, points in found.items() if len(points) > 1}
