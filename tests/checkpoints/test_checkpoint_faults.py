"""Faults in checkpoints: hostile files, full disks, and what dead runs left behind."""

import json
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from toy import WEIGHTS, full_disk, refusal

from worldrl import checkpoint, disk
from worldrl.errors import CheckpointError, StorageError


def rewrite(path: Path, name: str, content: bytes) -> None:
    """Replace a file and let the manifest agree with it, as an attacker would."""
    (path / name).write_bytes(content)
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["files"][name] = checkpoint.sha256(path / name)
    (path / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.fault(1)
def test_truncated_weights_are_refused_even_if_the_manifest_agrees(folder: Path) -> None:
    rewrite(folder, WEIGHTS, (folder / WEIGHTS).read_bytes()[:100])
    assert WEIGHTS in refusal(folder)


@pytest.mark.fault(3)
def test_a_folder_that_is_not_there_is_not_a_finished_checkpoint(tmp_path: Path) -> None:
    assert "not a finished checkpoint" in refusal(tmp_path / "nothing")


@pytest.mark.fault(3)
@pytest.mark.parametrize("files", [None, [], {}, {"config.json": "0"}, "config.json"])
def test_a_manifest_that_lists_nothing_useful_is_refused(folder: Path, files: Any) -> None:
    (folder / "manifest.json").write_text(json.dumps({"kind": "toy", "files": files}))
    assert "manifest.json must list" in refusal(folder)


class Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


@pytest.mark.fault(8)
def test_a_pickle_under_the_name_of_weights_is_refused_and_not_run(folder: Path, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    rewrite(folder, WEIGHTS, pickle.dumps(Payload(marker)))
    assert WEIGHTS in refusal(folder)
    assert not marker.exists()


@pytest.mark.fault(11)
@pytest.mark.parametrize(
    "config", ["[" * 100_000, '{"a": NaN}', '{"a": -Infinity}', "[1]", "7", "{", "", '{"a": "\\x"}']
)
def test_a_config_that_is_not_a_json_object_is_refused(folder: Path, config: str) -> None:
    rewrite(folder, "config.json", config.encode())
    assert "config.json" in refusal(folder)


@pytest.mark.fault(11)
def test_a_config_that_is_not_text_is_refused(folder: Path) -> None:
    rewrite(folder, "config.json", b"\xff\xfe\x00")
    assert "config.json" in refusal(folder)


@pytest.mark.fault(11)
def test_a_huge_config_is_refused_before_it_is_read(folder: Path) -> None:
    with (folder / "config.json").open("wb") as file:
        file.truncate(200 * 2**20)  # sparse
    began = time.perf_counter()
    with pytest.raises(CheckpointError, match="must be at most 16777216 bytes, got 209715200"):
        checkpoint.read_json(folder / "config.json")
    assert time.perf_counter() - began < 1.0


@pytest.mark.fault(11)
def test_a_config_with_nan_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        checkpoint.save(tmp_path / "x", kind="toy", config={"a": float("nan")}, tensors={})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.fault(6)
@pytest.mark.parametrize("what", ["fsync", "rename", "save_file"])
def test_a_full_disk_keeps_the_old_checkpoint_and_leaves_nothing_behind(
    folder: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(disk, "_exchange", lambda left, right: False)
    owner: Any = {"fsync": os, "rename": Path, "save_file": __import__("safetensors.torch").torch}[what]
    with monkeypatch.context() as patch:
        patch.setattr(owner, what, full_disk)
        with pytest.raises(StorageError, match=r"cannot be written: .*No space left.*Free some space"):
            checkpoint.save(folder, kind="toy", config={"width": 3}, tensors={})
    assert checkpoint.load(folder, kind="toy").config == {"width": 2}
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


@pytest.mark.fault(6)
def test_the_way_in_which_safetensors_reports_a_full_disk_is_a_storage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import safetensors.torch

    def broken(*_: Any, **__: Any) -> None:
        raise safetensors.SafetensorError("I/O error: No space left on device")

    monkeypatch.setattr(safetensors.torch, "save_file", broken)
    with pytest.raises(StorageError, match="No space left"):
        checkpoint.save(tmp_path / "x", kind="toy", config={}, tensors={})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.fault(7)
def test_a_file_where_a_folder_has_to_be_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="choose another folder"):
        checkpoint.save(tmp_path / "file" / "x", kind="toy", config={}, tensors={})


@pytest.mark.parametrize("exchanges", [True, False])
def test_an_existing_folder_is_replaced_whole(folder: Path, monkeypatch: pytest.MonkeyPatch, exchanges: bool) -> None:
    if not exchanges:
        monkeypatch.setattr(disk, "_exchange", lambda left, right: False)
    (folder / "stray").write_text("")
    checkpoint.save(folder, kind="toy", config={"width": 3}, tensors={})
    assert checkpoint.load(folder, kind="toy").config == {"width": 3}
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "manifest.json", WEIGHTS]
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


@pytest.mark.fault(3, 4)
def test_leftovers_of_dead_runs_are_swept_and_those_of_living_ones_kept(folder: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for name in (f".tmp-model-{dead.pid}", f".tmp-model-{os.getppid()}", f".tmp-model-2-{dead.pid}"):
        (folder.parent / name).mkdir()
    checkpoint.save(folder, kind="toy", config={}, tensors={})
    left = {path.name for path in folder.parent.iterdir()}
    assert left == {"model", f".tmp-model-{os.getppid()}", f".tmp-model-2-{dead.pid}"}


@pytest.mark.fault(4)
def test_half_written_files_of_dead_runs_are_swept_and_those_of_living_ones_kept(tmp_path: Path) -> None:
    """Fault 4: what kill -9 leaves of a file, be its end kept (a video) or not, goes when the file is written again."""
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    kept = (f".tmp-a.json-{os.getppid()}", f".tmp-a.json-2-{dead.pid}", f".tmp-{dead.pid}-b.json", ".tmp-a.json")
    for name in (f".tmp-a.json-{dead.pid}", f".tmp-{dead.pid}-a.json", *kept):
        (tmp_path / name).touch()
    checkpoint.write_json(tmp_path / "a.json", {})
    assert {path.name for path in tmp_path.iterdir()} == {"a.json", *kept}


@pytest.mark.fault(6)
def test_where_the_second_of_two_renames_fails_the_old_folder_is_put_back(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def fails_to_arrive(source: Path, target: Path) -> Path:
        if target == folder and source.suffix != ".old":
            full_disk()
        return rename(source, target)

    monkeypatch.setattr(disk, "_exchange", lambda left, right: False)
    monkeypatch.setattr(Path, "rename", fails_to_arrive)
    with pytest.raises(StorageError, match="No space left"):
        checkpoint.save(folder, kind="toy", config={"width": 3}, tensors={})
    assert checkpoint.load(folder, kind="toy").config == {"width": 2}
    assert [path.name for path in folder.parent.iterdir()] == ["model"]
