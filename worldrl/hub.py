"""Checkpoints to and from the Hugging Face hub; everything that has a manifest, whatever its kind.

Two functions rather than its ``ModelHubMixin``: that makes a class of ours a subclass of theirs, names config and
weights itself, and knows nothing of manifests, nor of folders of several checkpoints, such as a world.
"""

import shutil
from pathlib import Path

from worldrl import checkpoint
from worldrl.downloads import check_repo, download, library, refusal
from worldrl.errors import CheckpointError, ConfigError
from worldrl.verification import MANIFEST, Verdict, verify_tree


def push_to_hub(
    folder: Path | str, repo_id: str, *, private: bool = True, token: str | None = None, revision: str | None = None
) -> str:
    """Upload a checkpoint folder as it is, made a model repository if there is none, and return its address.

    Args:
        folder: What ``save_pretrained`` wrote.
        repo_id: ``owner/name``.
        private: Whether a repository that is made is private.
        token: Of an account that may write; None for the one that is logged in.
        revision: Branch, made from the main one if there is none; None for the main one.

    Raises:
        ConfigError: If the name is malformed, or the hub cannot be reached or refuses.
        CheckpointError: If the folder is not a whole checkpoint.
    """
    folder = Path(folder)
    check_repo(repo_id)
    _whole(folder, str(folder))
    api = library().HfApi(token=token)
    try:
        api.create_repo(repo_id, private=private, exist_ok=True)
        if revision is not None:
            api.create_branch(repo_id, branch=revision, exist_ok=True)  # an upload to none that is there is refused
        done = api.upload_folder(
            repo_id=repo_id, folder_path=folder, revision=revision, ignore_patterns=[".tmp-*", "**/.tmp-*"],
            commit_message="Checkpoint of worldrl",
        )  # fmt: skip
    except Exception as error:
        raise refusal(error, repo_id) from error
    return str(done)


def pull(repo_id: str, folder: Path | str, *, revision: str | None = None, token: str | None = None) -> Path:
    """Download a checkpoint, verify every file of it, and put it into a new folder.

    Raises:
        ConfigError: If the name is malformed, the folder is there already, or the hub has no such thing.
        CheckpointError: If what came is not a whole checkpoint; nothing is left of it in ``folder``.
        StorageError: If it cannot be written.
    """
    folder = Path(folder)
    if folder.exists():
        raise ConfigError(f"the folder must be a new one, got '{folder}': name another.")
    found = download(repo_id, revision=revision, token=token)
    _whole(found, repo_id)
    checkpoint.commit(folder, lambda staged: _copy(found, staged))
    return folder


def _whole(folder: Path, name: str) -> Verdict:
    if not (folder / MANIFEST).is_file() and not any(folder.glob(f"*/{MANIFEST}")):
        raise CheckpointError(f"{name} must be a checkpoint, with a {MANIFEST}: see worldrl inspect.")
    verdict = verify_tree(folder)
    if verdict.damaged:
        raise CheckpointError(f"{name} is damaged: {verdict.damaged[0]} See worldrl verify.")
    return verdict


def _copy(found: Path, staged: Path) -> None:
    """Copy what lies in the hub's cache, which keeps files as links to blobs."""
    for file in sorted(found.rglob("*")):
        if file.is_file():
            target = staged / file.relative_to(found)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
