"""Whether folders hold what their manifests say, file by file."""

from dataclasses import dataclass
from pathlib import Path

from worldrl.checkpoint import read_json, sha256
from worldrl.errors import CheckpointError

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Verdict:
    """What was looked at: how many files were ``whole``, and one sentence for each that is ``damaged``."""

    whole: int = 0
    damaged: tuple[str, ...] = ()

    def __add__(self, other: "Verdict") -> "Verdict":
        return Verdict(self.whole + other.whole, self.damaged + other.damaged)


def verify_folder(folder: Path) -> Verdict:
    """Hold the files of one folder to its ``manifest.json``; folders inside it are not looked at.

    A manifest may list what it likes, but only files below its own folder are ever opened.
    """
    try:
        files = read_json(folder / MANIFEST).get("files", {})
    except CheckpointError as error:
        return Verdict(damaged=(str(error),))
    if not isinstance(files, dict):
        return Verdict(damaged=(f"{folder / MANIFEST} must list its files, got {type(files).__name__}.",))
    damaged = []
    for name, expected in files.items():
        path = folder / str(name)
        if not path.resolve().is_relative_to(folder.resolve()):
            damaged.append(f"{path} lies outside its folder.")
        elif not path.is_file():
            damaged.append(f"{path} is missing.")
        elif sha256(path) != expected:
            damaged.append(f"{path} does not match its manifest.")
    return Verdict(len(files) - len(damaged), tuple(damaged))


def verify_tree(folder: Path) -> Verdict:
    """Hold every folder below ``folder`` that has a manifest, itself included, to it; unfinished ones are left out."""
    found = sorted(path.parent for path in folder.rglob(MANIFEST) if ".tmp-" not in str(path.relative_to(folder)))
    return sum((verify_folder(one) for one in found), Verdict())
