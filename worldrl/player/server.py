"""The player's small web server: one page, a stream of news, and commands, to whoever knows the token.

It is for one person on one machine. Every request needs the token of the printed address; a request that another site's
page makes (a foreign ``Origin``), or that reached us by a foreign name (a ``Host`` that DNS was bent to), is refused.
Nothing it answers with is read from a path that a request names.
"""

import errno
import ipaddress
import json
import re
import secrets
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

from worldrl.errors import ConfigError
from worldrl.player.exchange import Exchange
from worldrl.player.page import read_page

MOST_BYTES = 64 * 1024
"""Of a message."""
MOST_DRAINED = 2**20
"""Bytes of a message too long that are read and dropped, so that its sender reads the answer."""
LENGTH = re.compile(r"[0-9]{1,18}")
CONNECTIONS = 64
"""At a time."""
PORTS = 50
"""Ports that are tried, one after the other."""
LOOPBACK = {"127.0.0.1", "localhost", "::1"}
EVERYWHERE = {"0.0.0.0", "::"}
STILL_HERE = 5.0
"""Seconds without news after which a stream says that it lives."""


@contextmanager
def serving(exchange: Exchange, *, about: str, host: str, port: int) -> Iterator["Server"]:
    """Serve in threads until left; then every connection is closed and every thread has ended.

    Args:
        exchange: Where commands go and news come from; closed on leaving.
        about: What does not change, as JSON.
        host: Address to listen at.
        port: The first that is tried; 0 for any that is free.

    Raises:
        ConfigError: If this machine has no such address, or no port is free.
    """
    server = _listening(exchange, about, host, port)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, name="server")
    thread.start()
    try:
        yield server
    finally:
        exchange.close()
        server.shutdown()
        thread.join()
        server.server_close()


def _listening(exchange: Exchange, about: str, host: str, port: int) -> "Server":
    last = min(port + PORTS - 1, 65535) if port else 0
    for one in range(port, last + 1):
        try:
            return Server(exchange, about=about, host=host, port=one)
        except socket.gaierror as error:
            raise ConfigError(f"host must be an address of this machine, got '{host}': {error.strerror}.") from error
        except OSError as error:
            if error.errno == errno.EACCES:
                raise ConfigError(f"port must be 1024 or more for you, got {port}: choose another.") from error
            if error.errno != errno.EADDRINUSE:
                raise ConfigError(
                    f"host must be an address of this machine, got '{host}': {error.strerror}."
                ) from error
    raise ConfigError(f"port must be free, got {port}, and up to {last} none is: choose another.")


class Server(ThreadingHTTPServer):
    """Listens at one address and hands requests to threads.

    Args:
        exchange: Where commands go and news come from.
        about: What does not change, as JSON.
        host: Address to listen at.
        port: Port; 0 for any that is free.

    Attributes:
        token: What every request must carry.
        page: The page ``bytes``, and ``policy``, what it may load.

    Raises:
        OSError: If it cannot listen there.
    """

    daemon_threads = False
    request_queue_size = 32

    def __init__(self, exchange: Exchange, *, about: str, host: str, port: int) -> None:
        self.exchange, self.about, self.host = exchange, about, host.lower()
        self.token = secrets.token_urlsafe(18)
        self.page, self.policy = read_page()
        self._open: set[socket.socket] = set()
        self._lock = Lock()
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _Handler)

    @property
    def port(self) -> int:
        """The port that it listens at."""
        return int(self.server_address[1])

    @property
    def url(self) -> str:
        """The address of the page, token included."""
        host = _own_address(self.address_family) if self.host in EVERYWHERE else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/?token={self.token}"

    def knows(self, host: str) -> bool:
        """Return whether a ``Host`` header names this server.

        Where it listens at every address, any address will do: names are what DNS can be bent with.
        """
        try:
            name = (urlsplit(f"//{host}").hostname or "").lower()
        except ValueError:
            return False
        if self.host in LOOPBACK:
            return name in LOOPBACK
        return name == self.host or (self.host in EVERYWHERE and (name in LOOPBACK or _is_address(name)))

    def process_request(self, request: Any, client_address: Any) -> None:
        """Hand a connection to a thread of its own, unless there are too many."""
        with self._lock:
            full = len(self._open) >= CONNECTIONS
            if not full:
                self._open.add(request)
        if full:
            super().shutdown_request(request)
        else:
            super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection that is done with."""
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        """Stop listening, break off every connection, and wait for the threads."""
        with self._lock:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        super().server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of browsers that went away."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: Server
    timeout = 20.0
    """Seconds of silence after which a connection is given up."""
    _is_read = False  # the body of the request

    def do_GET(self) -> None:
        """Send the page, or the stream of news."""
        path = self._admitted()
        if path == "/":
            self._send(200, self.server.page, "text/html; charset=utf-8")
        elif path == "/news":
            self._stream()
        elif path is not None:
            self._refuse(404, "there is nothing here but the page, its news and its commands.")

    def do_POST(self) -> None:
        """Do a command."""
        path = self._admitted()
        if path is None:
            return
        if path != "/command":
            self._refuse(404, "commands go to /command.")
            return
        body = self._body()
        if body is None:
            return
        try:
            sentence = self.server.exchange.ask(json.loads(body))
        except (ValueError, RecursionError):
            self._refuse(400, "a message must be JSON in UTF-8.")
            return
        except TimeoutError:
            self._refuse(503, "the player is busy: try again.")
            return
        if sentence:
            self._refuse(400, sentence)
        else:
            self._send(200, b"{}", "application/json")

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: a log would hold the token."""

    def version_string(self) -> str:
        """Return the name of the server."""
        return "worldrl"

    def _admitted(self) -> str | None:
        """Return the path of a request, or refuse it and return None."""
        hosts, origins = self.headers.get_all("Host", []), self.headers.get_all("Origin", [])
        if len(hosts) != 1 or not self.server.knows(hosts[0]):
            self._refuse(403, "this player is not called that: use the address that worldrl play printed.")
            return None
        if any(origin.lower() != f"http://{hosts[0].lower()}" for origin in origins):
            self._refuse(403, "another page must not use this player.")
            return None
        parts = urlsplit(self.path)
        given = parse_qs(parts.query).get("token", [""])[0]
        if not secrets.compare_digest(given.encode(), self.server.token.encode()):
            self._refuse(403, "the token is missing or wrong: use the address that worldrl play printed.")
            return None
        return parts.path

    def _body(self) -> bytes | None:
        """Return the body of a request, or refuse it and return None."""
        length = self.headers.get("Content-Length", "")
        if not LENGTH.fullmatch(length):
            self._refuse(411, "a message must say how long it is.")
            return None
        if int(length) > MOST_BYTES:
            self._refuse(413, f"a message must be at most {MOST_BYTES} bytes long, got {length}.")
            return None
        self._is_read = True
        return self.rfile.read(int(length))

    def _stream(self) -> None:
        """Send what does not change, and then the news as they come, the latest where the browser is slow."""
        self._head(200, "text/event-stream; charset=utf-8")
        exchange, seen = self.server.exchange, 0
        with exchange.watching():
            self.wfile.write(f"event: about\ndata: {self.server.about}\n\n".encode())
            while not exchange.closed:
                news = exchange.news(seen, patience=STILL_HERE)
                if news is None:
                    self.wfile.write(b": still here\n\n")
                else:
                    seen, text = news
                    self.wfile.write(f"data: {text}\n\n".encode())

    def _refuse(self, status: int, sentence: str) -> None:
        """Answer with a sentence, once what was sent has been read: an answer amid a message may never arrive."""
        length = self.headers.get("Content-Length", "")
        left = min(int(length), MOST_DRAINED) if LENGTH.fullmatch(length) and not self._is_read else 0
        while left > 0 and (got := self.rfile.read(min(left, MOST_BYTES))):
            left -= len(got)
        self._send(status, json.dumps({"error": sentence}).encode(), "application/json")

    def _send(self, status: int, body: bytes, kind: str) -> None:
        self._head(status, kind, length=len(body))
        self.wfile.write(body)

    def _head(self, status: int, kind: str, *, length: int | None = None) -> None:
        self.send_response(status)
        headers = {
            "Content-Type": kind,
            "Content-Security-Policy": self.server.policy,
            "Cache-Control": "no-store",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }
        for name, value in headers.items():
            self.send_header(name, value)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _own_address(family: int) -> str:
    """Return the address that others reach this machine at, as far as it knows; nothing is sent."""
    outside, here = ("2001:db8::1", "::1") if family == socket.AF_INET6 else ("192.0.2.1", "127.0.0.1")
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((outside, 9))
        except OSError:
            return here
        return str(probe.getsockname()[0])
