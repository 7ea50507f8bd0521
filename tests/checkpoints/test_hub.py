"""To the hub goes the folder as it is; from it comes what its manifest vouches for; no test needs a network."""

import inspect
import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch

from worldrl import checkpoint
from worldrl.downloads import KEPT, check_repo, download, located
from worldrl.errors import CheckpointError, ConfigError
from worldrl.hub import pull, push_to_hub


def understood(function: Any, *args: Any, **kwargs: Any) -> None:
    """Hold a call to the signature of the library that is installed."""
    inspect.signature(function).bind(*args, **kwargs)


API = huggingface_hub.HfApi
SNAPSHOT = huggingface_hub.snapshot_download


class FakeHub:
    """Repositories as folders: what ``HfApi`` and ``snapshot_download`` do, on this disk."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.private: dict[str, bool] = {}
        self.branches: set[str | None] = {None, "main"}

    def HfApi(self, token: str | None = None) -> "FakeHub":  # noqa: N802 - its name
        return self

    def create_repo(self, repo_id: str, *, private: bool, exist_ok: bool) -> None:
        understood(API.create_repo, self, repo_id, private=private, exist_ok=exist_ok)
        self.private[repo_id] = private

    def create_branch(self, repo_id: str, *, branch: str, exist_ok: bool) -> None:
        understood(API.create_branch, self, repo_id, branch=branch, exist_ok=exist_ok)
        self.branches.add(branch)

    def upload_folder(self, *, repo_id: str, folder_path: Path, **rest: Any) -> str:
        understood(API.upload_folder, self, repo_id=repo_id, folder_path=folder_path, **rest)
        if rest["revision"] not in self.branches:
            raise ConnectionError(f"no branch {rest['revision']}")
        shutil.copytree(
            folder_path, self.root / repo_id, ignore=shutil.ignore_patterns(".tmp-*"), dirs_exist_ok=True
        )  # fmt: skip
        return f"https://hub/{repo_id}"

    def snapshot_download(self, repo_id: str, **rest: Any) -> str:
        understood(SNAPSHOT, repo_id, **rest)
        assert rest["allow_patterns"] == KEPT
        if not (self.root / repo_id).is_dir():
            raise ConnectionError("no such repository")
        return str(self.root / repo_id)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    fake = FakeHub(tmp_path / "hub")
    for name in ("HfApi", "snapshot_download"):
        monkeypatch.setattr(huggingface_hub, name, getattr(fake, name))
    return fake


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """A folder of two checkpoints with a manifest of its own, as a world is."""

    def write(folder: Path) -> None:
        for name in ("model", "starts"):
            checkpoint.save(folder / name, kind=name, config={"name": name}, tensors={"a": torch.ones(2)})
        checkpoint.seal(folder, kind="world", config={}, facts={"task": "t"})

    checkpoint.commit(tmp_path / "run" / "world", write)
    return tmp_path / "run" / "world"


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_pushed_is_the_folder_and_what_is_pulled_is_what_was_pushed(
    hub: FakeHub, world: Path, tmp_path: Path
) -> None:
    assert push_to_hub(world, "me/reach-world") == "https://hub/me/reach-world"
    assert files(hub.root / "me" / "reach-world") == files(world)
    assert hub.private == {"me/reach-world": True}
    assert files(pull("me/reach-world", tmp_path / "back")) == files(world)


def test_a_branch_that_is_not_there_is_made(hub: FakeHub, world: Path) -> None:
    push_to_hub(world, "me/w", revision="trial")
    assert "trial" in hub.branches


def test_a_checkpoint_loads_by_its_name_on_the_hub_and_so_does_a_part(hub: FakeHub, world: Path) -> None:
    push_to_hub(world, "me/w")
    assert located("hub:me/w") == hub.root / "me" / "w"
    assert checkpoint.load(Path("hub:me/w/model"), kind="model").config == {"name": "model"}


@pytest.mark.fault(2)
def test_damage_is_neither_pushed_nor_pulled(hub: FakeHub, world: Path, tmp_path: Path) -> None:
    """Fault 2: one changed byte stops the upload, and the download."""
    push_to_hub(world, "me/w")
    for folder in (world, hub.root / "me" / "w"):
        (folder / "model" / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="does not match its manifest"):
        push_to_hub(world, "me/other")
    assert "me/other" not in hub.private
    with pytest.raises(CheckpointError, match="does not match its manifest"):
        pull("me/w", tmp_path / "back")
    assert not (tmp_path / "back").exists()
    with pytest.raises(CheckpointError, match="does not match its manifest"):
        checkpoint.load(Path("hub:me/w/model"), kind="model")


@pytest.mark.fault(23)
@pytest.mark.parametrize(
    "name",
    ["", "world", "a/b/c", "../a", "a/..", "/a/b", "a b/c", "a/b\0", "-a/b", "a/b-", "a--b/c", "\u0430/b", "a" * 300],
)
def test_a_bad_name_is_refused_before_anything_is_asked(name: str, hub: FakeHub, world: Path) -> None:
    """Fault 23: as for data sets."""
    with pytest.raises(ConfigError, match="must be 'owner/name'"):
        check_repo(name)
    with pytest.raises(ConfigError, match="must be 'owner/name'"):
        push_to_hub(world, name)
    assert not hub.private


def test_a_part_cannot_lead_out_of_the_download(hub: FakeHub, world: Path) -> None:
    push_to_hub(world, "me/w")
    with pytest.raises(ConfigError, match="must be 'owner/name'"):
        located("hub:me/w/../../../etc")


def test_a_path_is_never_looked_up(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *a, **k: pytest.fail("looked up"))
    with pytest.raises(CheckpointError, match=r"no manifest\.json in me/w"):
        checkpoint.load(Path("me/w"), kind="model")


def test_what_is_not_there_is_one_sentence(hub: FakeHub) -> None:
    with pytest.raises(ConfigError, match=r"me/none must be on the hub and within reach, got ConnectionError: no such"):
        download("me/none")


@pytest.mark.fault(60)
def test_without_network_and_cache_the_error_is_ours_and_comes_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault 60: the library itself, told to stay offline, with an empty cache."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ConfigError, match="HF_HUB_OFFLINE"):
        download("me/none")


def test_what_is_no_checkpoint_is_not_pushed(hub: FakeHub, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="must be a checkpoint"):
        push_to_hub(tmp_path, "me/w")
