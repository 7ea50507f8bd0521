"""Rows of text as aligned columns, or as a markdown table."""

from collections.abc import Iterable, Sequence
from typing import Any


def table(rows: Iterable[Sequence[str]], *, indent: str = "") -> str:
    """Return the rows, a line each, every column but the last as wide as its widest cell.

    Args:
        rows: All of one length.
        indent: Stands before every line.
    """
    cells = [tuple(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells)
    return "\n".join((indent + line).rstrip() for line in lines)


def markdown(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
