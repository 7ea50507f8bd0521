"""Features computed once for each distinct frame."""

from hashlib import blake2b
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt
import torch

from worldrl.encoders.frozen import check_frames
from worldrl.encoders.rows import KEY_BYTES, DiskRows, Half, MemoryRows, Rows
from worldrl.errors import NumericsError
from worldrl.types import Features, FrozenEncoder

CHUNK = 256


class FeatureCache:
    """A frozen encoder that remembers: the same protocol, each distinct frame encoded once.

    Features are kept as float16 and returned as float32, on a first and on a later call alike. On disk, each encoder
    and frame size has a folder of its own, named after the encoder's fingerprint, so that other weights, another
    preprocessing or another layer never meet; several processes may read it while one writes. What was damaged on the
    disk is computed again.

    Args:
        folder: Where features are kept, or None to keep them in memory only.
        encoder: Who computes what is not there yet.

    Attributes:
        name: The encoder's name.
        width: The encoder's feature width ``d``.
        fingerprint: The encoder's fingerprint.
        patch: The encoder's patch size in pixels; None if it has none.
        hits: Frames that were answered without the encoder.
        misses: Frames that the encoder computed.
    """

    def __init__(self, folder: Path | None, encoder: FrozenEncoder) -> None:
        self.folder = None if folder is None else Path(folder)
        self.encoder = encoder
        self.name, self.width, self.fingerprint = encoder.name, encoder.width, encoder.fingerprint
        self.patch, self.source = encoder.patch, encoder.source
        self.device = torch.device(getattr(encoder, "device", "cpu"))
        self.hits = self.misses = 0
        self._tables: dict[tuple[int, int], Rows] = {}

    def __call__(self, frames: npt.NDArray[np.uint8]) -> Features:
        """Encode ``(b, h, w, 3)`` uint8 frames, computing those that were never seen.

        Raises:
            TypeError: If the frames are not uint8.
            ValueError: If their shape is wrong.
            CheckpointError: If the folder holds features of something else.
            NumericsError: If a feature does not fit into float16.
            StorageError: If another process writes to the folder, or it cannot be written.
        """
        check_frames(frames)
        table = self._table(frames.shape[1], frames.shape[2])
        keys = [_key(frame) for frame in frames]
        table.check(keys)
        if any(key not in table for key in keys):
            table.lock()
            table.check(keys)  # others may have written them by now
        first = {key: i for i, key in reversed(list(enumerate(keys))) if key not in table}
        missing = sorted(first.values())
        for start in range(0, len(missing), CHUNK):
            self._compute(table, frames, keys, missing[start : start + CHUNK])
        self.misses += len(missing)
        self.hits += len(keys) - len(missing)
        cls, patches = table.read(keys)
        return Features(self._tensor(cls), self._tensor(patches), table.grid)

    def close(self) -> None:
        """Let other processes write; what was kept in memory only is forgotten."""
        for table in self._tables.values():
            table.close()
        self._tables.clear()

    def __enter__(self) -> "FeatureCache":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _compute(self, table: Rows, frames: npt.NDArray[np.uint8], keys: list[bytes], rows: list[int]) -> None:
        features = self.encoder(frames[rows])
        cls, patches = _half(features.cls), _half(features.patches)
        table.append([keys[row] for row in rows], cls, patches, features.grid)

    def _table(self, height: int, width: int) -> Rows:
        if (height, width) not in self._tables:
            self._tables[height, width] = self._open(height, width)
        return self._tables[height, width]

    def _open(self, height: int, width: int) -> Rows:
        if self.folder is None:
            return MemoryRows()
        meta = {"encoder": self.name, "fingerprint": self.fingerprint, "frame": [height, width]}
        return DiskRows(self.folder / f"{self.fingerprint[:16]}-{height}x{width}", meta)

    def _tensor(self, values: Half) -> torch.Tensor:
        return torch.from_numpy(values.astype(np.float32)).to(self.device)


def _key(frame: npt.NDArray[np.uint8]) -> bytes:
    digest = blake2b(f"{frame.shape}|".encode(), digest_size=KEY_BYTES)
    digest.update(frame.tobytes())
    return digest.digest()


def _half(values: torch.Tensor) -> Half:
    half = values.detach().half()
    if not torch.isfinite(half).all():
        raise NumericsError("features must be finite and within 65504 to be kept as float16, got one that is not.")
    array: Half = half.cpu().numpy()
    return array
