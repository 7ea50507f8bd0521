"""What a file system is asked for so that a thing is whole or not there: places exchanged, writes that have arrived."""

import ctypes
import os
import re
import shutil
from pathlib import Path

from worldrl import locks


def sweep(path: Path) -> None:
    """Remove what processes that are no longer alive left half-written beside a file or folder ``path``.

    They are named ``.tmp-NAME-PID``, or ``.tmp-PID-NAME`` where the end of the name has to stay.
    """
    name = re.escape(path.name)
    mine = re.compile(rf"\.tmp-(?:{name}-(\d+)|(\d+)-{name})")
    for left in path.parent.glob(".tmp-*"):
        found = mine.fullmatch(left.name)
        if found is None or locks.is_alive(int(found[1] or found[2])):
            continue
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def swap(staged: Path, path: Path) -> None:
    """Put ``staged`` in the place of ``path``; an occupant is left under the name of ``staged``, or gone.

    Where two folders cannot be exchanged at once, the occupant is set aside until the new one stands: a run that is
    killed in between leaves it whole beside ``path``, its name ending in ``.old``.
    """
    if not path.exists():
        staged.rename(path)
    elif not _exchange(staged, path):
        aside = staged.with_name(f"{staged.name}.old")
        shutil.rmtree(aside, ignore_errors=True)
        path.rename(aside)
        try:
            staged.rename(path)
        except OSError:
            aside.rename(path)
            raise
        shutil.rmtree(aside, ignore_errors=True)


def _exchange(left: Path, right: Path) -> bool:
    """Let two folders trade names in one step; say whether this system and file system can (Linux, ``renameat2``)."""
    here, exchange = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of linux/fcntl.h and linux/fs.h
    try:
        rename = ctypes.CDLL(None).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    return bool(rename(here, os.fsencode(left), here, os.fsencode(right), ctypes.c_uint(exchange)) == 0)


def sync_tree(folder: Path) -> None:
    """Bring everything below a folder, and itself, to the disk."""
    for file in folder.rglob("*"):
        sync(file)
    sync(folder)


def sync(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk."""
    if path.is_dir() and os.name != "posix":
        return  # only POSIX systems open folders
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
