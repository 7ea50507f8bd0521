"""Checkpoints are whole or not there, and what is damaged or foreign is refused in one sentence."""

import os
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
from toy import WEIGHTS, full_disk, refusal

from worldrl import checkpoint
from worldrl.errors import CheckpointError, StorageError


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


@pytest.mark.fault(1)
@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.99])
@pytest.mark.parametrize("name", [WEIGHTS, "config.json", "manifest.json"])
def test_a_truncated_file_is_refused_and_named(folder: Path, name: str, share: float) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: int(share * (len(content) - 1))])
    assert name in refusal(folder)


@pytest.mark.fault(2)
def test_one_flipped_bit_is_refused(folder: Path) -> None:
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[-5] ^= 1
    (folder / WEIGHTS).write_bytes(content)
    assert "does not match its manifest" in refusal(folder)


@pytest.mark.fault(3)
@pytest.mark.parametrize("name", [WEIGHTS, "config.json", "manifest.json"])
def test_a_folder_without_one_of_its_files_is_refused(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert name in refusal(folder)


def test_another_kind_is_refused_with_both_kinds(folder: Path) -> None:
    assert "must be a checkpoint of kind 'policy', got 'toy'" in refusal(folder, "policy")


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


@pytest.mark.fault(4)
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


@pytest.mark.fault(12)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight": None}, "'weight' is missing"),
        ({"extra": torch.ones(1)}, "'extra' is unknown"),
        ({"weight": None, "wait": torch.ones(1, 2)}, "'weight' is missing; 'wait' is unknown"),
        ({"weight": torch.ones(2, 2)}, r"'weight' must be \(1, 2\), got \(2, 2\)"),
        ({"bias": torch.ones(1, dtype=torch.float64)}, r"'bias' must be torch\.float32, got torch\.float64"),
    ],
)
def test_tensors_that_do_not_fit_are_named(change: dict[str, Any], message: str) -> None:
    module = nn.Linear(2, 1)
    before = checkpoint.hash_tensors(module.state_dict())
    tensors = {name: t for name, t in (module.state_dict() | change).items() if t is not None}
    with pytest.raises(CheckpointError, match=message):
        checkpoint.load_state(module, tensors, path=Path("somewhere"))
    assert checkpoint.hash_tensors(module.state_dict()) == before


@pytest.mark.fault(12)
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


@pytest.mark.fault(6)
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


@pytest.mark.fault(7)
def test_json_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        checkpoint.write_json(tmp_path / "file" / "report.json", {})


@pytest.mark.parametrize("error", [KeyError("width"), IndexError("0"), TypeError("x"), RuntimeError("x")])
def test_what_a_foreign_config_makes_go_wrong_is_one_sentence(error: Exception) -> None:
    message = r"somewhere/config\.json does not describe a toy: .* Make it again\."
    with pytest.raises(CheckpointError, match=message), checkpoint.described(Path("somewhere"), "a toy"):
        raise error
