"""Rows are kept in the order of their names, one of each."""

from pathlib import Path
from typing import Any

import pytest

from worldrl.errors import ConfigError
from worldrl.recipes.ledger import Ledger, over_seeds


def told(rows: list[dict[str, Any]]) -> str:
    return ", ".join(f"{row['task']}{row['seed']}={row['figure']}" for row in rows)


def test_rows_are_kept_and_one_of_the_same_names_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "new" / "figures.json"
    for task, seed, figure in (("b", 0, 1), ("a", 1, 2), ("a", 0, 3), ("a", 1, 4)):
        Ledger(path, ("task", "seed")).add({"task": task, "seed": seed, "figure": figure}, table=told)
    ledger = Ledger(path, ("task", "seed"))
    assert path.with_suffix(".md").read_text() == told(ledger.rows) == "a0=3, a1=4, b0=1"
    assert {"task": "a", "seed": 1} in ledger and {"task": "b", "seed": 1} not in ledger
    groups = over_seeds(ledger.rows, ("task",))
    assert [(name, len(rows)) for name, rows in groups.items()] == [(("a",), 2), (("b",), 1)]


def test_the_table_needs_a_name_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"out must be a file that ends in .json, got '.*figures.md'"):
        Ledger(tmp_path / "figures.md", ("task",))
