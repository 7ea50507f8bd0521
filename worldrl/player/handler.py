"""How the player's server answers one connection."""

import json
import os
import re
import secrets
import shutil
import stat
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import parse_qs, urlsplit

from worldrl.player.film import is_film

if TYPE_CHECKING:
    from worldrl.player.server import Server

MOST_BYTES = 64 * 1024
"""Of a message."""
MOST_DRAINED = 2**20
"""Bytes of a message too long that are read and dropped, so that its sender reads the answer."""
LENGTH = re.compile(r"[0-9]{1,18}")
STILL_HERE = 5.0
"""Seconds without news after which a stream says that it lives."""


class Handler(BaseHTTPRequestHandler):
    """Answers the requests of one connection."""

    server: "Server"
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
        elif path is not None and path.startswith("/film/"):
            self._film(path.removeprefix("/film/"))
        elif path is not None:
            self._refuse(404, "there is nothing here but the page, its news, its films and its commands.")

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
        try:
            parts = urlsplit(self.path)
        except ValueError:
            self._refuse(400, "that is no address.")
            return None
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

    def _film(self, name: str) -> None:
        """Send a film that was recorded here."""
        try:
            film = self._opened(name)
        except OSError:
            self._refuse(404, "there is no film of that name here.")
            return
        with film:
            saved = {"Content-Disposition": f'attachment; filename="{name}"'}
            self._head(200, "video/mp4", length=os.fstat(film.fileno()).st_size, also=saved)
            shutil.copyfileobj(film, self.wfile)

    def _opened(self, name: str) -> BinaryIO:
        """Open a film.

        A link would lead out of the folder of films, and a pipe would be waited for: neither is followed.
        """
        if self.server.films is None or not is_film(name):
            raise FileNotFoundError(name)
        file = os.open(self.server.films / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        if not stat.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            raise FileNotFoundError(name)
        return open(file, "rb")

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

    def _head(
        self, status: int, kind: str, *, length: int | None = None, also: Mapping[str, str] | None = None
    ) -> None:
        self.send_response(status)
        headers = {
            "Content-Type": kind,
            "Content-Security-Policy": self.server.policy,
            "Cache-Control": "no-store",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            **(also or {}),
        }
        for name, value in headers.items():
            self.send_header(name, value)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()
