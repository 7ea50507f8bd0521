"""Rows of features under the hash of their frame: in memory, or in append-only files that survive a kill."""

import fcntl
import os
import weakref
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from worldrl.checkpoint import read_json, write_json
from worldrl.errors import CheckpointError, StorageError

KEY_BYTES = 16
Half = npt.NDArray[np.float16]


@runtime_checkable
class Rows(Protocol):
    """A growing table of features; ``grid`` is known once there is a row."""

    grid: tuple[int, int]

    def __contains__(self, key: bytes) -> bool:
        """Return whether there is a row for this frame."""
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
    """Rows in a folder: ``patches.f16``, ``cls.f16``, ``index.bin`` (the keys) and ``meta.json``.

    Data are written and synced before their keys, so a row counts only once all three files hold it; what a killed
    writer left beyond that is ignored, and cut off by the next writer. There is one writer at a time; readers need
    no lock.

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
        self._count = 0
        self._release: weakref.finalize[..., Any] | None = None
        self._refresh()

    def __contains__(self, key: bytes) -> bool:
        return key in self._rows

    def lock(self) -> None:
        """Become the only writer, and see what earlier writers have added.

        Raises:
            StorageError: If another process writes here, or the folder cannot be written.
        """
        if self._release is not None:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise StorageError(f"{self.folder} cannot be written: {error}. Choose another folder.") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(handle)
            raise StorageError(f"another process writes features to {self.folder}: wait until it is done.") from error
        self._release = weakref.finalize(self, os.close, handle)
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
                write_json(self.folder / "meta.json", {**self.meta, "grid": grid, "width": self._width})
            self._write("index.bin", KEY_BYTES, b"")
            self._write("patches.f16", patches[0].nbytes, patches.tobytes())
            self._write("cls.f16", cls[0].nbytes, cls.tobytes())
            self._write("index.bin", KEY_BYTES, b"".join(keys))
        except OSError as error:
            raise StorageError(f"{self.folder} cannot be written: {error}. Free some space.") from error
        self._rows.update({key: self._count + i for i, key in enumerate(keys)})
        self._count += len(keys)

    def read(self, keys: list[bytes]) -> tuple[Half, Half]:
        """Return the rows of these frames, in their order."""
        rows = [self._rows[key] for key in keys]
        patches = self.grid[0] * self.grid[1]
        cls = np.memmap(self.folder / "cls.f16", np.float16, "r", shape=(self._count, self._width))
        tokens = np.memmap(self.folder / "patches.f16", np.float16, "r", shape=(self._count, patches, self._width))
        return np.asarray(cls[rows]), np.asarray(tokens[rows])

    def close(self) -> None:
        """Let others write."""
        if self._release is not None:
            self._release()
            self._release = None

    def _write(self, name: str, row_bytes: int, content: bytes) -> None:
        """Cut a file off after the rows that count, append to it, and sync it."""
        with (self.folder / name).open("ab") as file:
            file.truncate(self._count * row_bytes)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    def _refresh(self) -> None:
        """Read from the files how many rows all of them hold, and their keys."""
        if not (self.folder / "meta.json").is_file():
            return
        meta = read_json(self.folder / "meta.json")
        grid, width = meta.pop("grid", (0, 0)), meta.pop("width", 0)
        if meta != self.meta or not width:
            raise CheckpointError(
                f"{self.folder} must hold features of {self.meta}, got {meta}: choose another folder."
            )
        self.grid, self._width = (grid[0], grid[1]), width
        row_bytes = {"index.bin": KEY_BYTES, "cls.f16": 2 * width, "patches.f16": 2 * width * grid[0] * grid[1]}
        files = {self.folder / name: size for name, size in row_bytes.items()}
        self._count = min(file.stat().st_size // size if file.exists() else 0 for file, size in files.items())
        keys = (self.folder / "index.bin").read_bytes() if self._count else b""
        self._rows = {keys[i * KEY_BYTES : (i + 1) * KEY_BYTES]: i for i in range(self._count)}
