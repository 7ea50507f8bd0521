"""One small exception class for each exit code of the command line."""

from collections.abc import Mapping
from typing import Any


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says, without its full stop; its kind where it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


class WorldRLError(Exception):
    """Anything a user can cause from outside; the message names the thing and the mend.

    ``exit_code`` is what the command line exits with, ``details`` what ``--json`` says beside the message, by name.
    """

    exit_code = 1
    details: Mapping[str, Any] = {}


def error_of(code: int) -> type[WorldRLError]:
    """Return the kind of error with an exit code; the plain one for a bug, a signal and whatever else has none."""
    return next((kind for kind in WorldRLError.__subclasses__() if kind.exit_code == code), WorldRLError)


class ConfigError(WorldRLError):
    """An option, a name or a combination of options that cannot be used."""

    exit_code = 2


class DataError(WorldRLError):
    """Episodes, frames or actions that cannot be read or trusted."""

    exit_code = 3


class CheckpointError(WorldRLError):
    """A checkpoint that is damaged, foreign, or made for another observation pipeline."""

    exit_code = 4


class DeviceError(WorldRLError):
    """A device that this machine does not have."""

    exit_code = 5


class RenderError(WorldRLError):
    """No way to draw: a missing or broken GL library."""

    exit_code = 6


class NumericsError(WorldRLError):
    """A value that is not finite where it has to be."""

    exit_code = 7


class StorageError(WorldRLError):
    """A file that cannot be written."""

    exit_code = 8
