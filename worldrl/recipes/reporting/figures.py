"""What a run left on the disk, read without running or believing any of it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worldrl import checkpoint
from worldrl.errors import ConfigError, WorldRLError, first_line
from worldrl.recipes.reporting.places import Places

SECRET = re.compile("token|key|secret|password", re.IGNORECASE)
HIDDEN = "(not shown)"
Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Run:
    """What a run left; None, or nothing, stands for what it lacks.

    ``config``, ``summary``, ``evaluation``, ``refinement`` and ``evolution`` are the JSON of its stages; ``known`` what
    ``worldrl fit`` said of each world, by task; ``curves`` points ``(step, value)`` by their label; ``data`` what each
    data set is, by task; ``facts`` what the manifest of a single checkpoint says.
    """

    places: Places
    config: dict[str, Any] | None
    summary: dict[str, Any] | None
    evaluation: dict[str, Any] | None
    refinement: dict[str, Any] | None
    evolution: dict[str, Any] | None
    known: dict[str, dict[str, Any]]
    curves: dict[str, Points]
    data: dict[str, dict[str, Any]]
    facts: dict[str, Any]

    @property
    def folder(self) -> Path:
        """The folder of the run."""
        return self.places.folder


def read(places: Places) -> Run:
    """Read what a run left.

    Raises:
        CheckpointError: If one of its files is damaged.
        ConfigError: If one of its files is of something else.
    """
    folder = places.folder
    refined = folder if places.kind == "policy" else folder / "refined"
    summary = _json(folder / "summary.json")
    own = {"run": _json(folder / "config.json"), "evolution": _json(folder / "config.json")}
    known = {task: _json(world / "fidelity.json") for task, world in places.worlds.items()}
    return Run(
        places=places,
        config=(summary or {}).get("config") if places.kind == "online" else own.get(places.kind),
        summary=summary,
        evaluation=_json(folder / "evaluation.json"),
        refinement=_json(refined / "refinement.json"),
        evolution=_json(folder / "evolution.json"),
        known={task: figures for task, figures in known.items() if figures is not None},
        curves=_curves(folder, alone=places.kind in ("world", "policy")),
        data={task: _data(path) for task, path in places.episodes.items()},
        facts=(_json(folder / "manifest.json") or {}).get("facts", {}),
    )


def redacted(value: Any) -> Any:
    """Return JSON without the values whose keys sound secret."""
    if isinstance(value, dict):
        return {k: HIDDEN if SECRET.search(str(k)) and v else redacted(v) for k, v in value.items()}
    return [redacted(one) for one in value] if isinstance(value, list) else value


def _json(path: Path) -> dict[str, Any] | None:
    return checkpoint.read_json(path) if path.is_file() else None


def _curves(folder: Path, *, alone: bool) -> dict[str, Points]:
    """Return the curves of a run; where stages have curves of one name, they stand behind the name of their stage."""
    beside = folder.with_name(f"{folder.name}.curves.json")  # of a folder that is one stage's output
    inside = [] if alone else sorted(folder.glob("*.curves.json"))
    read = {path: _points_of(path) for path in [*inside, *([beside] if beside.is_file() else [])]}
    labels = [label for curves in read.values() for label in curves]
    found = dict[str, Points]()
    for path, curves in read.items():
        stage = path.name.removesuffix(".curves.json")
        found |= {
            label if labels.count(label) == 1 else f"{stage}: {label}": points for label, points in curves.items()
        }
    return found


def _points_of(path: Path) -> dict[str, Points]:
    told: Iterable[tuple[str, Any]] = checkpoint.read_json(path).items()
    try:
        found = {label: [(float(step), float(value)) for step, value in points] for label, points in told}
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{path} must hold points of a step and a value, got others: remove it.") from error
    return {label: points for label, points in found.items() if points}


def _data(folder: Path) -> dict[str, Any]:
    """Return what a data set holds; ``problem`` says why it cannot be read."""
    from worldrl.data.dataset import Dataset

    try:
        dataset = Dataset(folder)
        about = {"id": dataset.manifest.env_id, "kwargs": dict(dataset.manifest.env_kwargs)}
        found: dict[str, Any] = {"steps": dataset.num_steps, "hash": dataset.identity(), "env": about, "policies": {}}
        known = "success" not in dataset.manifest.lacks
        for who, length, episode in zip(dataset.policies, dataset.lengths.tolist(), dataset, strict=True):
            kind = found["policies"].setdefault(who, {"episodes": 0, "steps": 0, "successes": 0 if known else None})
            kind["episodes"] += 1
            kind["steps"] += int(length)
            if known:
                kind["successes"] += bool(episode.success.any())
    except WorldRLError as error:
        return {"problem": first_line(error)}
    return found
