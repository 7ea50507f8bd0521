"""SIGINT and SIGTERM: the first asks for a stop, granted by a long loop when its step is whole; the second is at once.

Where nobody loops, the first signal raises `Stopped` where it comes: what is written is whole or not there anyway. A
loop that can keep where it is says so with `patient` and asks `stopping` after every step.
"""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from worldrl.errors import WorldRLError

SAME_S = 0.3
"""Signals so close together are one: ``timeout`` sends its own twice, to the process and to its group."""
LAUNCHED = "TORCHELASTIC_RUN_ID"
"""Set in a process that torch's launcher began."""
WORD = b"stopping as soon as this step is whole; once more to stop at once\n"


class Stopped(KeyboardInterrupt):
    """The run was asked to stop by a signal; ``exit_code`` is 130 for SIGINT and 143 for SIGTERM."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


class _Asked:
    """Which signal has come (0 for none), when, and how many loops would rather be asked than interrupted."""

    number, at, patient = 0, 0.0, 0


@contextmanager
def listen() -> Iterator[None]:
    """Hear SIGINT and SIGTERM as this module says, until the end of the block.

    Whatever breaks after a signal is taken for its doing, unless it is an error of this package: a disk that is full
    while the last step is kept is told as that.

    A signal that is ignored stays ignored (``nohup``), and one that somebody hears already stays theirs: torch's
    launcher ends its processes by SIGTERM and counts on what that does. Only a main thread can listen.

    Raises:
        Stopped: If a signal has come and was not told as itself.
    """
    default = (signal.SIG_DFL, signal.default_int_handler)
    heard = [one for one in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(one) in default]
    if threading.current_thread() is not threading.main_thread() or LAUNCHED in os.environ:
        heard = []
    before = {one: signal.signal(one, _hear) for one in heard}
    _Asked.number = 0
    try:
        yield
    except Exception as error:
        if _Asked.number and not isinstance(error, WorldRLError):  # an import that a signal cut off is an ImportError
            raise Stopped(_Asked.number) from error
        raise
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
        _Asked.number = 0


@contextmanager
def kept() -> Iterator[None]:
    """Put back, at the end of the block, who heard SIGINT and SIGTERM before it: some libraries take them over."""
    found = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():  # no other can change them
            for one, handler in found.items():
                if handler is not None:  # not of Python
                    signal.signal(one, handler)


@contextmanager
def patient() -> Iterator[None]:
    """Let the first signal wait while the block runs: it asks `stopping`. One that nobody granted counts at the end.

    Raises:
        Stopped: At the end of the block, if a signal has come.
    """
    _Asked.patient += 1
    try:
        yield
    finally:
        _Asked.patient -= 1
    if not _Asked.patient:
        grant()


def stopping() -> bool:
    """Return whether a signal has asked for a stop."""
    return _Asked.number != 0


def grant() -> None:
    """Stop if that was asked for.

    Raises:
        Stopped: If so.
    """
    if _Asked.number:
        raise Stopped(_Asked.number)


def _hear(number: int, frame: object) -> None:
    now = time.monotonic()
    if _Asked.number:
        if now - _Asked.at > SAME_S:
            os._exit(128 + number)
        return
    _Asked.number, _Asked.at = number, now
    if not _Asked.patient:
        raise Stopped(number)
    os.write(2, WORD)  # print may be what was interrupted
