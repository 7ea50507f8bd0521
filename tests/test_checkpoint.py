"""What is saved is whole or not there, and what is loaded is what was saved."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from worldrl import checkpoint
from worldrl.errors import CheckpointError, StorageError

TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([1, 2])}


def saved(path: Path) -> Path:
    checkpoint.save(path, kind="toy", config={"width": 3}, tensors=TENSORS)
    return path


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    loaded = checkpoint.load(saved(tmp_path / "toy"), kind="toy")
    assert loaded.config == {"width": 3}
    torch.testing.assert_close(loaded.tensors, TENSORS)


def test_tensors_that_share_memory_can_be_saved(tmp_path: Path) -> None:
    shared = torch.ones(3)
    checkpoint.save(tmp_path / "toy", kind="toy", config={}, tensors={"x": shared, "y": shared})
    assert set(checkpoint.load(tmp_path / "toy", kind="toy").tensors) == {"x", "y"}


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.99])
def test_truncated_weights_are_refused(tmp_path: Path, share: float) -> None:
    file = saved(tmp_path / "toy") / "weights.safetensors"
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    with pytest.raises(CheckpointError, match=r"weights.safetensors is missing or does not match its manifest"):
        checkpoint.load(tmp_path / "toy", kind="toy")


def test_one_flipped_bit_is_noticed(tmp_path: Path) -> None:
    file = saved(tmp_path / "toy") / "weights.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))
    with pytest.raises(CheckpointError, match="does not match its manifest"):
        checkpoint.load(tmp_path / "toy", kind="toy")


def test_a_folder_without_manifest_is_not_a_checkpoint(tmp_path: Path) -> None:
    (saved(tmp_path / "toy") / "manifest.json").unlink()
    with pytest.raises(CheckpointError, match="not a finished checkpoint"):
        checkpoint.load(tmp_path / "toy", kind="toy")


def test_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="must be a checkpoint of kind 'policy', got 'toy'"):
        checkpoint.load(saved(tmp_path / "toy"), kind="policy")


@pytest.mark.parametrize("text", ["{", "[1]", "[" * 100_000])
def test_a_config_that_is_no_object_is_refused(tmp_path: Path, text: str) -> None:
    (saved(tmp_path / "toy") / "manifest.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"manifest.json"):
        checkpoint.load(tmp_path / "toy", kind="toy")


def test_weights_that_do_not_fit_are_named() -> None:
    module = torch.nn.Linear(2, 1)
    wrong = {"weight": torch.zeros(3, 2), "extra": torch.zeros(1)}
    with pytest.raises(CheckpointError, match=r"'bias' is missing; 'extra' is unknown; 'weight' must be \(1, 2\)"):
        checkpoint.load_state(module, wrong, path=Path("toy"))


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    path = saved(tmp_path / "toy")

    def full(_: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(StorageError, match="Free some space"):
        checkpoint.commit(path, full)
    assert checkpoint.load(path, kind="toy").config == {"width": 3}
    assert [entry.name for entry in tmp_path.iterdir()] == ["toy"]


def test_the_hash_changes_with_names_shapes_and_values_only() -> None:
    same = {name: tensor.clone() for name, tensor in reversed(TENSORS.items())}
    assert checkpoint.hash_tensors(same) == checkpoint.hash_tensors(TENSORS)
    for changed in (
        TENSORS | {"a": TENSORS["a"] + 1e-7},
        TENSORS | {"a": TENSORS["a"].reshape(3, 2)},
        {"c": TENSORS["a"], "b": TENSORS["b"]},
    ):
        assert checkpoint.hash_tensors(changed) != checkpoint.hash_tensors(TENSORS)


def test_a_killed_save_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    code = (
        "import sys, torch; from pathlib import Path; from worldrl import checkpoint\n"
        "n = 0\n"
        "while True:\n"
        "    checkpoint.save(Path(sys.argv[1]), kind='toy', config={'n': n}, tensors={'x': torch.full((200000,), n)})\n"
        "    n += 1; print(n, flush=True)\n"
    )
    path = tmp_path / "toy"
    for delay in (0.005, 0.013):
        child = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(delay)
        os.kill(child.pid, signal.SIGKILL)
        child.wait(timeout=30)
        child.stdout.close()
        if not path.exists():  # killed between setting the old one aside and renaming the new one: that one is whole
            path = next(entry for entry in tmp_path.iterdir() if entry.name.startswith(".tmp-old"))
        loaded = checkpoint.load(path, kind="toy")
        assert float(loaded.tensors["x"][0]) == loaded.config["n"]
        path = tmp_path / "toy"


def test_json_is_never_half_written(tmp_path: Path) -> None:
    checkpoint.write_json(tmp_path / "x.json", {"a": 1})
    with pytest.raises(ValueError, match="Out of range float values"):
        checkpoint.write_json(tmp_path / "x.json", {"a": float("nan")})
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": 1}
