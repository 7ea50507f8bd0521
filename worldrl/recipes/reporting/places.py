"""Where the parts of a run lie, and what kind of run it is."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from worldrl import checkpoint
from worldrl.errors import ConfigError

PARTS = (
    "summary.json", "evaluation.json", "world/model", "clone/config.json", "refined/refinement.json",
    "episodes/manifest.json", "evolution.json", "*.curves.json", "episodes/*/manifest.json", "world/*/model",
)  # fmt: skip
"""Any of these makes a folder a run."""
STAGES = {"policy": "policy", "world": "world", "world_model": "world"}
"""Kinds of what one stage makes, as its manifest has them, and what a page of it is called."""


@dataclass(frozen=True)
class Places:
    """The parts of a run, those that are there.

    Attributes:
        folder: Of the run.
        kind: ``run`` (of several stages), ``world`` or ``policy`` (what one stage made), ``online`` (of ``worldrl
            train``) or ``evolution``.
        episodes: Data sets by task; the name of a single one is empty.
        observations: Pipelines, likewise.
        worlds: Worlds, likewise; of an evolution the last one.
        policies: By name, what the run ends with last.
    """

    folder: Path
    kind: str
    episodes: dict[str, Path] = field(default_factory=dict)
    observations: dict[str, Path] = field(default_factory=dict)
    worlds: dict[str, Path] = field(default_factory=dict)
    policies: dict[str, Path] = field(default_factory=dict)

    def features(self, task: str) -> Path | None:
        """Return the feature cache of a task, or None."""
        found = self.folder / "features" / task
        return found if found.exists() else None


def find(folder: Path, *, episodes: str = "", observation: str = "", policy: str = "") -> Places:
    """Find the parts of a run.

    Args:
        folder: Of the run.
        episodes: Data set, or folder of one a task, that lies elsewhere; empty for what is in the folder.
        observation: Pipeline, likewise.
        policy: A policy that lies elsewhere; empty for those in the folder.

    Raises:
        ConfigError: If the folder is not there or no run; of one that holds runs they are named.
        CheckpointError: If a manifest is damaged.
    """
    kind = _kind(folder)
    for name, path in (("episodes", episodes), ("observation", observation), ("policy", policy)):
        if path and not Path(path).is_dir():
            raise ConfigError(f"{name} must be a folder, got '{path}': mend the path.")
    data, seen = Path(episodes or folder / "episodes"), Path(observation or folder / "observation")
    if kind == "evolution" and not observation:
        seen = _noted(folder, "observation") or seen
    policies = {folder.name: folder} if kind == "policy" else _policies(folder)
    return Places(
        folder, kind, episodes=_by_task(data, "manifest.json"), observations=_by_task(seen, "manifest.json"),
        worlds=_worlds(folder, kind), policies=policies | ({Path(policy).name: Path(policy)} if policy else {}),
    )  # fmt: skip


def _noted(folder: Path, part: str) -> Path | None:
    """Return where a run says that a part of it lies, if it lies there as seen from here."""
    file = folder / "config.json"
    path = str(checkpoint.read_json(file).get(part, "")) if file.is_file() else ""
    return Path(path) if path and Path(path).is_dir() else None


def _kind(folder: Path) -> str:
    """Return what kind of run a folder holds, or refuse it with what it holds instead."""
    wanted = f"run must be a folder that worldrl demo or a stage wrote, got '{folder}'"
    if not folder.is_dir():
        raise ConfigError(f"{wanted}: name another.")
    made = kind_of(folder)
    if made in STAGES:
        return STAGES[made]
    if kind_of(folder / "model") == "storm":
        return "online"
    if kind_of(folder / "model") == "world_model":
        return "world"
    if (folder / "first.json").is_file():
        return "evolution"
    if any(next(folder.glob(part), None) for part in PARTS):
        return "run"
    if any(kind_of(path) == "world_model" for path in folder.glob("*/model")):
        return "world"  # of several tasks, a folder each
    if "env_id" in _manifest(folder):
        raise ConfigError(f"{wanted}, which is a data set: worldrl inspect {folder} tells of it.")
    runs = sorted(path.parent for path in folder.glob("*/summary.json"))
    if runs:
        names = ", ".join(run.name for run in runs[:4]) + (", ..." if len(runs) > 4 else "")
        raise ConfigError(f"{wanted}, which holds the runs {names}: name one of them, e.g. worldrl report {runs[0]}.")
    raise ConfigError(f"{wanted}: name another.")


def _worlds(folder: Path, kind: str) -> dict[str, Path]:
    if kind == "world":
        return _by_task(folder, "model/manifest.json") or {"": folder}
    if kind == "online":
        return {}
    if kind == "evolution":
        numbered = [path for path in folder.glob("world-*") if path.name.removeprefix("world-").isdecimal()]
        made = [path for path in numbered if (path / "model" / "manifest.json").is_file()]
        return {"": max(made, key=lambda path: int(path.name.removeprefix("world-")))} if made else {}
    return _by_task(folder / "world", "model/manifest.json")


def _by_task(folder: Path, part: str) -> dict[str, Path]:
    """Return a folder if it holds something, else those of its folders that do, by name."""
    if (folder / part).is_file():
        return {"": folder}
    return {path.name: path for path in sorted(folder.glob("*/")) if (path / part).is_file()}


def _policies(folder: Path) -> dict[str, Path]:
    found = [path.parent for path in folder.glob("*/manifest.json") if kind_of(path.parent) == "policy"]
    return {path.name: path for path in sorted(found, key=lambda path: (path.name == "refined", path.name))}


def kind_of(folder: Path) -> str:
    """Return the kind of a checkpoint; empty where there is none."""
    return str(_manifest(folder).get("kind", ""))


def _manifest(folder: Path) -> dict[str, Any]:
    file = folder / "manifest.json"
    return checkpoint.read_json(file) if file.is_file() else {}
