"""What a page may ask, and what it may not."""

from collections.abc import Callable
from typing import Any

import pytest

from worldrl.errors import ConfigError
from worldrl.player.commands import COMMANDS, perform
from worldrl.player.session import Session


def test_every_command_is_something_that_a_session_does(make: Callable[..., Session]) -> None:
    session = make()
    for message in (
        {"command": "drive", "by": "you"}, {"command": "act", "action": [1, 0]}, {"command": "step"},
        {"command": "pace", "fps": 20}, {"command": "go_on", "on": True}, {"command": "look", "at": "imagination"},
        {"command": "play"},
    ):  # fmt: skip
        perform(session, message)
    view = session.view()
    assert (view.driver, view.step, view.action, view.pace, view.beyond, view.playing) == (
        "you", 1, (1.0, 0.0), 20.0, True, True,
    )  # fmt: skip
    perform(session, {"command": "pause"})
    perform(session, {"command": "reset", "episode": 1, "step": 0})
    assert (session.view().playing, session.view().episode, session.view().step) == (False, 1, 0)
    assert all(callable(getattr(session, name)) for name in COMMANDS)


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (None, "a message must be an object"),
        ([], "a message must be an object"),
        ({}, "command must be one of play, pause"),
        ({"command": "close"}, "command must be one of"),
        ({"command": "view"}, "command must be one of"),
        ({"command": ["play"]}, "command must be one of"),
        ({"command": "play", "self": 1}, "play must have no field"),
        ({"command": "reset", "episode": 0}, "reset must have episode, step"),
        ({"command": "reset", "episode": True, "step": 0}, "episode must be a whole number, got True"),
        ({"command": "reset", "episode": 0.5, "step": 0}, "episode must be a whole number"),
        ({"command": "reset", "episode": 10**300, "step": 0}, "episode must be in 0 to 1"),
        ({"command": "pace", "fps": 10**400}, "fps must be a finite number"),
        ({"command": "pace", "fps": float("inf")}, "fps must be a finite number"),
        ({"command": "act", "action": 1}, "action must be a list of numbers"),
        ({"command": "act", "action": [1, "0"]}, "a number of action must be a finite number"),
        ({"command": "drive", "by": 3}, "by must be a text"),
        ({"command": "drive", "by": "../clone"}, "by must be one of you, right"),
        ({"command": "look", "at": 1}, "at must be a text"),
        ({"command": "look", "at": "MuJoCo"}, "at must be imagination where no MuJoCo stands"),
        ({"command": "record", "on": 1}, "on must be true or false"),
    ],
)
def test_a_bad_command_is_refused_in_a_short_sentence_and_changes_nothing(
    make: Callable[..., Session], message: Any, why: str
) -> None:
    session = make()
    before = session.view()
    with pytest.raises(ConfigError, match=why) as refused:
        perform(session, message)
    assert len(str(refused.value)) < 500
    assert session.view() == before
