"""Rows of features under the hash of their frame: in memory, or in append-only files that survive a kill."""

import json
import os
import weakref
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from worldrl import locks
from worldrl.checkpoint import read_json, write_json
from worldrl.errors import CheckpointError, StorageError

KEY_BYTES = 16
SUM_BYTES = 8
Half = npt.NDArray[np.float16]


@runtime_checkable
class Rows(Protocol):
    """A growing table of features; ``grid`` is known once there is a row."""

    grid: tuple[int, int]

    def __contains__(self, key: bytes) -> bool:
        """Return whether there is a row for this frame."""
        ...

    def check(self, keys: list[bytes]) -> None:
        """Forget the rows of these frames that are no longer as they were written."""
        ...

    def lock(self) -> None:
        """Become the only writer."""
        ...

    def append(self, keys: list[bytes], cls: Half, patches: Half, grid: tuple[int, int]) -> None:
        """Add rows ``cls`` ``(m, d)`` and ``patches`` ``(m, p, d)``."""
        ...

    def read(self, keys: list[bytes]) -> tuple[Half, Half]:
        """Return the rows of these frames, in their order."""
        ...

    def close(self) -> None:
        """Let others write."""
        ...


class MemoryRows:
    """Rows that are gone with the process."""

    def __init__(self) -> None:
        self.grid = (0, 0)
        self._rows: dict[bytes, tuple[Half, Half]] = {}

    def __contains__(self, key: bytes) -> bool:
        return key in self._rows

    def check(self, keys: list[bytes]) -> None:
        """Do nothing: memory is trusted."""

    def lock(self) -> None:
        """Do nothing: nobody else can write here."""

    def append(self, keys: list[bytes], cls: Half, patches: Half, grid: tuple[int, int]) -> None:
        """Add rows ``cls`` ``(m, d)`` and ``patches`` ``(m, p, d)``."""
        self.grid = grid
        self._rows.update({key: (cls[i].copy(), patches[i].copy()) for i, key in enumerate(keys)})

    def read(self, keys: list[bytes]) -> tuple[Half, Half]:
        """Return the rows of these frames, in their order."""
        return np.stack([self._rows[key][0] for key in keys]), np.stack([self._rows[key][1] for key in keys])

    def close(self) -> None:
        """Do nothing: nobody else can write here."""


class DiskRows:
    """Rows in a folder: ``patches.f16``, ``cls.f16``, ``sums.bin``, ``index.bin`` (the keys) and ``meta.json``.

    Data are written and synced before their keys, so a row counts only once all four files hold it; what a killed
    writer left beyond that is ignored, and cut off by the next writer. There is one writer at a time; readers need
    no lock. Each row has a checksum, which ``check`` compares; where ``meta.json`` is damaged, no row counts. Nothing
    that is damaged is lost with it: features can be computed again.

    Args:
        folder: Where the rows lie; created by the first write.
        meta: What the rows were made with; a folder made with something else is refused.

    Raises:
        CheckpointError: If the folder was made with something else.
    """

    def __init__(self, folder: Path, meta: dict[str, Any]) -> None:
        self.folder, self.meta = folder, meta
        self.grid = (0, 0)
        self._width = 0
        self._rows: dict[bytes, int] = {}
        self._whole: set[int] = set()
        self._count = 0
        self._release: weakref.finalize[..., Any] | None = None
        self._refresh()

    def __contains__(self, key: bytes) -> bool:
        return key in self._rows

    def check(self, keys: list[bytes]) -> None:
        """Forget the rows of these frames that are not as they were written; each is looked at once.

        A row that is written anew later takes the place of the one that was forgotten.
        """
        rows = {self._rows[key]: key for key in keys if key in self._rows}
        unseen = {row: key for row, key in rows.items() if row not in self._whole}
        if not unseen:
            return
        cls, patches = self._arrays()
        sums = np.memmap(self.folder / "sums.bin", np.uint8, "r", shape=(self._count, SUM_BYTES))
        for row, key in unseen.items():
            if _sum(key, cls[row], patches[row]) == sums[row].tobytes():
                self._whole.add(row)
            else:
                del self._rows[key]

    def lock(self) -> None:
        """Become the only writer, and see what earlier writers have added.

        Raises:
            StorageError: If another process writes here, or the folder cannot be written.
        """
        if self._release is not None:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"{self.folder} cannot be written: {error}. Choose another folder.") from error
        handle, _ = locks.take(self.folder / "lock")
        self._release = weakref.finalize(self, locks.release, handle)
        self._refresh()

    def append(self, keys: list[bytes], cls: Half, patches: Half, grid: tuple[int, int]) -> None:
        """Add rows ``cls`` ``(m, d)`` and ``patches`` ``(m, p, d)``; the lock must be held.

        Raises:
            StorageError: If they cannot be written.
        """
        assert self._release is not None
        try:
            if not self._count:
                self.grid, self._width = grid, cls.shape[1]
                meta = {**self.meta, "grid": list(grid), "width": self._width}
                write_json(self.folder / "meta.json", {**meta, "sum": _meta_sum(meta)})
            self._write("index.bin", KEY_BYTES, b"")
            self._write("patches.f16", patches[0].nbytes, patches.tobytes())
            self._write("cls.f16", cls[0].nbytes, cls.tobytes())
            sums = [_sum(key, one, some) for key, one, some in zip(keys, cls, patches, strict=True)]
            self._write("sums.bin", SUM_BYTES, b"".join(sums))
            self._write("index.bin", KEY_BYTES, b"".join(keys))
        except OSError as error:
            raise StorageError(f"{self.folder} cannot be written: {error}. Free some space.") from error
        self._rows.update({key: self._count + i for i, key in enumerate(keys)})
        self._count += len(keys)

    def read(self, keys: list[bytes]) -> tuple[Half, Half]:
        """Return the rows of these frames, in their order."""
        rows = [self._rows[key] for key in keys]
        cls, patches = self._arrays()
        return np.asarray(cls[rows]), np.asarray(patches[rows])

    def close(self) -> None:
        """Let others write."""
        if self._release is not None:
            self._release()
            self._release = None

    def _arrays(self) -> tuple[Half, Half]:
        """Map the rows that count: ``cls`` ``(count, d)`` and ``patches`` ``(count, p, d)``."""
        patches = self.grid[0] * self.grid[1]
        return (
            np.memmap(self.folder / "cls.f16", np.float16, "r", shape=(self._count, self._width)),
            np.memmap(self.folder / "patches.f16", np.float16, "r", shape=(self._count, patches, self._width)),
        )

    def _write(self, name: str, row_bytes: int, content: bytes) -> None:
        """Cut a file off after the rows that count, append to it, and sync it."""
        with (self.folder / name).open("ab") as file:
            file.truncate(self._count * row_bytes)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    def _refresh(self) -> None:
        """Read from the files how many rows all of them hold, and their keys."""
        self._rows, self._whole, self._count = {}, set(), 0
        meta = self._read_meta()
        if meta is None:
            return
        grid, width = meta.pop("grid"), meta.pop("width")
        if meta != self.meta:
            raise CheckpointError(
                f"{self.folder} must hold features of {self.meta}, got {meta}: choose another folder."
            )
        self.grid, self._width = (grid[0], grid[1]), width
        row_bytes = {"cls.f16": 2 * width, "patches.f16": 2 * width * grid[0] * grid[1]}
        row_bytes |= {"index.bin": KEY_BYTES, "sums.bin": SUM_BYTES}
        files = {self.folder / name: size for name, size in row_bytes.items()}
        self._count = min(file.stat().st_size // size if file.exists() else 0 for file, size in files.items())
        keys = (self.folder / "index.bin").read_bytes() if self._count else b""
        self._rows = {keys[i * KEY_BYTES : (i + 1) * KEY_BYTES]: i for i in range(self._count)}

    def _read_meta(self) -> dict[str, Any] | None:
        """Return what the rows were made with; None where there is nothing, or nothing that is whole."""
        try:
            meta = read_json(self.folder / "meta.json")
        except CheckpointError:
            return None
        found = meta.pop("sum", None)
        return meta if found == _meta_sum(meta) else None


def _sum(key: bytes, cls: Half, patches: Half) -> bytes:
    digest = blake2b(key, digest_size=SUM_BYTES)
    digest.update(np.ascontiguousarray(cls).data)
    digest.update(np.ascontiguousarray(patches).data)
    return digest.digest()


def _meta_sum(meta: dict[str, Any]) -> str:
    return blake2b(json.dumps(meta, sort_keys=True).encode(), digest_size=SUM_BYTES).hexdigest()
