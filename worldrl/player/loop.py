"""The one thread that owns the worlds: it does what is asked, keeps the pace, and tells what there is to see."""

import base64
import io
import json
from collections import deque
from dataclasses import fields
from time import monotonic
from typing import Any

from PIL import Image

from worldrl.errors import WorldRLError
from worldrl.player.commands import perform
from worldrl.player.exchange import ENDED, Exchange, Request
from worldrl.player.session import Session
from worldrl.player.sides import Side
from worldrl.player.view import View

IDLE = 0.5
"""Seconds between two looks whether it is over, while nothing plays."""
LONELY = 5.0
"""Seconds after which nothing plays on that nobody looks at (our choice)."""
MEASURED = 2.0
"""Seconds over which the frame rate is measured."""


def run(session: Session, exchange: Exchange) -> None:
    """Play a session until the exchange is closed; the caller's thread owns its worlds meanwhile."""
    pace = Pace()
    exchange.publish(told(session.view(), 0.0))
    seen = due = monotonic()
    while not exchange.closed:
        request = exchange.take(max(0.0, due - monotonic()) if session.playing else IDLE)
        changed, stood = request is not None, not session.playing
        while request is not None:
            _answer(session, request)
            request = exchange.take(0.0)
        now = monotonic()
        due = now if stood else due  # what was not played while it stood is not made up for
        seen = now if exchange.watchers or not session.playing else seen
        if session.playing and now - seen > LONELY:
            session.pause()
            changed = True
        elif session.playing and now >= due:
            _step(session)
            due, changed = max(due + 1.0 / session.view().pace, now), True
            pace.count()
        if changed:
            exchange.publish(told(session.view(), pace.measured()))


class Pace:
    """Counts steps and says how many there were a second of late."""

    def __init__(self) -> None:
        self._times: deque[float] = deque()

    def count(self) -> None:
        """Count a step that has just been taken."""
        self._times.append(monotonic())

    def measured(self) -> float:
        """Return steps a second over the last ``MEASURED`` seconds; 0 where there were fewer than two."""
        while self._times and self._times[0] < monotonic() - MEASURED:
            self._times.popleft()
        if len(self._times) < 2:
            return 0.0
        return (len(self._times) - 1) / (self._times[-1] - self._times[0])


def told(view: View, measured: float) -> str:
    """Return a view as JSON, its frames as PNG."""
    real = None if view.real is None else _told_side(view.real)
    figures = {one.name: getattr(view, one.name) for one in fields(view) if one.name not in ("imagined", "real")}
    return json.dumps({"imagined": _told_side(view.imagined), "real": real, "measured": round(measured, 1)} | figures)


def _told_side(side: Side) -> dict[str, Any]:
    file = io.BytesIO()
    Image.fromarray(side.frame).save(file, format="PNG", compress_level=1)
    height, width, _ = side.frame.shape
    return {
        "png": base64.b64encode(file.getvalue()).decode(),
        "height": height,
        "width": width,
        "success": side.success,
        "ended": side.ended,
        "ms": round(1000.0 * side.seconds, 1),
    }


def _answer(session: Session, request: Request) -> None:
    """Do what is asked; whoever asked hears of it, even of what nobody foresaw."""
    sentence = ENDED
    try:
        perform(session, request.message)
        sentence = ""
    except WorldRLError as error:
        sentence = str(error)
    finally:
        request.answer.set_result(sentence)


def _step(session: Session) -> None:
    try:
        session.step()
    except WorldRLError as error:
        session.fail(str(error))
