"""A good checkpoint for every test of the room; what the tests do to it and ask of it is in ``toy``."""

import sys
from pathlib import Path

import pytest
import torch

from worldrl import checkpoint

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A good checkpoint, alone in its parent folder."""
    path = tmp_path / "run" / "model"
    checkpoint.save(path, kind="toy", config={"width": 2}, tensors={"a": torch.arange(64.0), "b": torch.ones(2, 3)})
    return path
