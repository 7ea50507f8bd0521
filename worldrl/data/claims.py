"""Who writes into a data set: every writer has a number of its own, which no other process gets meanwhile."""

import os
import platform
import shutil
from pathlib import Path

from worldrl import locks
from worldrl.data.shard import list_shards
from worldrl.errors import DataError, StorageError


def claim_writer(folder: Path, number: int | None = None) -> int:
    """Take a writer number of a data set, the next free one if None; no other process gets it until `release_writer`.

    Raises:
        DataError: If ``number`` is not free.
        StorageError: If the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        while True:
            taken = [int(path.name.split("-")[1]) for path in (*list_shards(folder), *folder.glob(".writer-*"))]
            mine = max(taken, default=-1) + 1 if number is None else number
            if mine in taken:
                raise DataError(f"writer {mine} of {folder} must be free, got one that has written or writes.")
            try:
                with (folder / f".writer-{mine:05d}").open("x") as file:
                    file.write(f"{os.getpid()} {platform.node()}")
            except FileExistsError:
                continue
            if not any(folder.glob(f"shard-{mine:05d}-*")):  # written and released since we looked
                return mine
            release_writer(folder, mine)
    except OSError as error:
        raise StorageError(f"{folder} cannot be written: {error}. Choose another folder.") from error


def release_writer(folder: Path, number: int) -> None:
    """Give a writer number back and sweep what a killed writer of that number left half-written."""
    for path in folder.glob(f".tmp-shard-{number:05d}-*"):
        shutil.rmtree(path, ignore_errors=True)
    (folder / f".writer-{number:05d}").unlink(missing_ok=True)


def _sweep(folder: Path) -> None:
    """Release the numbers of writers that died on this machine."""
    for claim in folder.glob(".writer-*"):
        try:
            pid, _, host = claim.read_text().partition(" ")
            if host == platform.node() and not locks.is_alive(int(pid)):
                release_writer(folder, int(claim.name.split("-")[1]))
        except (FileNotFoundError, ValueError):  # released, or not yet filled in
            continue
