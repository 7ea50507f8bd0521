"""What a page may ask of a session, checked before it reaches it."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from worldrl.errors import ConfigError
from worldrl.player.session import Session


def perform(session: Session, message: Any) -> None:
    """Do what a message asks: ``{"command": NAME, FIELD: VALUE, ...}``, with just the fields of that command.

    Raises:
        ConfigError: If it is no such message, or asks for what there is not.
        WorldRLError: If it cannot be done.
    """
    if not isinstance(message, dict):
        raise ConfigError(f'a message must be an object such as {{"command": "play"}}, got {_shown(message)}.')
    name = message.get("command")
    if not isinstance(name, str) or name not in COMMANDS:
        raise ConfigError(f"command must be one of {', '.join(COMMANDS)}, got {_shown(name)}.")
    fields = COMMANDS[name]
    given = {key: value for key, value in message.items() if key != "command"}
    if set(given) != set(fields):
        wanted = ", ".join(fields) or "no field"
        raise ConfigError(f"{name} must have {wanted}, got {_shown(sorted(given))}.")
    getattr(session, name)(**{key: check(key, given[key]) for key, check in fields.items()})


def _whole(name: str, value: Any) -> int:
    if type(value) is not int:
        raise ConfigError(f"{name} must be a whole number, got {_shown(value)}.")
    return value


def _number(name: str, value: Any) -> float:
    try:
        number = float(value) if type(value) in (int, float) else math.nan
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ConfigError(f"{name} must be a finite number, got {_shown(value)}.")
    return number


def _numbers(name: str, value: Any) -> list[float]:
    if not isinstance(value, list):
        raise ConfigError(f"{name} must be a list of numbers, got {_shown(value)}.")
    return [_number(f"a number of {name}", one) for one in value]


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f"{name} must be true or false, got {_shown(value)}.")
    return value


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{name} must be a text, got {_shown(value)}.")
    return value


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


COMMANDS: Mapping[str, Mapping[str, Callable[[str, Any], Any]]] = {
    "play": {},
    "pause": {},
    "step": {},
    "reset": {"episode": _whole, "step": _whole},
    "drive": {"by": _text},
    "look": {"at": _text},
    "act": {"action": _numbers},
    "go_on": {"on": _flag},
    "pace": {"fps": _number},
    "record": {"on": _flag},
}
"""Of every command, a method of the session, its fields and how each is read."""
