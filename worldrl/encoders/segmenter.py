"""Frames and prompts in, masks out: MobileSAM with its preprocessing, frozen."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from worldrl.checkpoint import hash_tensors, load_state
from worldrl.encoders.frozen import Encoder, check_frames, load_encoder
from worldrl.encoders.sam import BOTTOM_RIGHT, OUTSIDE, Masks, SamDecoder
from worldrl.encoders.weights import converted_folder, load_weights
from worldrl.errors import ConfigError, DataError
from worldrl.types import Array

DECODER = "mobilesam_decoder"
SIDE = 1024
"""The image's longer side that the weights were trained with."""


class Segmenter(nn.Module):
    """Masks of what points and boxes point at.

    A frame is enlarged to ``side`` and filled up to a square, encoded once, and then asked about as often as one likes.
    It stays in evaluation mode, and no gradient passes.

    Args:
        side: Pixels of the longer side that a frame is enlarged to, a multiple of 64. Fewer are faster and coarser:
            on frames of 126 pixels, small objects have an IoU of 0.8, 0.9 and 1.0 with their true masks, boxes given,
            at 256, 512 and 1,024, in 0.4, 1.0 and 4.3 s a frame on one busy core.
        device: Where to compute.
        random_init: Whether to leave the weights at random: the control for what pretraining brings.
        seed: What those random weights follow from.
        weights: Converted folders or original files of encoder and decoder, instead of looking for them.

    Raises:
        ConfigError: If ``side`` is not a positive multiple of 64.
        CheckpointError: If the weights are missing, damaged or not the pinned ones.
        DeviceError: If this machine does not have the device.
    """

    def __init__(
        self,
        *,
        side: int = SIDE,
        device: str = "cpu",
        random_init: bool = False,
        seed: int = 0,
        weights: tuple[Path, Path] | None = None,
    ) -> None:
        if side < 64 or side % 64:
            raise ConfigError(f"side must be a positive multiple of 64, got {side}.")
        super().__init__()
        first, second = (None, None) if weights is None else weights
        self.side = side
        encoder = load_encoder("mobilesam", device=device, random_init=random_init, seed=seed, weights=first)
        assert isinstance(encoder, Encoder)
        self.encoder = encoder
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            self.decoder = SamDecoder()
        if not random_init:
            load_state(self.decoder, load_weights(DECODER, weights=second), path=second or converted_folder(DECODER))
        self.decoder.to(self.encoder.device)
        self.requires_grad_(False)
        self.train(False)
        self.weights_hash = hash_tensors(self.decoder.state_dict()) + self.encoder.weights_hash

    def train(self, mode: bool = True) -> "Segmenter":
        """Stay in evaluation mode, whatever the mode."""
        return super().train(False)

    @torch.no_grad()
    def embed(self, frames: npt.NDArray[np.uint8]) -> Float[Tensor, "b d i j"]:
        """Return the maps ``(b, 256, side / 16, side / 16)`` of frames ``(b, h, w, 3)`` uint8.

        Raises:
            TypeError: If the frames are not uint8.
            ValueError: If their shape is wrong.
        """
        check_frames(frames)
        return torch.cat([self._embed(frames[i : i + 1]) for i in range(len(frames))])

    @torch.no_grad()
    def forward(
        self,
        maps: Float[Tensor, "b d i j"],
        points: Array,
        labels: npt.NDArray[np.integer],
        *,
        size: tuple[int, int],
        mask: Float[Tensor, "b h w"] | None = None,
    ) -> Masks:
        """Return four masks for each prompt, in the frame's own pixels.

        Args:
            maps: Of ``embed``, one for each prompt.
            points: ``(b, n, 2)``, x and y in pixels of the frame; the centre of the first pixel is at a half.
            labels: ``(b, n)``, as ``SamDecoder`` reads them.
            size: Height and width of the frame.
            mask: Logits ``(b, h, w)`` of a mask to begin with, in the frame's pixels; None for none.

        Returns:
            Masks with logits ``(b, 4, h, w)``.

        Raises:
            DataError: If points and labels are not one set for each map, or a label is unknown.
        """
        told, kinds = np.asarray(points, np.float32), np.asarray(labels)
        if told.ndim != 3 or told.shape[2] != 2 or kinds.shape != told.shape[:2] or len(told) != len(maps):
            raise DataError(
                f"points must be ({len(maps)}, n, 2) and labels ({len(maps)}, n), got {told.shape} and {kinds.shape}."
            )
        if kinds.size and not (kinds.min() >= OUTSIDE and kinds.max() <= BOTTOM_RIGHT):
            raise DataError(f"labels must be in [{OUTSIDE}, {BOTTOM_RIGHT}], got {kinds.min()} to {kinds.max()}.")
        longer = max(size)
        places = torch.as_tensor(told, device=maps.device) / longer
        before = None if mask is None else self._coarse(mask)
        found = self.decoder(maps, places, torch.as_tensor(kinds, device=maps.device).long(), mask=before)
        fine = F.interpolate(found.logits, size=(longer, longer), mode="bilinear", align_corners=False)
        return Masks(fine[..., : size[0], : size[1]], found.iou)

    def _embed(self, frame: npt.NDArray[np.uint8]) -> Tensor:
        pixels = self.encoder.preprocess(frame)
        height, width = (round(self.side * n / max(frame.shape[1:3])) for n in frame.shape[1:3])
        large = F.interpolate(pixels, size=(height, width), mode="bicubic", align_corners=False)
        square = F.pad(large, (0, self.side - width, 0, self.side - height))
        features = self.encoder.backbone(square, layer=self.encoder.layer)
        image: Tensor = rearrange(features.patches, "b (i j) d -> b d i j", i=features.grid[0])
        return image

    def _coarse(self, mask: Tensor) -> Tensor:
        """Return logits in pixels of the frame as the decoder reads them; the rest of the square is outside."""
        longer, side = max(mask.shape[-2:]), self.side // 4
        square = F.pad(mask, (0, longer - mask.shape[-1], 0, longer - mask.shape[-2]), value=float(mask.min()))
        coarse: Tensor = F.interpolate(square[:, None], size=(side, side), mode="bilinear", align_corners=False)
        return coarse[:, 0]
