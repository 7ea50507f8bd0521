"""Class tokens of a whole frame and of its four quarters, out of one pass of a frozen vision transformer."""

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from worldrl.encoders.frozen import MICRO_BATCH, Encoder, check_frames
from worldrl.encoders.vit import DinoV2
from worldrl.errors import ConfigError, DataError
from worldrl.types import Features

QUARTERS = 4


class QuarterTokens:
    """A frozen encoder whose four patches are quarters of the frame, each told by a class token of its own.

    Four copies of the class token go through the network beside it. Each sees itself and the patches of its quarter; no
    other token sees a copy, so the frame's own features are what they were. A copy is not blind to the rest of the
    frame all the same: the patches that it sees have looked around.

    Source: Fu et al. 2024, "Frozen-DETR: enhancing DETR with image understanding from frozen foundation models"
    (arXiv:2410.19635), section 3.2; copies of the class token after MaskCLIP (Ding et al. 2022).

    Args:
        encoder: DINOv2; its layer is read out.

    Attributes:
        name: The encoder's name.
        source: The arguments that load the encoder again.
        width: Numbers ``d`` of a token.
        patch: Pixels that a frame is a multiple of, so that its quarters are whole patches.
        fingerprint: Hash of the encoder and of what is done with it.

    Raises:
        ConfigError: If the encoder is no DINOv2.
    """

    def __init__(self, encoder: Encoder) -> None:
        if not isinstance(encoder.backbone, DinoV2):
            raise ConfigError(f"class tokens of quarters are of dinov2_vits14 only, got '{encoder.name}'.")
        self.encoder, self.backbone = encoder, encoder.backbone
        self.name, self.width, self.patch = encoder.name, encoder.width, 2 * encoder.patch
        self.source: dict[str, Any] = dict(encoder.source)
        self.fingerprint = hashlib.sha256(f"quarters of {encoder.fingerprint}".encode()).hexdigest()

    @property
    def device(self) -> torch.device:
        """Where it computes, and where its features are."""
        return self.encoder.device

    @torch.no_grad()
    def __call__(self, frames: npt.NDArray[np.uint8]) -> Features:
        """Encode ``(b, h, w, 3)`` uint8 frames.

        Returns:
            ``cls`` ``(b, d)`` of the frame; ``patches`` ``(b, 4, d)`` of its quarters, row-major.

        Raises:
            TypeError: If the frames are not uint8.
            ValueError: If their shape is wrong.
            DataError: If their sides are no multiples of ``patch``.
        """
        check_frames(frames)
        if frames.shape[1] % self.patch or frames.shape[2] % self.patch:
            sides = f"{frames.shape[1]}x{frames.shape[2]}"
            raise DataError(f"frames must have sides that are multiples of {self.patch}, got {sides}: resize them.")
        parts = [self._tokens(frames[i : i + MICRO_BATCH]) for i in range(0, len(frames), MICRO_BATCH)]
        tokens = torch.cat(parts)
        return Features(tokens[:, 0], tokens[:, 1:], (2, 2))

    def _tokens(self, frames: npt.NDArray[np.uint8]) -> Float[Tensor, "b q d"]:
        """Return the class token and its four copies."""
        tokens, grid = self.backbone.embed(self.encoder.preprocess(frames))
        # The copies come last, so that everything else keeps its place.
        tokens = torch.cat([tokens, tokens[:, :1].expand(-1, QUARTERS, -1)], dim=1)
        allowed = seen_by(grid).to(tokens.device)
        for block in self.backbone.blocks[: self.encoder.layer]:
            tokens = block(tokens, allowed)
        tokens = self.backbone.norm(tokens)
        return torch.cat([tokens[:, :1], tokens[:, -QUARTERS:]], dim=1)


def seen_by(grid: tuple[int, int]) -> Bool[Tensor, "n n"]:
    """Return which tokens the token of a row sees: the class token, patches row by row, then the four copies.

    Args:
        grid: Rows and columns of patches, both even.
    """
    rows, columns = grid
    row, column = torch.arange(rows)[:, None], torch.arange(columns)[None]
    quarter = (2 * (row * 2 // rows) + column * 2 // columns).flatten()
    count = 1 + rows * columns
    allowed = torch.zeros(count + QUARTERS, count + QUARTERS, dtype=torch.bool)
    allowed[:count, :count] = True
    for i in range(QUARTERS):
        allowed[count + i, 1:count] = quarter == i
        allowed[count + i, count + i] = True
    return allowed
