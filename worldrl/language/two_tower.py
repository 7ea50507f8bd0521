"""Two towers, fitted once and frozen: pictures and texts as vectors whose product says whether they belong together.

The image tower stands on a frozen map of EfficientNet-Lite0 with stride 16; what is trained is small, and is trained on
scenes of a simulator and on sentences from templates. It is built as CLIP is, and is neither CLIP nor comparable to it.

Source: Radford et al. 2021, sections 2.3 to 2.5 (arXiv:2103.00020); every cell is projected as well, as in Rao et al.
2022, section 3.2 (arXiv:2112.01518).
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from einops import rearrange, reduce
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from worldrl import checkpoint
from worldrl.encoders.frozen import Encoder, load_encoder
from worldrl.errors import CheckpointError
from worldrl.language.image_tower import ImageTower
from worldrl.language.text_tower import TextTower

__all__ = ["Cells", "DenseFeatures", "TextTower", "TwoTower", "read_cells"]

KIND = "two_tower"
STEM, LAYER = "efficientnet_lite0", 4
QUARTERS = 2
"""The colours of a cell are those of its four quarters."""
MICRO_BATCH = 64


@dataclass(frozen=True)
class Cells:
    """The frozen map of some pictures: ``rows`` ``(b, p, c)`` in row-major order over ``grid`` (rows, columns)."""

    rows: Float[Tensor, "b p c"]
    grid: tuple[int, int]


@dataclass(frozen=True)
class DenseFeatures:
    """What the image tower says of some pictures, in the space of texts, of any length.

    Attributes:
        whole: ``(b, e)``.
        patches: ``(b, p, e)`` row-major over the grid.
        grid: Rows and columns.
    """

    whole: Float[Tensor, "b e"]
    patches: Float[Tensor, "b p e"]
    grid: tuple[int, int]


class TwoTower(nn.Module):
    """Pictures and texts to vectors of one space, frozen.

    It stays in evaluation mode whatever is asked of it, and no gradient reaches its weights; one does reach the context
    of texts.

    Args:
        stem: The frozen encoder below the image tower.
        pictures: The image tower.
        words: The text tower.
        colours: Whether a cell also has the mean colours of its quarters, as ``read_cells`` was told in fitting.
        scale: What cosines are multiplied by to make logits.

    Attributes:
        width: Of vectors ``e``.
        text_width: Of context vectors.
        limit: Most tokens of a text, start and end included.
        scale: What cosines are multiplied by.
        fingerprint: Hash of everything: equal fingerprints, equal vectors.
    """

    def __init__(
        self, stem: Encoder, pictures: ImageTower, words: TextTower, *, colours: bool, scale: float = 100.0
    ) -> None:
        super().__init__()
        self.stem, self.pictures, self.words = stem, pictures, words
        self.colours, self.scale = colours, scale
        self.width, self.text_width, self.limit = pictures.project.out_features, words.width, words.limit
        self.requires_grad_(False)
        self.train(False)
        self.fingerprint = self._fingerprint()

    def train(self, mode: bool = True) -> "TwoTower":
        """Stay in evaluation mode, whatever the mode."""
        return super().train(False)

    def cells(self, frames: npt.NDArray[np.uint8]) -> Cells:
        """Return the frozen map below the image tower; see ``read_cells``."""
        return read_cells(self.stem, frames, colours=self.colours)

    @torch.no_grad()
    def see(self, cells: Cells) -> DenseFeatures:
        """Return what the image tower says of maps, 64 at a time."""
        rows = cells.rows
        parts = [self.pictures(rows[i : i + MICRO_BATCH], cells.grid) for i in range(0, len(rows), MICRO_BATCH)]
        vectors = torch.cat(parts)
        return DenseFeatures(vectors[:, 0], vectors[:, 1:], cells.grid)

    def dense(self, frames: npt.NDArray[np.uint8]) -> DenseFeatures:
        """Return the vectors of pictures and of each of their cells.

        Args:
            frames: RGB ``(b, h, w, 3)`` uint8; ``h`` and ``w`` are multiples of 16 pixels.

        Raises:
            TypeError: If the frames are not uint8.
            ValueError: If their shape is wrong.
            DataError: If their sides are no multiples of 16.
        """
        return self.see(self.cells(frames))

    def images(self, frames: npt.NDArray[np.uint8]) -> Float[Tensor, "b e"]:
        """Return unit vectors of pictures; see ``dense``."""
        return F.normalize(self.dense(frames).whole, dim=-1)

    def texts(self, texts: Sequence[str], context: Tensor | None = None) -> Float[Tensor, "k e"]:
        """Return unit vectors of texts.

        Args:
            texts: At least one.
            context: ``(m, d)`` vectors that stand behind the start of every text; a gradient reaches them.

        Raises:
            TypeError: If the texts are one string.
            ValueError: If there is no text, or the context is not ``(m, d)``.
            DataError: If a word is unknown, or a text has too many of them.
        """
        return F.normalize(self.words(texts, context), dim=-1)

    def save_pretrained(self, folder: Path) -> None:
        """Save both towers; the stem is only named.

        Raises:
            StorageError: If the folder cannot be written.
        """
        checkpoint.save(folder, kind=KIND, config=self._config(), tensors=self._trained())

    @classmethod
    def from_pretrained(cls, folder: Path) -> "TwoTower":
        """Load towers.

        Raises:
            CheckpointError: If they are missing or damaged, or the weights of their stem are missing or others.
        """
        loaded = checkpoint.load(folder, kind=KIND)
        with checkpoint.described(loaded.path, "two towers"):
            config: dict[str, Any] = loaded.config
            stem = load_encoder(**config["stem"])
            pictures, words = ImageTower(**config["pictures"]), TextTower(**config["words"])
            colours, scale, expected = bool(config["colours"]), float(config["scale"]), config["stem_fingerprint"]
        if not isinstance(stem, Encoder) or stem.fingerprint != expected:
            raise CheckpointError(f"{folder} was made on another stem than {config['stem']} is here: make it again.")
        checkpoint.load_state(nn.ModuleDict({"pictures": pictures, "words": words}), loaded.tensors, path=loaded.path)
        return cls(stem, pictures, words, colours=colours, scale=scale)

    def _trained(self) -> dict[str, Tensor]:
        return nn.ModuleDict({"pictures": self.pictures, "words": self.words}).state_dict()

    def _config(self) -> dict[str, Any]:
        pictures, words = self.pictures, self.words
        return {
            "stem": self.stem.source, "stem_fingerprint": self.stem.fingerprint,
            "colours": self.colours, "scale": self.scale,
            "pictures": {
                "inputs": len(pictures.shift), "width": pictures.width, "embedding": self.width,
                "depth": len(pictures.blocks), "heads": pictures.heads, "grid": pictures.grid,
            },
            "words": {
                "words": list(words.words.words[1:]), "width": words.width, "embedding": self.width,
                "depth": len(words.blocks), "heads": words.heads, "limit": words.limit,
            },
        }  # fmt: skip

    def _fingerprint(self) -> str:
        description = json.dumps([self._config(), checkpoint.hash_tensors(self._trained())], sort_keys=True)
        return hashlib.sha256(description.encode()).hexdigest()


def read_cells(stem: Encoder, frames: npt.NDArray[np.uint8], *, colours: bool) -> Cells:
    """Return the frozen map of pictures, and beside it the mean colours of each cell's quarters if asked for.

    Args:
        stem: The frozen encoder.
        frames: RGB ``(b, h, w, 3)`` uint8; ``h`` and ``w`` are multiples of the stem's patch.
        colours: Whether to append twelve numbers in [0, 1] to each cell (our choice, where the map has lost colour).

    Raises:
        TypeError: If the frames are not uint8.
        ValueError: If their shape is wrong.
        DataError: If their sides are no multiples of the patch.
    """
    features = stem(frames)
    if not colours:
        return Cells(features.patches, features.grid)
    side = stem.patch // QUARTERS
    pixels = torch.from_numpy(np.array(frames)).float() / 255
    quarters = reduce(pixels, "b (i s) (j t) c -> b i j c", "mean", s=side, t=side)
    own = rearrange(quarters, "b (i q) (j r) c -> b (i j) (q r c)", q=QUARTERS, r=QUARTERS)
    return Cells(torch.cat([features.patches, own.to(features.patches.device)], dim=-1), features.grid)
