"""Makes ``docs/faults.md`` of the rows and of the marks that tests carry: ``python tests/faults/fault_table.py``."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from fault_rows import CHAPTERS, ROWS

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "faults.md"
HEAD = """# Faults and bad inputs

What happens when something goes wrong, and the tests that make it go wrong: `pytest -m fault` runs them all. This page
is made by `python tests/faults/fault_table.py`.
"""


def rows_tested() -> dict[int, list[str]]:
    """Return the tests that carry the mark of each row, as ``file::test``."""
    found: defaultdict[int, list[str]] = defaultdict(list)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        tree = ast.parse(path.read_text())
        everywhere = [row for node in tree.body if isinstance(node, ast.Assign) for row in _marked(node.value)]
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                for row in {*everywhere, *(row for one in node.decorator_list for row in _marked(one))}:
                    found[row].append(f"{path.relative_to(ROOT)}::{node.name}")
    return found


def _marked(node: ast.AST) -> Iterator[int]:
    """Yield the rows in every ``pytest.mark.fault(...)`` of an expression."""
    for call in ast.walk(node):
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "pytest.mark.fault":
            yield from (ast.literal_eval(argument) for argument in call.args)


def page() -> str:
    """Return what ``docs/faults.md`` must be."""
    tests = rows_tested()
    parts = [HEAD]
    for chapter, rows in CHAPTERS.items():
        lines = [f"| {row} | {ROWS[row].fault} | {ROWS[row].promise} | {_answer(row, tests[row])} |" for row in rows]
        parts.append(
            "\n".join([f"## {chapter}\n", "| # | fault | promise | answered by |", "|---|---|---|---|", *lines])
        )
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _answer(row: int, tests: list[str]) -> str:
    """Return what answers a row: the names of tests under their files, and a remark."""
    files: defaultdict[str, list[str]] = defaultdict(list)
    for test in tests:
        file, _, name = test.partition("::")
        files[file].append(f"`{name}`")
    named = [f"`{file}`: {', '.join(names)}" for file, names in files.items()]
    return "<br>".join(part for part in [*named, ROWS[row].remark] if part)


if __name__ == "__main__":
    PAGE.write_text(page())
