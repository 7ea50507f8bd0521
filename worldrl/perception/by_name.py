"""Masks of the things that a list of names calls: nothing is trained, nothing is annotated.

A frozen encoder is cut into pieces that are alike, and frozen towers say what each piece is called. Both parts are
those of FrozenSeg's proposals, used by themselves (our choice).
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

from worldrl.data.captions import TEMPLATES, with_article
from worldrl.encoders.frozen import check_frames
from worldrl.errors import ConfigError
from worldrl.perception.frozenseg_ensemble import Tower
from worldrl.perception.mask_proposals import propose
from worldrl.scene import check_names
from worldrl.types import FrozenEncoder

STRIDE = 4
"""Pixels of a cell of the masks."""
SURE = 0.3
"""How likely a piece must be what a name calls (our choice)."""


class NamingTowers(Protocol):
    """Towers that say what places are called, such as ``worldrl.language.two_tower.TwoTower``; ``scale`` of cosines."""

    scale: float

    def dense(self, frames: npt.NDArray[np.uint8]) -> Any:
        """Return ``patches`` ``(b, p, e)`` and ``grid`` of frames."""
        ...

    def texts(self, texts: Sequence[str], context: Tensor | None = None) -> Tensor:
        """Return unit vectors ``(k, e)``."""
        ...


class NamedMasks:
    """Finds what names call in frames.

    Args:
        towers: Frozen.
        names: What is looked for, each once.
        rivals: What else there may be: a piece that is rather called so is none of the names.
        spatial: The frozen encoder that is cut into pieces; the towers' own places if there is none.
        sure: How likely a piece must be what a name calls.

    Raises:
        ConfigError: If a name is empty or twice there, or ``sure`` is not in [0, 1].
    """

    def __init__(
        self,
        towers: NamingTowers,
        names: Sequence[str],
        *,
        rivals: Sequence[str] = (),
        spatial: FrozenEncoder | None = None,
        sure: float = SURE,
    ) -> None:
        check_names(names)
        if not 0.0 <= sure <= 1.0:
            raise ConfigError(f"sure must be in [0, 1], got {sure}.")
        self.towers, self.spatial, self.sure, self.names = towers, spatial, sure, tuple(names)
        everything = [*names, *(rival for rival in rivals if rival not in names)]
        with torch.no_grad():
            self._texts = torch.stack(
                [towers.texts([one.format(with_article(name)) for name in everything]) for one in TEMPLATES], dim=1
            )

    def __call__(self, frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Return which name calls what is seen where.

        Args:
            frames: RGB ``(b, h, w, 3)`` uint8; the sides are multiples of what both encoders read.

        Returns:
            ``(b, h, w)`` uint8: 0 for none of the names, ``i + 1`` for ``names[i]``, each of which calls one piece at
            most, the likeliest.
        """
        check_frames(frames)
        dense = self.towers.dense(frames)
        pieces = (dense.patches, dense.grid) if self.spatial is None else _read(self.spatial(frames))
        size = (frames.shape[1] // STRIDE, frames.shape[2] // STRIDE)
        found = np.zeros((len(frames), *size), np.uint8)
        for row in range(len(frames)):
            masks = propose(pieces[0][row], pieces[1], size)
            if len(masks):
                tower = Tower(dense.patches[row : row + 1], dense.grid, self._texts, float(self.towers.scale))
                found[row] = self._called(masks, tower)
        return found.repeat(STRIDE, axis=1).repeat(STRIDE, axis=2)

    def _called(self, masks: npt.NDArray[np.bool_], tower: Tower) -> npt.NDArray[np.uint8]:
        """Give each name the piece that is likeliest to be called so."""
        with torch.no_grad():
            likely = tower.probabilities(torch.from_numpy(masks).float()[None])[0, :, : len(self.names)]
        found, best = np.zeros(masks.shape[1:], np.uint8), likely.max(dim=0)
        for label in best.values.argsort().tolist():  # the surest is painted last
            if best.values[label] >= self.sure:
                found[masks[best.indices[label]]] = label + 1
        return found


def _read(features: Any) -> tuple[Float[Tensor, "b p d"], tuple[int, int]]:
    return features.patches, features.grid
