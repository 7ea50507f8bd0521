"""The player's small web server: one page, a stream of news, and commands, to whoever knows the token.

It is for one person on one machine. Every request needs the token of the printed address; a request that another site's
page makes (a foreign ``Origin``), or that reached us by a foreign name (a ``Host`` that DNS was bent to), is refused.
Nothing it answers with is read from a path that a request names, but films, whose names are the player's own.
"""

import errno
import ipaddress
import secrets
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import Any
from urllib.parse import urlsplit

from worldrl.errors import ConfigError
from worldrl.player.exchange import Exchange
from worldrl.player.handler import Handler
from worldrl.player.page import read_page

CONNECTIONS = 64
"""At a time."""
PORTS = 50
"""Ports that are tried, one after the other."""
LOOPBACK = {"127.0.0.1", "localhost", "::1"}
EVERYWHERE = {"0.0.0.0", "::"}


@contextmanager
def serving(exchange: Exchange, *, about: str, host: str, port: int, films: Path | None = None) -> Iterator["Server"]:
    """Serve in threads until left; then every connection is closed and every thread has ended.

    Args:
        exchange: Where commands go and news come from; closed on leaving.
        about: What does not change, as JSON.
        host: Address to listen at.
        port: The first that is tried; 0 for any that is free.
        films: Folder whose films may be downloaded; None for none.

    Raises:
        ConfigError: If this machine has no such address, or no port is free.
    """
    server = _listening(exchange, about, host, port)
    server.films = films
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
        films: Folder whose films may be downloaded; None for none.

    Raises:
        OSError: If it cannot listen there.
    """

    daemon_threads = False
    request_queue_size = 32

    def __init__(self, exchange: Exchange, *, about: str, host: str, port: int) -> None:
        self.exchange, self.about, self.host = exchange, about, host.lower()
        self.token = secrets.token_urlsafe(18)
        self.page, self.policy = read_page()
        self.films: Path | None = None
        self._open: set[socket.socket] = set()
        self._lock = Lock()
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), Handler)

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
