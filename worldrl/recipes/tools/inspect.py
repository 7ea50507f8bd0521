"""``worldrl inspect PATH``: what lies there, without loading it."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from worldrl.cards import KINDS
from worldrl.checkpoint import read_json
from worldrl.errors import CheckpointError, ConfigError
from worldrl.recipes.results import Result
from worldrl.recipes.table import table
from worldrl.recipes.tools.places import data_sets, is_data_set, one_path, passing
from worldrl.verification import MANIFEST

LONG = 100


def inspect(words: Sequence[str]) -> Result:
    """Say of a checkpoint, a data set, or all that a run made, what it is; ``verify`` says whether it is whole.

    Raises:
        ConfigError: If there is not one path, or nothing of ours at it.
        CheckpointError: If a checkpoint does not say what it is.
        DataError: If a data set cannot be opened.
    """
    path = one_path("inspect", words)
    if is_data_set(path):
        found = [_data_set(path)]
    elif (path / MANIFEST).is_file():
        found = [_checkpoint(path)]
    else:
        sets = data_sets(path)
        checkpoints = [one.parent for one in sorted(path.rglob(MANIFEST)) if not passing(path, one)]
        own = [one for one in checkpoints if not any(one.is_relative_to(data) for data in sets)]
        found = [_data_set(one) for one in sets] + [_checkpoint(one) for one in own]
    if not found:
        raise ConfigError(f"{path} must be a checkpoint, a data set or a run, got a folder without a {MANIFEST} in it.")
    text = "\n\n".join(table([(name.replace("_", " "), _short(value)) for name, value in one.items()]) for one in found)
    return Result(text, found[0] if len(found) == 1 else {"path": path, "found": found})


def _checkpoint(path: Path) -> dict[str, Any]:
    """Return what a checkpoint says of itself, and the sizes of its tensors."""
    manifest = read_json(path / MANIFEST)
    config = read_json(path / "config.json") if (path / "config.json").exists() else {}
    kind, origin = str(manifest.get("kind")), config.get("origin", {})
    told: dict[str, Any] = {"path": str(path), "kind": kind}
    told |= {"what": KINDS[kind].what} if kind in KINDS else {}
    told |= {name: value for name, value in {**config, **origin}.items() if name != "origin"}
    told |= manifest.get("facts", {})
    if (path / "weights.safetensors").exists():
        told |= _tensors(path / "weights.safetensors")
    parts = sorted(one.parent.name for one in path.glob(f"*/{MANIFEST}"))
    told |= {"parts": parts} if parts else {}
    return told | {"worldrl": manifest.get("worldrl")}


def _tensors(file: Path) -> dict[str, int]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="np") as stored:
            sizes = [int(np.prod(stored.get_slice(name).get_shape())) for name in stored.keys()]  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{file} cannot be read: {error}. See worldrl verify.") from error
    return {"tensors": len(sizes), "parameters": sum(sizes)}


def _data_set(path: Path) -> dict[str, Any]:
    """Return what a data set holds: episodes, steps and successes by policy, shapes, versions."""
    from worldrl.data.dataset import Dataset

    dataset = Dataset(path)
    manifest = dataset.manifest
    won = Counter(e.policy for e in dataset if np.asarray(e.success).any())
    episodes = Counter(dataset.policies)
    policies = {
        who: {"episodes": count, "success": won[who] / count} for who, count in sorted(episodes.items())
    }  # fmt: skip
    return {
        "path": str(path), "kind": "data set", "task": manifest.env_id, "env_kwargs": manifest.env_kwargs,
        "episodes": len(dataset), "steps": dataset.num_steps, "policies": policies,
        "frames": list(manifest.frame_shape), "proprio_dim": manifest.proprio_dim, "act_dim": manifest.act_dim,
        "state_dim": manifest.state_dim, "objects": list(manifest.objects),
        "lacks": list(manifest.lacks), "created": manifest.created,
        "versions": manifest.versions, "format": manifest.format,
    }  # fmt: skip


def _short(value: Any) -> str:
    """Return a value as one short cell."""
    if isinstance(value, dict):
        value = ", ".join(f"{name}: {_short(one)}" for name, one in value.items())
    elif isinstance(value, list):
        value = ", ".join(_short(one) for one in value)
    elif isinstance(value, float):
        value = f"{value:.3g}"
    text = str(value)
    return text if len(text) <= LONG else f"{text[: LONG - 3]}..."
