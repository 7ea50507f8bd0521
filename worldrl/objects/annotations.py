"""A few frames of a task with the masks of its objects: all that few-shot masks are told."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from worldrl import checkpoint
from worldrl.errors import DataError

KIND = "annotations"


@dataclass(frozen=True)
class Annotations:
    """Annotated frames.

    Attributes:
        frames: ``(n, h, w, 3)`` uint8.
        labels: ``(n, h, w)`` uint8: 0 for background, ``i + 1`` for ``objects[i]``.
        objects: Names in the order of the labels.
        task: Id of the environment that the frames are of.

    Raises:
        DataError: If frames and labels do not go together, a label has no name, or an object is in no frame.
    """

    frames: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.uint8]
    objects: tuple[str, ...]
    task: str

    def __post_init__(self) -> None:
        if self.frames.ndim != 4 or self.frames.shape[3] != 3 or self.labels.shape != self.frames.shape[:3]:
            raise DataError(
                f"annotations must be frames (n, h, w, 3) and labels (n, h, w), "
                f"got {self.frames.shape} and {self.labels.shape}."
            )
        found = set(np.unique(self.labels).tolist()) - {0}
        if beyond := sorted(found - set(range(1, len(self.objects) + 1))):
            raise DataError(f"labels must be at most {len(self.objects)}, one an object, got {beyond[-1]}.")
        if missing := [name for i, name in enumerate(self.objects, start=1) if i not in found]:
            raise DataError(f"every object must be seen in an annotated frame, {', '.join(missing)} are in none.")

    def __len__(self) -> int:
        return len(self.frames)

    def require(self, *, task: str, size: tuple[int, int]) -> None:
        """Refuse frames of another task or resolution.

        Raises:
            DataError: If they are.
        """
        if task != self.task:
            raise DataError(f"annotations must be of {task}, got {self.task}: annotate frames of that task.")
        if self.frames.shape[1:3] != size:
            own, wanted = ("x".join(map(str, sides)) for sides in (self.frames.shape[1:3], size))
            raise DataError(f"annotations must be of frames of {wanted} pixels, got {own}: annotate such frames.")

    def save_pretrained(self, path: Path) -> None:
        """Save to a folder.

        Raises:
            StorageError: If it cannot be written.
        """
        tensors = {"frames": torch.from_numpy(self.frames.copy()), "labels": torch.from_numpy(self.labels.copy())}
        checkpoint.save(path, kind=KIND, config={"objects": list(self.objects), "task": self.task}, tensors=tensors)

    @classmethod
    def from_pretrained(cls, path: Path) -> "Annotations":
        """Load from a folder.

        Raises:
            CheckpointError: If the folder is damaged or holds no annotations.
            DataError: If what it holds does not go together.
        """
        saved = checkpoint.load(path, kind=KIND)
        with checkpoint.described(path, "annotations"):
            frames, labels = (saved.tensors[name].numpy() for name in ("frames", "labels"))
            return cls(frames, labels, tuple(saved.config["objects"]), str(saved.config["task"]))
