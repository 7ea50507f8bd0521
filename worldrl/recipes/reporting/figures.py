"""What a run left on the disk, read without running or believing any of it."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worldrl import checkpoint
from worldrl.errors import ConfigError, WorldRLError, first_line

PARTS = (
    "summary.json", "evaluation.json", "world/model", "model/manifest.json", "clone/config.json",
    "refined/refinement.json", "refinement.json", "episodes/manifest.json",
)  # fmt: skip
"""Any of these makes a folder a run."""
SECRET = re.compile("token|key|secret|password", re.IGNORECASE)
HIDDEN = "(not shown)"


@dataclass(frozen=True)
class Run:
    """A run folder; None, or nothing, stands for what it lacks.

    ``config``, ``summary``, ``evaluation``, ``refinement``, ``known`` (``world/fidelity.json``) and ``fidelity`` (that
    of ``worldrl fidelity``) are the JSON of its stages; ``curves`` losses ``(step, loss)`` by their label; ``data``
    what the data set is; ``world`` the folder of its world.
    """

    folder: Path
    config: dict[str, Any] | None
    summary: dict[str, Any] | None
    evaluation: dict[str, Any] | None
    refinement: dict[str, Any] | None
    known: dict[str, Any] | None
    fidelity: dict[str, Any] | None
    curves: dict[str, list[tuple[float, float]]]
    data: dict[str, Any] | None
    world: Path | None


def read(folder: Path) -> Run:
    """Read what a run left.

    Raises:
        ConfigError: If the folder is not there or no run.
        CheckpointError: If one of its files is damaged.
    """
    if not folder.is_dir() or not any((folder / part).exists() for part in PARTS):
        raise ConfigError(f"run must be a folder that worldrl demo or a stage wrote, got '{folder}': name another.")
    world = next((one for one in (folder / "world", folder) if (one / "model" / "manifest.json").exists()), None)
    refined = folder / "refined" if (folder / "refined").exists() else folder
    top = None if world == folder or (folder / "manifest.json").exists() else _json(folder / "config.json")
    return Run(
        folder=folder,
        config=top,
        summary=_json(folder / "summary.json"),
        evaluation=_json(folder / "evaluation.json"),
        refinement=_json(refined / "refinement.json"),
        known=None if world is None else _json(world / "fidelity.json"),
        fidelity=None if world == folder else _json(folder / "fidelity.json"),
        curves=_curves(folder),
        data=_data(folder / "episodes"),
        world=world,
    )


def redacted(value: Any) -> Any:
    """Return JSON without the values whose keys sound secret."""
    if isinstance(value, dict):
        return {k: HIDDEN if SECRET.search(str(k)) and v else redacted(v) for k, v in value.items()}
    return [redacted(one) for one in value] if isinstance(value, list) else value


def _json(path: Path) -> dict[str, Any] | None:
    return checkpoint.read_json(path) if path.is_file() else None


def _curves(folder: Path) -> dict[str, list[tuple[float, float]]]:
    found: dict[str, list[tuple[float, float]]] = {}
    own = folder.with_name(f"{folder.name}.curves.json")  # of a folder that is one stage's output
    for path in [*sorted(folder.glob("*.curves.json")), *([own] if own.is_file() else [])]:
        for label, points in checkpoint.read_json(path).items():
            try:
                found[label] = [(float(step), float(loss)) for step, loss in points]
            except (TypeError, ValueError) as error:
                raise ConfigError(f"{path} must hold points of a step and a loss, got others: remove it.") from error
    return {label: points for label, points in found.items() if points}


def _data(folder: Path) -> dict[str, Any] | None:
    """Return what a data set holds; ``problem`` says why it cannot be read."""
    from worldrl.data.dataset import Dataset

    if not (folder / "manifest.json").is_file():
        return None
    try:
        dataset = Dataset(folder)
        found: dict[str, Any] = {"steps": dataset.num_steps, "hash": dataset.identity(), "policies": {}}
        for who, length, episode in zip(dataset.policies, dataset.lengths.tolist(), dataset, strict=True):
            kind = found["policies"].setdefault(who, {"episodes": 0, "steps": 0, "successes": 0})
            kind["episodes"] += 1
            kind["steps"] += int(length)
            kind["successes"] += bool(episode.success.any())
    except WorldRLError as error:
        return {"problem": first_line(error)}
    return found
