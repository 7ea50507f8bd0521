"""The thread that owns the worlds keeps the pace and does what is asked."""

import base64
import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread
from time import monotonic, sleep
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from worldrl.player import loop
from worldrl.player.exchange import Exchange
from worldrl.player.session import Session
from worldrl.types import Imagined


@contextmanager
def running(session: Session) -> Iterator[Exchange]:
    exchange = Exchange()
    thread = Thread(target=loop.run, args=(session, exchange))
    thread.start()
    try:
        yield exchange
    finally:
        exchange.close()
        thread.join(timeout=10)
        assert not thread.is_alive()


def told(exchange: Exchange, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Return the first news that are as wanted."""
    seen = 0
    while True:
        news = exchange.news(seen, patience=5.0)
        assert news is not None, "no such news"
        seen, view = news[0], json.loads(news[1])
        if wanted(view):
            return dict(view)


def test_what_is_asked_is_done_and_what_cannot_be_is_answered(make: Callable[..., Session]) -> None:
    with running(make()) as exchange:
        assert exchange.ask({"command": "step"}) == ""
        assert told(exchange, lambda view: view["step"] == 1)["driver"] == "right"
        assert exchange.ask({"command": "jump"}).startswith("command must be one of")
        assert exchange.ask({"command": "step"}) == ""
    assert exchange.ask({"command": "step"}) == "the player has ended."


def test_it_plays_at_the_pace_that_was_asked_for(make: Callable[..., Session]) -> None:
    with running(make(horizon=10**6, pace=40.0)) as exchange, exchange.watching():
        exchange.ask({"command": "drive", "by": "you"})
        exchange.ask({"command": "play"})
        began = monotonic()
        measured = told(exchange, lambda view: view["step"] >= 41)["measured"]
    assert monotonic() - began > 0.95 and 5.0 < measured < 60.0


def test_what_was_not_played_while_it_stood_is_not_made_up_for(make: Callable[..., Session]) -> None:
    with running(make(horizon=10**6, pace=1.0)) as exchange, exchange.watching():
        exchange.ask({"command": "drive", "by": "you"})
        sleep(1.2)
        exchange.ask({"command": "play"})
        told(exchange, lambda view: view["step"] >= 1)
        sleep(0.4)
        assert exchange.ask({"command": "pause"}) == ""
        assert told(exchange, lambda view: not view["playing"] and view["step"] > 0)["step"] == 1


def test_it_stops_playing_when_nobody_looks(make: Callable[..., Session], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "LONELY", 0.2)
    with running(make(horizon=10**6)) as exchange:
        exchange.ask({"command": "drive", "by": "you"})
        exchange.ask({"command": "play"})
        assert told(exchange, lambda view: not view["playing"] and view["step"] > 1)


def test_a_world_that_breaks_is_told_of_and_can_be_begun_again(
    make: Callable[..., Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = make()
    with monkeypatch.context() as broken, running(session) as exchange, exchange.watching():
        broken.setattr(type(session._dream.model), "imagine", nowhere)
        exchange.ask({"command": "play"})
        view = told(exchange, lambda view: bool(view["problem"]))
        assert "finite" in view["problem"] and not view["playing"]
        broken.undo()
        assert exchange.ask({"command": "reset", "episode": 0, "step": 0}) == ""
        assert exchange.ask({"command": "step"}) == ""
        assert told(exchange, lambda view: view["step"] == 1)["problem"] == ""


def nowhere(world: Any, obs: torch.Tensor, acts: torch.Tensor, **chance: torch.Tensor) -> Imagined:
    """Imagine what no number is."""
    return Imagined(obs[:, -1] * torch.nan, obs[:, -1, 0], obs[:, -1, 0])


def test_news_hold_the_pictures_as_they_are(make: Callable[..., Session]) -> None:
    session = make()
    view = json.loads(loop.told(session.view(), 0.0))
    png = Image.open(io.BytesIO(base64.b64decode(view["imagined"]["png"])))
    assert np.array_equal(np.asarray(png), session.view().imagined.frame)
    assert view["real"] is None and view["imagined"]["width"] == 64
