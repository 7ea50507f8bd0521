"""Checkpoints are whole or not there, and what is damaged or foreign is refused in one sentence."""

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from worldrl import checkpoint
from worldrl.errors import CheckpointError, StorageError

WEIGHTS = "weights.safetensors"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A good checkpoint, alone in its parent folder."""
    path = tmp_path / "run" / "model"
    checkpoint.save(path, kind="toy", config={"width": 2}, tensors={"a": torch.arange(64.0), "b": torch.ones(2, 3)})
    return path


def refusal(path: Path, kind: str = "toy") -> str:
    """Return the sentence with which a checkpoint is refused."""
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(path, kind=kind)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def rewrite(path: Path, name: str, content: bytes) -> None:
    """Replace a file and let the manifest agree with it, as an attacker would."""
    (path / name).write_bytes(content)
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["files"][name] = checkpoint.sha256(path / name)
    (path / "manifest.json").write_text(json.dumps(manifest))


def test_what_is_saved_is_loaded(folder: Path) -> None:
    found = checkpoint.load(folder, kind="toy")
    assert (found.kind, found.config, found.path) == ("toy", {"width": 2}, folder)
    assert set(found.tensors) == {"a", "b"}
    assert torch.equal(found.tensors["a"], torch.arange(64.0))
    assert torch.equal(found.tensors["b"], torch.ones(2, 3))


def test_tensors_that_share_memory_or_are_not_contiguous_can_be_saved(tmp_path: Path) -> None:
    whole = torch.arange(6.0).view(2, 3)
    checkpoint.save(tmp_path / "x", kind="toy", config={}, tensors={"whole": whole, "turned": whole.T})
    assert torch.equal(checkpoint.load(tmp_path / "x", kind="toy").tensors["turned"], whole.T)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.99])
@pytest.mark.parametrize("name", [WEIGHTS, "config.json", "manifest.json"])
def test_a_truncated_file_is_refused_and_named(folder: Path, name: str, share: float) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: int(share * (len(content) - 1))])
    assert name in refusal(folder)


def test_truncated_weights_are_refused_even_if_the_manifest_agrees(folder: Path) -> None:
    rewrite(folder, WEIGHTS, (folder / WEIGHTS).read_bytes()[:100])
    assert WEIGHTS in refusal(folder)


def test_one_flipped_bit_is_refused(folder: Path) -> None:
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[-5] ^= 1
    (folder / WEIGHTS).write_bytes(content)
    assert "does not match its manifest" in refusal(folder)


@pytest.mark.parametrize("name", [WEIGHTS, "config.json", "manifest.json"])
def test_a_folder_without_one_of_its_files_is_refused(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert name in refusal(folder)


def test_a_folder_that_is_not_there_is_not_a_finished_checkpoint(tmp_path: Path) -> None:
    assert "not a finished checkpoint" in refusal(tmp_path / "nothing")


def test_another_kind_is_refused_with_both_kinds(folder: Path) -> None:
    assert "must be a checkpoint of kind 'policy', got 'toy'" in refusal(folder, "policy")


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


def test_a_pickle_under_the_name_of_weights_is_refused_and_not_run(folder: Path, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    rewrite(folder, WEIGHTS, pickle.dumps(Payload(marker)))
    assert WEIGHTS in refusal(folder)
    assert not marker.exists()


@pytest.mark.parametrize(
    "config", ["[" * 100_000, '{"a": NaN}', '{"a": -Infinity}', "[1]", "7", "{", "", '{"a": "\\x"}']
)
def test_a_config_that_is_not_a_json_object_is_refused(folder: Path, config: str) -> None:
    rewrite(folder, "config.json", config.encode())
    assert "config.json" in refusal(folder)


def test_a_config_that_is_not_text_is_refused(folder: Path) -> None:
    rewrite(folder, "config.json", b"\xff\xfe\x00")
    assert "config.json" in refusal(folder)


def test_a_huge_config_is_refused_before_it_is_read(folder: Path) -> None:
    with (folder / "config.json").open("wb") as file:
        file.truncate(200 * 2**20)  # sparse
    began = time.perf_counter()
    with pytest.raises(CheckpointError, match="must be at most 16777216 bytes, got 209715200"):
        checkpoint.read_json(folder / "config.json")
    assert time.perf_counter() - began < 1.0


def test_a_config_with_nan_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        checkpoint.save(tmp_path / "x", kind="toy", config={"a": float("nan")}, tensors={})
    assert list(tmp_path.iterdir()) == []


def full_disk(*_: Any, **__: Any) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("what", ["fsync", "rename", "save_file"])
def test_a_full_disk_keeps_the_old_checkpoint_and_leaves_nothing_behind(
    folder: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(checkpoint, "_exchange", lambda left, right: False)
    owner: Any = {"fsync": os, "rename": Path, "save_file": __import__("safetensors.torch").torch}[what]
    with monkeypatch.context() as patch:
        patch.setattr(owner, what, full_disk)
        with pytest.raises(StorageError, match=r"cannot be written: .*No space left.*Free some space"):
            checkpoint.save(folder, kind="toy", config={"width": 3}, tensors={})
    assert checkpoint.load(folder, kind="toy").config == {"width": 2}
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


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


def test_a_file_where_a_folder_has_to_be_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="choose another folder"):
        checkpoint.save(tmp_path / "file" / "x", kind="toy", config={}, tensors={})


@pytest.mark.parametrize("exchanges", [True, False])
def test_an_existing_folder_is_replaced_whole(folder: Path, monkeypatch: pytest.MonkeyPatch, exchanges: bool) -> None:
    if not exchanges:
        monkeypatch.setattr(checkpoint, "_exchange", lambda left, right: False)
    (folder / "stray").write_text("")
    checkpoint.save(folder, kind="toy", config={"width": 3}, tensors={})
    assert checkpoint.load(folder, kind="toy").config == {"width": 3}
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "manifest.json", WEIGHTS]
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_leftovers_of_dead_runs_are_swept_and_those_of_living_ones_kept(folder: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for name in (f".tmp-model-{dead.pid}", f".tmp-model-{os.getppid()}", f".tmp-model-2-{dead.pid}"):
        (folder.parent / name).mkdir()
    checkpoint.save(folder, kind="toy", config={}, tensors={})
    left = {path.name for path in folder.parent.iterdir()}
    assert left == {"model", f".tmp-model-{os.getppid()}", f".tmp-model-2-{dead.pid}"}


SAVER = """
import sys, torch
from pathlib import Path
from worldrl import checkpoint
path, i = Path(sys.argv[1]), 0
while True:
    i += 1
    checkpoint.save(path, kind="toy", config={"i": i}, tensors={"a": torch.full((50_000,), float(i))})
    print(i, flush=True)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="folders are exchanged in one step on Linux only")
def test_a_run_killed_while_saving_leaves_a_checkpoint_that_loads(tmp_path: Path) -> None:
    path = tmp_path / "model"
    for delay in (0.002, 0.005, 0.009, 0.014):
        saver = subprocess.Popen([sys.executable, "-c", SAVER, str(path)], stdout=subprocess.PIPE, text=True)
        assert saver.stdout is not None
        try:
            for _ in range(2):
                assert saver.stdout.readline()
            time.sleep(delay)
        finally:
            saver.send_signal(signal.SIGKILL)
            saver.wait(timeout=20)
            saver.stdout.close()
        found = checkpoint.load(path, kind="toy")
        assert found.config["i"] >= 2
        assert torch.equal(found.tensors["a"], torch.full((50_000,), float(found.config["i"])))
    checkpoint.save(path, kind="toy", config={}, tensors={})
    assert [one.name for one in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight": None}, "'weight' is missing"),
        ({"extra": torch.ones(1)}, "'extra' is unknown"),
        ({"weight": None, "wait": torch.ones(1, 2)}, "'weight' is missing; 'wait' is unknown"),
        ({"weight": torch.ones(2, 2)}, r"'weight' must be \(1, 2\), got \(2, 2\)"),
    ],
)
def test_tensors_that_do_not_fit_are_named(change: dict[str, Any], message: str) -> None:
    module = nn.Linear(2, 1)
    before = checkpoint.hash_tensors(module.state_dict())
    tensors = {name: t for name, t in (module.state_dict() | change).items() if t is not None}
    with pytest.raises(CheckpointError, match=message):
        checkpoint.load_state(module, tensors, path=Path("somewhere"))
    assert checkpoint.hash_tensors(module.state_dict()) == before


def test_only_the_first_five_differences_are_told() -> None:
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load_state(nn.Linear(2, 1), {f"t{i}": torch.ones(1) for i in range(9)}, path=Path("somewhere"))
    assert str(caught.value).count("'") == 10


TENSORS = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor(3, dtype=torch.int64), "c": torch.zeros(0)}


@pytest.mark.parametrize(
    "other",
    [
        TENSORS | {"a": torch.tensor([1.0, 2.0000002])},
        TENSORS | {"a": torch.tensor([[1.0, 2.0]])},
        TENSORS | {"a": torch.tensor([1.0, 2.0]).view(torch.int32)},
        TENSORS | {"c": torch.zeros(0, 1)},
        {"a": TENSORS["a"], "b": TENSORS["b"], "d": TENSORS["c"]},
        {"a": TENSORS["a"], "b": TENSORS["b"]},
        {},
    ],
)
def test_the_hash_changes_with_a_value_a_shape_a_type_or_a_name(other: dict[str, torch.Tensor]) -> None:
    assert checkpoint.hash_tensors(other) != checkpoint.hash_tensors(TENSORS)


def test_the_hash_does_not_change_with_order_layout_or_a_copy() -> None:
    turned = torch.arange(6.0).view(2, 3)
    copies = {name: tensor.clone() for name, tensor in reversed(TENSORS.items())}
    assert checkpoint.hash_tensors(copies) == checkpoint.hash_tensors(TENSORS)
    assert checkpoint.hash_tensors({"x": turned.T.contiguous()}) == checkpoint.hash_tensors({"x": turned.T})


def test_json_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.json"
    checkpoint.write_json(path, {"a": 1})
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(StorageError, match="No space left"):
        checkpoint.write_json(path, {"a": 2})
    assert checkpoint.read_json(path) == {"a": 1}
    assert [one.name for one in tmp_path.iterdir()] == ["report.json"]


def test_a_copied_checkpoint_loads(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "elsewhere")
    assert checkpoint.load(tmp_path / "elsewhere", kind="toy").config == {"width": 2}
