"""Frames themselves as the observation, beside the token pipeline of ``worldrl.observation`` and behind its call."""

import hashlib
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from einops import rearrange
from gymnasium import spaces
from torch.nn.functional import interpolate

from worldrl import checkpoint
from worldrl.errors import CheckpointError, ConfigError, DataError
from worldrl.types import Array


class FramePipeline:
    """Shrink frames to ``(3, size, size)`` in ``[-1, 1]``: no masks, no encoder, no proprioception.

    What World4RL's frame model and policy see, at a size that a CPU can train.

    Args:
        size: Pixels a side.

    Attributes:
        masks: ``none``.
        objects: Empty.
        encoder: None.
        tokenizer: None.
        visual: 0, as there are no tokens.
        space: The observation space, a float32 Box ``(3, size, size)``.
        hash: Identifies everything that changes what comes out.

    Raises:
        ConfigError: If the size is not a multiple of 8, which the frame denoiser folds and halves.
    """

    masks = "none"
    objects: tuple[str, ...] = ()
    encoder = None
    tokenizer = None
    visual = 0

    def __init__(self, size: int) -> None:
        if size < 16 or size % 8:
            raise ConfigError(f"pixels must be a multiple of 8, 16 or more, got {size}.")
        self.size, self.shape = size, (3, size, size)
        self.space = spaces.Box(-1.0, 1.0, self.shape, np.float32)
        self.hash = hashlib.sha256(json.dumps({"frames": size, "resize": "area"}).encode()).hexdigest()

    def __call__(
        self, frames: npt.NDArray[np.uint8], proprio: Array, labels: npt.NDArray[np.uint8] | None = None
    ) -> npt.NDArray[np.float32]:
        """Observe a batch of frames ``(b, h, w, 3)`` uint8; the rest is not looked at.

        Returns:
            ``(b, 3, size, size)`` float32 in ``[-1, 1]``.

        Raises:
            DataError: If the frames have another shape or type, or are smaller than ``size``.
        """
        if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8 or min(frames.shape[1:3]) < self.size:
            raise DataError(
                f"frames must be uint8 (b, h, w, 3) of {self.size} pixels or more, got {frames.dtype} {frames.shape}: "
                "record larger frames or observe fewer pixels."
            )
        writable = np.array(frames)  # recorded frames are mapped read-only, which torch warns of
        pixels = rearrange(torch.from_numpy(writable), "b h w c -> b c h w").float()
        small = interpolate(pixels, size=(self.size, self.size), mode="area") / 127.5 - 1.0
        return np.asarray(small.numpy())

    def require(self, found: str, *, owner: str) -> None:
        """Refuse something that was made for another pipeline.

        Raises:
            CheckpointError: If ``found`` is not this pipeline's hash.
        """
        checkpoint.require_pipeline(self.hash, found, owner=owner)

    def save_pretrained(self, path: Path) -> None:
        """Save to a folder.

        Raises:
            StorageError: If it cannot be written.
        """
        checkpoint.save(path, kind="observation", config={"frames": self.size, "hash": self.hash}, tensors={})

    @classmethod
    def from_pretrained(cls, path: Path) -> "FramePipeline":
        """Load from a folder.

        Raises:
            CheckpointError: If the folder is damaged or foreign.
        """
        saved = checkpoint.load(path, kind="observation")
        with checkpoint.described(path, "a frame pipeline"):
            pipeline, written = cls(int(saved.config["frames"])), str(saved.config["hash"])
        if pipeline.hash != written:
            raise CheckpointError(f"{path} was written by a worldrl that saw frames otherwise: make it again.")
        return pipeline
