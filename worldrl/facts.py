"""What becomes known of a checkpoint after it was saved: the task, the data, how it did in MuJoCo."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

from worldrl import checkpoint
from worldrl.cards import card
from worldrl.downloads import located


def tell(path: Path, **facts: Any) -> None:
    """Put what is known of a saved checkpoint into its manifest and its card; no other file is touched.

    Args:
        path: The folder; replaced whole by one with the same files.
        facts: As in ``checkpoint.seal``; they join those that are there.

    Raises:
        CheckpointError: If it is not a checkpoint.
        StorageError: If it cannot be written.
    """
    path = Path(path)
    manifest = checkpoint.read_json(path / "manifest.json")
    config = checkpoint.read_json(path / "config.json") if (path / "config.json").exists() else {}
    known = {**manifest.get("facts", {}), **facts}

    def write(folder: Path) -> None:
        shutil.copytree(path, folder, dirs_exist_ok=True, copy_function=_share)
        for name in ("README.md", "manifest.json"):  # these two must not be written through the links
            (folder / name).unlink(missing_ok=True)
        text = card(str(manifest.get("kind")), config, known, version=str(manifest.get("worldrl")))
        (folder / "README.md").write_text(text)
        files = manifest.get("files", {}) | {"README.md": checkpoint.sha256(folder / "README.md")}
        changed = manifest | {"files": files, "facts": known}
        (folder / "manifest.json").write_text(json.dumps(changed, indent=2, allow_nan=False) + "\n")

    checkpoint.commit(path, write)


def tell_whole(path: Path, **facts: Any) -> None:
    """Put what is known into the card of a checkpoint and of each one that is a part of it, as those of a world are.

    What else has a manifest, such as a data set, is left alone.

    Args:
        path: The folder; it may hold parts alone.
        facts: As for ``tell``.

    Raises:
        CheckpointError: If something there is not a checkpoint.
        StorageError: If it cannot be written.
    """
    path = Path(path)
    for manifest in (path / "manifest.json", *sorted(path.glob("*/manifest.json"))):
        if manifest.is_file() and "kind" in checkpoint.read_json(manifest):
            tell(manifest.parent, **facts)


def known(path: Path | str) -> dict[str, Any]:
    """Return the facts that a checkpoint's manifest holds; none where nothing was told, as of a world without one.

    Raises:
        CheckpointError: If its manifest cannot be read.
        ConfigError: If it is to come from the hub, and cannot be had there.
    """
    file = located(path) / "manifest.json"  # the first worlds had none of their own, only their parts
    return dict(checkpoint.read_json(file).get("facts", {})) if file.exists() else {}


def _share(source: str, target: str) -> None:
    """Let a second name lead to a file; where the file system has no such thing, copy it."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
