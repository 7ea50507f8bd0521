"""A player in a process of its own, a browser that looks at it, and a session without either."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from worldrl.recipes import play

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
QUIET = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
PATIENCE = 30_000
"""Milliseconds that the browser waits for anything, on a busy machine."""
in_a_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium: apt-get install chromium (scripts/setup.sh tries to)"
)


@contextmanager
def browsing() -> Iterator[Any]:
    """Give a browser."""
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as browsers:
        browser = browsers.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


def visit(context: Any, url: str, wrong: list[str]) -> Any:
    """Open the player in a page, once it shows something; what goes wrong in it is added to ``wrong``."""
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(url)
    page.wait_for_selector("#imagined canvas[data-order]")
    return page


@contextmanager
def playing(run: Path, *words: str) -> Iterator[str]:
    """Run ``worldrl play`` and give its address; end it as Ctrl-C in a terminal does, and see it end well."""
    command = [sys.executable, "-m", "worldrl.cli", "play", str(run), "port=0", *words]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, start_new_session=True, **pipes) as player:
        try:
            assert player.stdout is not None
            said = ""
            while not said.endswith("Ctrl-C ends it\n"):
                said += next(player.stdout)
            yield re.findall(r"http://\S+", said)[0]
            os.killpg(player.pid, signal.SIGINT)
            out, err = player.communicate(timeout=30)
            assert (player.returncode, out.strip(), err) == (0, "ended", "")
        finally:
            player.kill()


def ask(url: str, **message: Any) -> tuple[int, str]:
    """Give a command and return the status and what was wrong."""
    body = Request(url.replace("/?", "/command?"), json.dumps(message).encode())
    try:
        with urlopen(body, timeout=30) as answer:
            return answer.status, ""
    except HTTPError as error:
        with error:
            return error.code, json.loads(error.read())["error"]


def picture(page: Any, of: str = "imagined") -> str:
    """Return what a canvas shows, once the last news are drawn."""
    page.wait_for_timeout(150)
    return str(page.evaluate(f"document.querySelector('#{of} canvas').toDataURL()"))


def until(page: Any, selector: str, text: str) -> None:
    """Wait for a text; the page's own policy keeps playwright's conditions in JavaScript out."""
    eventually(page, lambda: re.search(text, page.inner_text(selector)))


def eventually(page: Any, holds: Any) -> None:
    began = monotonic()
    while not holds():
        assert monotonic() - began < PATIENCE / 1000, "it did not come about"
        page.wait_for_timeout(30)


def at_step(page: Any, step: int) -> None:
    page.wait_for_selector(f"html[data-step='{step}']")


@contextmanager
def session_of(folder: Path, **options: Any) -> Iterator[tuple[Any, dict[str, Any]]]:
    with ExitStack() as stack:
        session, about = play._session(play.Config(run=str(folder), **options), folder, stack)
        stack.callback(session.close)
        yield session, about
