"""Checkpoints that lie on the Hugging Face hub: ``hub:owner/name``, or ``hub:owner/name/part`` for a part of one.

Only that prefix downloads. A path is never looked up, and with ``HF_HUB_OFFLINE=1`` only what was downloaded before is
found. What arrives is JSON, safetensors, markdown and arrays, never anything that could run; whoever loads it checks it
against its manifest.
"""

import os
import re
from pathlib import Path
from typing import Any

from worldrl.errors import ConfigError, StorageError, first_line

PREFIX = "hub:"
KEPT = ["*.json", "*.safetensors", "*.md", "*.npy", "*.npz"]
"""What is ever downloaded: nothing in it can run code when it is read."""
_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?"
_NAME = re.compile(rf"{_PART}/{_PART}", re.ASCII)
TIMEOUT_S = 10


def located(path: Path | str) -> Path:
    """Return a path as it is, or, of ``hub:owner/name``, the folder that it was downloaded to.

    Raises:
        ConfigError: If the name is malformed, or there is nothing of that name to be had.
    """
    text = os.fspath(path)
    if not text.startswith(PREFIX):
        return Path(path)
    parts = text.removeprefix(PREFIX).split("/")
    if ".." in parts or "." in parts:
        raise ConfigError(f"the name on the hub must be 'owner/name', got {text!r}.")
    return download("/".join(parts[:2])).joinpath(*parts[2:])


def check_repo(repo_id: str) -> str:
    """Return a name on the hub if it is one.

    Raises:
        ConfigError: If it is not ``owner/name`` as the hub has it.
    """
    if not _NAME.fullmatch(repo_id) or "--" in repo_id or ".." in repo_id:
        raise ConfigError(
            f"the name on the hub must be 'owner/name' in letters, digits, '-', '_' and '.', got {repo_id!r}."
        )
    return repo_id


def download(repo_id: str, *, revision: str | None = None, token: str | None = None) -> Path:
    """Bring a checkpoint from the hub into its cache, or find it there, and return its folder.

    Args:
        repo_id: ``owner/name``.
        revision: Branch, tag or commit; None for the newest.
        token: Of an account that may read it; None for the one that is logged in, if any.

    Raises:
        ConfigError: If the name is malformed, or neither the network nor the cache has it.
        StorageError: If it cannot be written.
    """
    check_repo(repo_id)
    hub = library()
    try:
        found = hub.snapshot_download(
            repo_id, revision=revision, token=token, allow_patterns=KEPT, etag_timeout=TIMEOUT_S
        )
    except Exception as error:
        raise refusal(error, repo_id) from error
    return Path(found)


def library() -> Any:
    """Import what speaks to the hub; its import alone is most of a second."""
    import huggingface_hub

    return huggingface_hub


def refusal(error: Exception, repo_id: str) -> Exception:
    """Return what the library said in one sentence of ours."""
    if isinstance(error, OSError) and error.errno and not isinstance(error, ConnectionError | TimeoutError):
        return StorageError(f"{repo_id} cannot be kept here: {first_line(error)}. Free some space.")
    return ConfigError(
        f"{repo_id} must be on the hub and within reach, got {type(error).__name__}: {first_line(error)}. "
        "Check the name, the network and HF_HUB_OFFLINE, or download it elsewhere and name its folder."
    )
