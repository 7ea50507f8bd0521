"""Figures of several runs in one file: each is measured once, and a table beside the file shows all of them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from worldrl import checkpoint
from worldrl.recipes.options import check_json


class Ledger:
    """Rows in a JSON file, each of one run, and a markdown table of them beside it.

    Args:
        path: The file; made with the first row.
        names: What tells rows apart.

    Raises:
        ConfigError: If the name does not end in ``.json``.
        CheckpointError: If a file is there that cannot be read.
    """

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        check_json(path)
        self.path, self.names = path, tuple(names)
        self.rows: list[dict[str, Any]] = checkpoint.read_json(path)["rows"] if path.exists() else []

    def __contains__(self, names: Mapping[str, Any]) -> bool:
        return any(all(row[name] == names[name] for name in self.names) for row in self.rows)

    def add(self, row: dict[str, Any], *, table: Callable[[list[dict[str, Any]]], str]) -> None:
        """Put a row among the others, in place of one of its names, and write file and table.

        Raises:
            StorageError: If they cannot be written.
        """
        others = [each for each in self.rows if any(each[name] != row[name] for name in self.names)]
        self.rows = sorted([*others, row], key=lambda each: [str(each[name]) for name in self.names])
        self.path.parent.mkdir(parents=True, exist_ok=True)
        checkpoint.write_json(self.path, {"rows": self.rows})
        self.path.with_suffix(".md").write_text(table(self.rows))


def over_seeds(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[tuple[Any, ...], list[Any]]:
    """Gather the rows that differ in nothing but their seed."""
    gathered: dict[tuple[Any, ...], list[Any]] = {}
    for row in rows:
        gathered.setdefault(tuple(row[name] for name in names), []).append(row)
    return gathered
