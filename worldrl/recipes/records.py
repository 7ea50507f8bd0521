"""What finished cells found, kept with the results: the grid goes on from there where its run folders are gone."""

import json
from collections.abc import Iterable
from pathlib import Path

from worldrl import checkpoint


def restore(root: Path, kept: Path) -> None:
    """Give every recorded cell that has no run folder one that tells what it found, without its policy.

    Args:
        root: Run folder of the grid.
        kept: Folder of the records.
    """
    for file in sorted(kept.glob("*.json")):
        folder = root / "cells" / file.stem
        if folder.exists():
            continue
        folder.mkdir(parents=True)
        checkpoint.write_json(folder / "job.json", {"kind": "cell"})
        checkpoint.write_json(folder / "done.json", json.loads(file.read_text()) | {"restored": True})


def keep(root: Path, kept: Path, names: Iterable[str]) -> None:
    """Record what finished cells found, beside what earlier runs recorded.

    Args:
        root: Run folder of the grid.
        kept: Folder of the records; made if it is not there.
        names: Of the cells.
    """
    kept.mkdir(parents=True, exist_ok=True)
    for name in names:
        file = root / "cells" / name / "done.json"
        if file.exists() and not json.loads(file.read_text()).get("restored"):
            text = file.read_text().replace(f"{root}/", "")  # where it was run is nobody's business
            (kept / f"{name}.json").write_text(text)
