"""Frames as a few visual tokens and back: the small autoencoder whose latent stands beside object tokens."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from worldrl import checkpoint
from worldrl.encoders.thumbnails import SIZE, shrink, to_frames
from worldrl.errors import ConfigError

KIND = "tokenizer"
GRID = 4
"""Cells of the latent along each side of the frame."""
SIDES = {1: 1, 4: 2, 16: 4}
"""Numbers of visual tokens there may be, and how many of them lie along each side of the frame."""
NUMBERS = 32
"""Numbers a visual token has: no more than an object token with its look, which is 42 wide (our choice)."""
PATCH = 4
"""Pixels along each side of the patches that are folded into channels: on a CPU, what is at full size is slow."""
CHUNK = 256


class FrameTokenizer(nn.Module):
    """Turn a frame into ``v`` visual tokens of 32 numbers in ``(-1, 1)``, and such tokens into a frame of 64 pixels.

    Strided convolutions lead to a grid of 4x4 cells of ``2 v`` numbers; each token is a square of cells. The decoder
    goes back the same way and adds to a learned background, since a fixed camera sees mostly that.

    Args:
        tokens: Visual tokens ``v``: 1, 4 or 16. More see finer and cost more.
        width: Channels where 16x16 patches are seen; twice as many at the grid.

    Raises:
        ConfigError: If there cannot be that many tokens.
    """

    def __init__(self, *, tokens: int, width: int = 32) -> None:
        super().__init__()
        check_tokens(tokens)
        self.tokens, self.width = tokens, width
        self.encoder = _Encoder(2 * tokens, width)
        self.decoder = FrameDecoder(tokens=tokens, width=width)

    def forward(self, frames: npt.NDArray[np.uint8]) -> Float[Tensor, "b v 32"]:
        """Return the visual tokens of frames ``(b, h, w, 3)`` uint8 of any size."""
        parts = [self.encode(shrink(frames[i : i + CHUNK])) for i in range(0, len(frames), CHUNK)]
        return torch.cat([torch.empty(0, self.tokens, NUMBERS), *parts])

    def encode(self, pixels: Float[Tensor, "b 3 64 64"]) -> Float[Tensor, "b v 32"]:
        """Return the visual tokens of pixels in ``[0, 1]``."""
        return to_tokens(self.encoder(pixels), self.tokens)

    def apart(self, x: Float[Tensor, "b 3 64 64"], y: Float[Tensor, "b 3 64 64"]) -> Tensor:
        """Return how far apart pictures in ``[0, 1]`` are to the encoder: the mean squared distance of its maps.

        At each place the features of a map are scaled to a mean square of one, so that a faint edge counts as a strong
        one does: blur, which costs hardly any squared error of pixels, is another picture to it. The form is that of
        Zhang et al. 2018 (arXiv 1801.03924) over a network that is there anyway and needs no weights from elsewhere.
        """
        pairs = zip(self.encoder.maps(x), self.encoder.maps(y), strict=True)
        return torch.stack([(mine - theirs).square().mean() for mine, theirs in pairs]).mean()

    def freeze(self) -> "FrameTokenizer":
        """Put it in evaluation mode and forbid gradients."""
        return self.requires_grad_(False).eval()

    def hash(self) -> str:
        """Identify its weights."""
        return checkpoint.hash_tensors(self.state_dict())

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> "FrameTokenizer":
        """Build the tokenizer that a state belongs to, frozen.

        Raises:
            RuntimeError: If the state is not that of a tokenizer.
        """
        numbers, channels = tensors["encoder.out.weight"].shape[:2]
        tokenizer = cls(tokens=numbers // 2, width=channels // 2)
        tokenizer.load_state_dict(dict(tensors))
        return tokenizer.freeze()

    def save_pretrained(self, path: Path) -> None:
        """Save to a folder.

        Raises:
            StorageError: If it cannot be written.
        """
        config = {"tokens": self.tokens, "width": self.width, "hash": self.hash()}
        checkpoint.save(path, kind=KIND, config=config, tensors=self.state_dict())

    @classmethod
    def from_pretrained(cls, path: Path) -> "FrameTokenizer":
        """Load from a folder, frozen.

        Raises:
            CheckpointError: If the folder is damaged or not a tokenizer.
        """
        saved = checkpoint.load(path, kind=KIND)
        with checkpoint.described(path, "a tokenizer"):
            tokenizer = cls(tokens=int(saved.config["tokens"]), width=int(saved.config["width"]))
        checkpoint.load_state(tokenizer, saved.tensors, path=path)
        return tokenizer.freeze()


class FrameDecoder(nn.Module):
    """Draw frames of 64 pixels from visual tokens.

    Args:
        tokens: Visual tokens ``v``.
        width: Channels where 16x16 patches are seen; twice as many at the grid.
    """

    def __init__(self, *, tokens: int, width: int = 32) -> None:
        super().__init__()
        self.tokens, self.width = tokens, width
        self.draw = nn.Sequential(
            nn.Conv2d(2 * tokens, 2 * width, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(2 * width, 6 * width, 3, padding=1),
            nn.PixelShuffle(2),
            nn.SiLU(),
            nn.Conv2d(3 * width // 2, 4 * width, 3, padding=1),
            nn.PixelShuffle(2),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(width, 3 * PATCH**2, 3, padding=1),
            nn.PixelShuffle(PATCH),
        )
        self.background = nn.Parameter(torch.full((3, SIZE, SIZE), 0.5))

    def forward(self, tokens: Float[Tensor, "b v 32"]) -> Float[Tensor, "b 3 64 64"]:
        """Return pixels in ``[0, 1]``, a little beyond at most."""
        pixels: Tensor = self.draw(to_cells(tokens)) + self.background
        return pixels

    @torch.no_grad()
    def decode(self, tokens: Tensor) -> npt.NDArray[np.uint8]:
        """Return frames ``(b, 64, 64, 3)`` uint8 of visual tokens ``(b, v, 32)``."""
        parts = [to_frames(self(tokens[i : i + CHUNK])) for i in range(0, len(tokens), CHUNK)]
        return np.concatenate([np.empty((0, SIZE, SIZE, 3), np.uint8), *parts])


class _Encoder(nn.Module):
    def __init__(self, numbers: int, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.PixelUnshuffle(PATCH),
            nn.Conv2d(3 * PATCH**2, width, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(width, 3 * width // 2, 4, stride=2, padding=1),
            nn.SiLU(),
            nn.Conv2d(3 * width // 2, 2 * width, 4, stride=2, padding=1),
            nn.SiLU(),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1),
            nn.SiLU(),
        )
        self.out = nn.Conv2d(2 * width, numbers, 1)

    def forward(self, pixels: Tensor) -> Float[Tensor, "b c 4 4"]:
        cells: Tensor = self.out(self.body(pixels - 0.5)).tanh()
        return cells

    def maps(self, pixels: Tensor) -> list[Tensor]:
        """Return the features at 16x16, 8x8 and 4x4 places, scaled at each place."""
        h, maps = pixels - 0.5, []
        for layer in list(self.body)[:-2]:
            h = layer(h)
            if isinstance(layer, nn.SiLU):
                maps.append(h / (h.square().mean(dim=1, keepdim=True).sqrt() + 1e-3))
        return maps


def check_tokens(tokens: int) -> None:
    """Refuse a number of visual tokens that the grid cannot be cut into.

    Raises:
        ConfigError: If it is one.
    """
    if tokens not in SIDES:
        raise ConfigError(f"visual tokens must be one of {', '.join(map(str, SIDES))}, got {tokens}.")


def to_tokens(cells: Float[Tensor, "b c 4 4"], tokens: int) -> Float[Tensor, "b v 32"]:
    """Group the cells of a grid into square tokens, row by row."""
    side = SIDES[tokens]
    return rearrange(cells, "b c (r i) (s j) -> b (r s) (i j c)", r=side, s=side)


def to_cells(tokens: Float[Tensor, "b v 32"]) -> Float[Tensor, "b c 4 4"]:
    """Take square tokens apart into the cells of a grid again."""
    side = SIDES[tokens.shape[1]]
    return rearrange(tokens, "b (r s) (i j c) -> b c (r i) (s j)", r=side, i=GRID // side, j=GRID // side)
