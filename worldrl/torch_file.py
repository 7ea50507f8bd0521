"""The one place that calls ``torch.load``: files of PyTorch are zips of pickles, of which only tensors are let out."""

from pathlib import Path
from typing import IO

import torch
from torch import Tensor

from worldrl.errors import CheckpointError, first_line


def read_state(file: Path | IO[bytes], *, name: str = "") -> dict[str, Tensor]:
    """Read a PyTorch state dict without running anything that is in it.

    Args:
        file: Where it is.
        name: What it is called where it is refused; the path if empty.

    Raises:
        CheckpointError: If it cannot be read, or holds anything but tensors by name.
    """
    name = name or str(file)
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch answers a damaged file with whatever its reader trips over
        raise CheckpointError(f"{name} cannot be read as plain weights: {first_line(error)}.") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"{name} must hold tensors by name, got {type(state).__name__}: save its state dict.")
    return {str(key): value for key, value in state.items()}
