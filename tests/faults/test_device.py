"""Devices, memory and libraries that are not there, or are broken."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from fault_worlds import Calm, imagined

from worldrl import cli
from worldrl.encoders import load_encoder
from worldrl.errors import DeviceError
from worldrl.recipes import inspect

SAFE = ["fit", "episodes=a", "observation=b", "out=c"]


@pytest.mark.fault(53)
@pytest.mark.parametrize(("device", "code"), [("cuda", 5), ("cuda:9", 2), ("mps", 2), ("toaster", 2)])
def test_a_device_that_there_is_not_is_refused_and_never_the_cpu_in_its_place(
    device: str, code: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert cli.main([*SAFE, f"engine.device='{device}'"]) == code
    said = capsys.readouterr().err
    assert "device=cpu" in said if device == "cuda" else f"device must be cpu or cuda, got '{device}'" in said


@pytest.mark.fault(53)
@pytest.mark.parametrize("device", ["cuda", "cuda:9", "mps", "toaster"])
def test_imagination_and_encoders_refuse_it_too(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError, match=r"device must be .*got '"):
        imagined(Calm(), device=device)
    if device != "cuda" or not torch.backends.cuda.is_built():
        with pytest.raises(DeviceError, match="device must be one of this machine, got"):
            load_encoder("dinov2_vits14", random_init=True, layer=1, device=device)


@pytest.mark.fault(53)
def test_of_one_gpu_the_tenth_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(DeviceError, match="cuda:N with N below 1, got 'cuda:9'"):
        imagined(Calm(), device="cuda:9")


@pytest.mark.fault(58)
@pytest.mark.parametrize("where", ["numpy", "torch", "gpu", "python"])
def test_too_little_memory_is_one_sentence_with_what_was_asked_for(
    where: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def ask(words: object) -> str:
        if where == "numpy":
            return str(np.empty(2**55))
        if where == "torch":
            return str(torch.empty(2**55))
        if where == "gpu":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.")
        raise MemoryError

    monkeypatch.setattr(inspect, "envs", ask)
    assert cli.main(["envs"]) == DeviceError.exit_code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("worldrl: not enough memory (") and line.endswith("lower batch_size, slots or envs.")
    assert where == "python" or any(unit in line for unit in ("bytes", "GiB", "PiB"))


BROKEN = 'raise RuntimeError("operator torchvision::nms does not exist")\n'
CORE = """
import worldrl.agents.diffusion_policy, worldrl.agents.refinement, worldrl.recipes.demo, worldrl.world_model.model
from worldrl.encoders import load_encoder
load_encoder("dinov2_vits14", random_init=True, layer=1)
"""


@pytest.fixture
def broken_torchvision(tmp_path: Path) -> dict[str, str]:
    """The environment of a process that finds a torchvision which was built for another torch."""
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text(BROKEN)
    about = tmp_path / "torchvision-0.1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: torchvision\nVersion: 0.1\n")
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])}


@pytest.mark.fault(55)
def test_the_doctor_finds_a_torchvision_that_is_broken(broken_torchvision: dict[str, str]) -> None:
    command = [sys.executable, "-m", "worldrl.cli", "doctor"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=broken_torchvision)
    assert done.returncode == 0, done.stderr
    (row,) = [line for line in done.stdout.splitlines() if line.startswith("torchvision")]
    assert "0.1, broken: RuntimeError: operator torchvision::nms does not exist" in row


@pytest.mark.fault(55)
def test_the_package_works_beside_a_torchvision_that_is_broken(broken_torchvision: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CORE], capture_output=True, text=True, timeout=300, env=broken_torchvision
    )
    assert done.returncode == 0, done.stderr
