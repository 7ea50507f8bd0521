"""Without a network: everything but a download works, and a download is refused in one sentence."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from worldrl import cli
from worldrl.encoders import weights
from worldrl.errors import CheckpointError

LOOPBACK = ("127.", "::1", "localhost")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Refuse every connection that leaves this machine, and list where it was to go."""
    refused: list[Any] = []
    real = {name: getattr(socket.socket, name) for name in ("connect", "connect_ex")}
    look_up = socket.getaddrinfo

    def is_away(address: Any) -> bool:
        host = address[0] if isinstance(address, tuple) else address
        return not isinstance(host, bytes | None) and not str(host).startswith((*LOOPBACK, "/", "\0"))

    def guarded(name: str) -> Any:
        def call(self: socket.socket, address: Any) -> Any:
            if self.family != socket.AF_UNIX and is_away(address):
                refused.append(address)
                raise OSError(101, "Network is unreachable")
            return real[name](self, address)

        return call

    def no_name(host: Any, *rest: Any, **options: Any) -> Any:
        if host is not None and is_away((host,)):
            refused.append(host)
            raise socket.gaierror(-3, "Temporary failure in name resolution")
        return look_up(host, *rest, **options)

    for name in real:
        monkeypatch.setattr(socket.socket, name, guarded(name))
    monkeypatch.setattr(socket, "getaddrinfo", no_name)
    yield refused


@pytest.mark.fault(60)
def test_the_guard_refuses_what_leaves_the_machine(asked: list[Any]) -> None:
    with socket.socket() as away, pytest.raises(OSError, match="unreachable"):
        away.connect(("192.0.2.1", 80))
    with pytest.raises(OSError, match="name resolution"):
        socket.create_connection(("example.invalid", 80), timeout=1)
    assert asked == [("192.0.2.1", 80), "example.invalid"]


@pytest.mark.fault(60)
def test_verbs_ask_nobody(asked: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLDRL_CACHE", str(tmp_path / "cache"))
    tiny = "env.kwargs={size:28,max_steps:4}"
    for words in (
        ["--help"],
        ["envs"],
        ["encoders", "list"],
        ["collect", f"out={tmp_path}/set", "episodes=10", "policy=expert", tiny],
        ["encode", f"episodes={tmp_path}/set", f"out={tmp_path}/seen", "encoder=none", "objects.visual_steps=1"],
        ["verify", str(tmp_path)],
    ):
        assert cli.main(words) == 0, words
    assert asked == []


@pytest.mark.fault(60)
def test_weights_that_would_have_to_be_downloaded_are_refused_in_one_sentence(
    asked: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLDRL_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setattr(weights, "find_packaged", lambda entry: None)
    with pytest.raises(CheckpointError, match="worldrl encoders install dinov2_vits14"):
        weights.load_weights("dinov2_vits14")
    assert asked == []
    pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # between the hub's own attempts
    with pytest.raises(CheckpointError, match="cannot be downloaded") as caught:
        weights.load_weights("dinov2_vits14", allow_hub=True)
    assert asked and "\n" not in str(caught.value)
