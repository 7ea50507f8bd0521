"""JSON that others may have written: read only where it is small, plain and unambiguous."""

import json
from pathlib import Path
from typing import Any

from worldrl.errors import CheckpointError

MAX_JSON_BYTES = 16 * 2**20


def read_json(path: Path) -> dict[str, Any]:
    """Read one JSON object of at most 16 MB.

    Raises:
        CheckpointError: If there is none: no file, or one that is too large, no JSON, nested too deeply, has numbers
            that are none, or a name twice in one object, of which another reader might take the other value.
    """
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise CheckpointError(f"{path} must be at most {MAX_JSON_BYTES} bytes, got {path.stat().st_size}.")
        value = json.loads(
            path.read_text(encoding="utf-8"), parse_constant=_refuse_constant, object_pairs_hook=_refuse_twice
        )
    except FileNotFoundError as error:
        raise CheckpointError(f"no {path.name} in {path.parent}: that is not a finished checkpoint.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read as JSON: {error}.") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} must hold a JSON object, got {type(value).__name__}.")
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _refuse_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"'{next(name for name in names if names.count(name) > 1)}' is there twice")
    return value
