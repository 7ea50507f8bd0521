"""Weights of policies that stable-baselines3 saved, without the pickles that lie beside them."""

import io
import zipfile
from pathlib import Path

from torch import Tensor

from worldrl.errors import CheckpointError
from worldrl.torch_file import read_state

MEMBER = "policy.pth"
MAX_BYTES = 2**31
"""A policy of more is refused before memory is taken for it (our choice)."""


def weights_of_sb3(path: Path) -> dict[str, Tensor]:
    """Read the weights of the policy in a zip that stable-baselines3 saved.

    ``PPO.load`` unpickles what else is in the file, and so runs whatever its maker put there; this does not look at it.
    The model is to be made as it was made then, and its policy filled:
    ``checkpoint.load_state(model.policy, weights_of_sb3(path), path=path)``.

    Raises:
        CheckpointError: If there is no such file, it is damaged, or its policy is not made of tensors.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            size = archive.getinfo(MEMBER).file_size
            if size > MAX_BYTES:
                raise CheckpointError(f"{path} must have a {MEMBER} of at most {MAX_BYTES} bytes, got {size}.")
            content = archive.read(MEMBER)
    except (OSError, KeyError, ValueError, EOFError, RuntimeError, NotImplementedError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{path} must be a zip of stable-baselines3 with a {MEMBER}, got {error}.") from error
    return read_state(io.BytesIO(content), name=f"{MEMBER} of {path}")
