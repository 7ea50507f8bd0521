"""The player's web server: who is let in, and what is refused."""

import json
import os
import re
import socket
import threading
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from threading import Thread
from time import monotonic
from typing import Any

import pytest

from worldrl.errors import ConfigError
from worldrl.player import loop, server
from worldrl.player.exchange import Exchange
from worldrl.player.handler import MOST_BYTES
from worldrl.player.server import Server, serving
from worldrl.player.session import Session


@pytest.fixture
def player(make: Callable[..., Session]) -> Iterator[Server]:
    """Serve a session in the world of the point."""
    exchange = Exchange()
    thread = Thread(target=loop.run, args=(make(), exchange))
    thread.start()
    try:
        with serving(exchange, about='{"run": "toy"}', host="127.0.0.1", port=0) as served:
            yield served
    finally:
        thread.join(timeout=10)
    assert not {one.name for one in threading.enumerate()} & {"server", "film"}


def request(
    player: Server, method: str, path: str, *, body: bytes | None = None, token: str | None = None, **headers: str
) -> tuple[int, bytes, HTTPResponse]:
    connection = HTTPConnection("127.0.0.1", player.port, timeout=10)
    try:
        token = player.token if token is None else token
        connection.putrequest(method, f"{path}?token={token}" if token else path, skip_host="Host" in headers)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        if body is not None and "Content_Length" not in headers:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        response = connection.getresponse()
        return response.status, response.read(), response
    finally:
        connection.close()


def command(player: Server, **message: Any) -> tuple[int, str]:
    status, body, _ = request(player, "POST", "/command", body=json.dumps(message).encode())
    return status, json.loads(body).get("error", "")


def test_the_page_is_sent_with_a_policy_that_lets_nothing_else_in(player: Server) -> None:
    status, body, response = request(player, "GET", "/")
    page, policy = body.decode(), response.headers["Content-Security-Policy"]
    assert status == 200 and "worldrl play" in page
    assert policy.startswith("default-src 'none'; script-src 'sha256-") and "unsafe" not in policy and "*" not in policy
    assert response.headers["Referrer-Policy"] == "no-referrer" and response.headers["Cache-Control"] == "no-store"
    assert not re.search(r"https?://|(src|href)=\"(?!data:)|@import|url\(", page), "it must do without any network"
    assert player.token not in page


@pytest.mark.fault(62)
@pytest.mark.parametrize("path", ["/", "/news", "/command", "/page.html", "/../../etc/passwd"])
@pytest.mark.parametrize("token", ["", "wrong", "%C3%A4"])
def test_nothing_is_told_without_the_token(player: Server, path: str, token: str) -> None:
    for method in ("GET", "POST"):
        status, body, _ = request(player, method, path, token=token, body=b"{}")
        assert status == 403 and b"the token is missing or wrong" in body


@pytest.mark.fault(62)
@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1", "http://localhost:1"])
def test_another_page_is_refused(player: Server, origin: str) -> None:
    body = b'{"command": "step"}'
    status, answer, _ = request(player, "POST", "/command", body=body, Origin=origin)
    assert status == 403 and b"another page" in answer
    own = f"http://127.0.0.1:{player.port}"
    assert request(player, "POST", "/command", body=body, Origin=own)[0] == 200


@pytest.mark.fault(62)
@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "[", "192.168.0.9"])
def test_a_name_that_dns_was_bent_to_is_refused(player: Server, host: str) -> None:
    status, answer, _ = request(player, "GET", "/", Host=host)
    assert status == 403 and b"not called that" in answer
    assert request(player, "GET", "/", Host=f"localhost:{player.port}")[0] == 200


def test_where_it_listens_everywhere_any_address_will_do_but_no_name(player: Server) -> None:
    player.host = "0.0.0.0"
    assert player.knows("192.168.0.9:8765") and player.knows("[fe80::1]:8765") and player.knows("localhost")
    assert not player.knows("evil.example") and not player.knows("192.168.0.9.evil.example")
    player.host = "den.example"
    assert player.knows("den.example:80") and not player.knows("192.168.0.9")


@pytest.mark.fault(62)
def test_a_message_too_long_is_refused_and_one_of_the_most_bytes_is_read(player: Server) -> None:
    status, answer, _ = request(player, "POST", "/command", body=b" " * (MOST_BYTES + 1))
    assert status == 413 and b"at most 65536 bytes" in answer
    assert request(player, "POST", "/command", body=b'{"command": "step"}'.ljust(MOST_BYTES))[0] == 200


@pytest.mark.parametrize("length", ["-1", "many", "1e3", ""])
def test_a_message_must_say_how_long_it_is(player: Server, length: str) -> None:
    assert request(player, "POST", "/command", body=b"{}", Content_Length=length)[0] == 411


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff", b"[" * 60_000, b'{"command": "pace", "fps": ' + b"9" * 6000 + b"}", b"NaN", b"[]"]
)
def test_a_message_that_cannot_be_read_is_refused_and_the_session_goes_on(player: Server, body: bytes) -> None:
    status, answer, _ = request(player, "POST", "/command", body=body)
    assert status == 400 and json.loads(answer)["error"].endswith(".")
    assert command(player, command="step") == (200, "")


def test_a_bad_command_is_answered_with_one_sentence_and_the_session_goes_on(player: Server) -> None:
    status, sentence = command(player, command="reset", episode=7, step=0)
    assert (status, sentence) == (400, "episode must be in 0 to 1, got 7: choose one that was recorded.")
    assert command(player, command="step") == (200, "")


def test_there_is_nothing_else(player: Server) -> None:
    assert request(player, "GET", "/../../etc/passwd")[0] == 404
    assert request(player, "GET", "/command")[0] == 404
    assert request(player, "POST", "/", body=b"{}")[0] == 404


def test_a_film_is_sent_and_nothing_else_that_lies_beside_it(player: Server, tmp_path: Path) -> None:
    assert request(player, "GET", "/film/play-001.mp4")[0] == 404
    player.films = tmp_path / "videos"
    player.films.mkdir()
    for name in ("play-001.mp4", "other.mp4", "../play-001.mp4"):
        (player.films / name).write_bytes(b"film")
    (player.films / "play-002.mp4").symlink_to(tmp_path / "play-001.mp4")
    (player.films / "play-004.mp4").mkdir()
    os.mkfifo(player.films / "play-005.mp4")  # whoever opens it would wait for ever
    status, body, response = request(player, "GET", "/film/play-001.mp4")
    assert (status, body, response.headers["Content-Type"]) == (200, b"film", "video/mp4")
    assert response.headers["Content-Disposition"] == 'attachment; filename="play-001.mp4"'
    assert request(player, "GET", "/film/play-001.mp4", token="wrong")[0] == 403
    for number in (2, 3, 4, 5):
        assert request(player, "GET", f"/film/play-00{number}.mp4")[0] == 404
    for name in ("other.mp4", "../play-001.mp4", "..%2fplay-001.mp4", "", "play-1.mp4"):
        status, body, _ = request(player, "GET", f"/film/{name}")
        assert status == 404 and b"no film of that name" in body, name


def test_an_address_that_is_none_is_answered(player: Server) -> None:
    with socket.create_connection(("127.0.0.1", player.port), timeout=10) as connection:
        connection.sendall(b"GET http://[x HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b" 400 " in connection.recv(200).partition(b"\r\n")[0]


def test_a_command_that_nobody_waits_for_any_more_is_not_done() -> None:
    exchange = Exchange()
    with pytest.raises(TimeoutError):
        exchange.ask("step", patience=0.0)
    assert exchange.take(0.0) is None


def watch(player: Server) -> tuple[socket.socket, Any]:
    connection = socket.create_connection(("127.0.0.1", player.port), timeout=10)
    connection.sendall(f"GET /news?token={player.token} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return connection, connection.makefile("rb")


def events(stream: Any) -> Iterator[dict[str, Any]]:
    for line in stream:
        if line.startswith(b"data: "):
            yield json.loads(line[6:])


def test_news_come_as_they_happen_and_end_with_the_player(player: Server) -> None:
    connection, stream = watch(player)
    with connection, stream:
        seen = events(stream)
        assert next(seen) == {"run": "toy"}
        assert next(seen)["step"] == 0
        command(player, command="step")
        assert next(seen)["step"] == 1
        player.exchange.close()
        assert list(events(stream)) == []


def test_who_is_slow_gets_the_latest() -> None:
    exchange = Exchange()
    for text in ("one", "two", "three"):
        exchange.publish(text)
    assert exchange.news(0, patience=0.0) == (3, "three")
    assert exchange.news(3, patience=0.0) is None


def test_a_long_message_is_refused_so_that_its_sender_hears_of_it(player: Server) -> None:
    for token, status in (("wrong", 403), (player.token, 413)):
        assert request(player, "POST", "/command", body=b" " * 900_000, token=token)[0] == status


def test_connections_that_say_nothing_keep_nobody_from_ending() -> None:
    began = monotonic()
    with serving(Exchange(), about="{}", host="127.0.0.1", port=0) as served:
        idle = [socket.create_connection(("127.0.0.1", served.port), timeout=10) for _ in range(3)]
        assert request(served, "GET", "/")[0] == 200
    assert monotonic() - began < 5.0
    assert [one.recv(1) for one in idle] == [b""] * 3
    for one in idle:
        one.close()


def test_more_connections_than_it_has_threads_for_are_closed(monkeypatch: pytest.MonkeyPatch, player: Server) -> None:
    monkeypatch.setattr(server, "CONNECTIONS", 1)
    connection, stream = watch(player)
    with connection, stream:
        assert next(events(stream)) == {"run": "toy"}
        with socket.create_connection(("127.0.0.1", player.port), timeout=10) as other:
            assert other.recv(1) == b""


@pytest.mark.fault(62)
def test_it_listens_on_this_machine_alone_and_takes_the_next_port_where_one_is_taken(player: Server) -> None:
    assert player.server_address[0] == "127.0.0.1"
    with serving(Exchange(), about="{}", host="127.0.0.1", port=player.port) as other:
        assert player.port < other.port <= player.port + server.PORTS
        assert other.token != player.token and other.url.startswith(f"http://127.0.0.1:{other.port}/?token=")


@pytest.mark.parametrize("host", ["no such host", "192.0.2.77"])
def test_an_address_of_another_machine_is_refused(host: str) -> None:
    with (
        pytest.raises(ConfigError, match="host must be an address of this machine"),
        serving(Exchange(), about="{}", host=host, port=0),
    ):
        pass
