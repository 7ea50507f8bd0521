"""One writer at a time: a lock that the system gives back when its holder ends, however that ends.

The file says who holds it. One that is held by nobody and still names somebody was left by a process that was killed:
it is taken over. No clock and no process number decides that, so neither can mislead.
"""

import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from worldrl.errors import StorageError

NAME = ".lock"


@dataclass(frozen=True)
class Holder:
    """A process: its number, its machine, and when it took the lock (UTC)."""

    pid: int
    host: str
    since: str

    def __str__(self) -> str:
        return f"pid {self.pid} on {self.host}"


@contextmanager
def hold(folder: Path) -> Iterator[Holder | None]:
    """Be the only one who writes into a folder, which is made if it is not there, until the end of the block.

    Yields:
        Whoever held it last and was killed, or None.

    Raises:
        StorageError: If another process holds it, or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{folder} cannot be written: {error}. Choose another folder.") from error
    handle, left = take(folder / NAME)
    try:
        yield left
    finally:
        release(handle)


def take(path: Path) -> tuple[int, Holder | None]:
    """Take a lock by the name of its file; return its handle, for `release`, and who left it without giving it back.

    Raises:
        StorageError: If another process holds it, or the file cannot be written.
    """
    import fcntl  # only POSIX systems have it, and much of this package needs no lock

    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error}. Choose another folder.") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        left = _holder(handle)
        _write(handle, json.dumps(asdict(_me())))
    except BlockingIOError as error:
        holder = _holder(handle) or "another process"
        os.close(handle)
        raise StorageError(f"{path.parent} is locked by {holder}: wait until it is done, or stop it.") from error
    except OSError as error:
        os.close(handle)
        raise StorageError(f"{path} cannot be locked: {error}. Choose another folder.") from error
    return handle, left


def release(handle: int) -> None:
    """Give a lock back."""
    try:
        os.ftruncate(handle, 0)
    finally:
        os.close(handle)


def is_alive(pid: int) -> bool:
    """Return whether a process of this machine runs, as far as can be known."""
    if os.name != "posix":
        return True  # no way to ask without ending it
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _me() -> Holder:
    return Holder(os.getpid(), platform.node(), datetime.now(UTC).isoformat(timespec="seconds"))


def _holder(handle: int) -> Holder | None:
    """Return whom the file names; None where it names nobody, or was cut off."""
    try:
        found = json.loads(os.pread(handle, 4096, 0))
        return Holder(int(found["pid"]), str(found["host"]), str(found["since"]))
    except (ValueError, KeyError, TypeError):
        return None


def _write(handle: int, text: str) -> None:
    os.ftruncate(handle, 0)
    os.pwrite(handle, text.encode(), 0)
