"""How a checkpoint is refused, and a disk that is full."""

from pathlib import Path
from typing import Any

import pytest

from worldrl import checkpoint
from worldrl.errors import CheckpointError

WEIGHTS = "weights.safetensors"


def refusal(path: Path, kind: str = "toy") -> str:
    """Return the sentence with which a checkpoint is refused."""
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(path, kind=kind)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def full_disk(*_: Any, **__: Any) -> None:
    raise OSError(28, "No space left on device")
