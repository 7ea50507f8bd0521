"""Masks from a few annotated frames: each pixel goes with the remembered pixel that it is most like."""

import numpy as np
import numpy.typing as npt
import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from worldrl.clusters import kmeans
from worldrl.errors import DataError
from worldrl.objects.annotations import Annotations
from worldrl.types import Features

CENTRES = 32
"""Remembered pixels of an object at most; of the background four times as many."""
COMPONENTS = 16
"""Directions of the features that are kept: those in which the annotated frames differ most."""
WEIGHTS = (0.0, 0.25, 0.5, 1.0, 2.0)
"""How much features may count, against a colour that reaches from -1 to 1."""
TENSORS = ("memory", "owner", "directions", "weight")
"""What a memory is made of."""


class FewShotMasks:
    """Labels of every pixel from a memory that is never forgotten.

    A pixel is described by its colour and by the frozen features at its place, of length one, upsampled and reduced to
    the directions in which the annotated frames differ most. The memory
    holds k-means centres of the annotated pixels of each object and of the background; a pixel takes the object of the
    nearest centre. Frames are told apart from nothing before or after them, so that what is said of a frame does not
    depend on the episode. How much the features count is decided by the annotated frames: each is labelled with the
    memory of the others.

    Source: matching to a permanent memory is what OC-STORM lets Cutie do (arXiv 2501.16443, section 3.1); the nearest
    centre in place of a learned readout is our choice.

    Args:
        memory: ``(m, 3 + c)`` descriptions.
        owner: ``(m,)`` int64: 0 for background, ``i + 1`` for object ``i``.
        directions: ``(d, c)``, how features of width ``d`` are reduced; none are looked at where ``d`` is 0.
        weight: How much the features count.
    """

    def __init__(self, *, memory: Tensor, owner: Tensor, directions: Tensor, weight: Tensor) -> None:
        self.memory, self.owner, self.directions, self.weight = memory, owner, directions, weight

    @classmethod
    def fit(cls, annotations: Annotations, features: Features | None, *, seed: int = 0) -> "FewShotMasks":
        """Remember annotated frames.

        Args:
            annotations: At least one frame.
            features: Of these frames; None for colours alone.
            seed: Of the centres.

        Raises:
            DataError: If there are not as many features as frames.
        """
        if features is not None and len(features.patches) != len(annotations):
            raise DataError(f"features must be of the {len(annotations)} frames, got {len(features.patches)}.")
        labels = torch.from_numpy(annotations.labels.astype(np.int64))
        directions = torch.zeros(0, 0) if features is None else _directions(features)
        weights = WEIGHTS if features is not None and len(annotations) > 1 else (0.0 if features is None else 0.5,)
        candidates = {weight: _descriptions(annotations.frames, features, weight * directions) for weight in weights}
        best = max(weights, key=lambda weight: _told_apart(candidates[weight], labels, seed=seed))
        memory, owner = _remember(candidates[best], labels, seed=seed)
        return cls(memory=memory, owner=owner, directions=directions, weight=torch.tensor(float(best)))

    @torch.no_grad()
    def __call__(self, frames: npt.NDArray[np.uint8], features: Features | None) -> Int[Tensor, "b h w"]:
        """Return labels ``(b, h, w)`` int64 of frames ``(b, h, w, 3)``.

        Raises:
            DataError: If the memory knows features and there are none, or they are of another width.
        """
        width, found = len(self.directions), 0 if features is None else features.patches.shape[-1]
        if width != found:
            raise DataError(f"features must be {width} numbers a patch, as they were for the memory, got {found}.")
        directions = self.weight * self.directions
        return torch.stack([
            _nearest(_descriptions(frames[i : i + 1], _of(features, i), directions)[0], self.memory, self.owner)
            for i in range(len(frames))
        ])  # fmt: skip

    def tensors(self) -> dict[str, Tensor]:
        """Return the constructor's arguments."""
        return {name: getattr(self, name) for name in TENSORS}


def _of(features: Features | None, i: int) -> Features | None:
    """Return the features of one frame."""
    return None if features is None else Features(features.cls[i : i + 1], features.patches[i : i + 1], features.grid)


def _directions(features: Features) -> Tensor:
    """Return the directions ``(d, c)`` in which patches of length one differ most."""
    patches = rearrange(normalize(features.patches, dim=-1), "b p d -> (b p) d")
    _, _, directions = torch.linalg.svd(patches - patches.mean(dim=0), full_matrices=False)
    reduced: Tensor = directions[:COMPONENTS].T.contiguous()
    return reduced


def _descriptions(
    frames: npt.NDArray[np.uint8], features: Features | None, directions: Tensor
) -> Float[Tensor, "b h w d"]:
    """Return colour and reduced features of every pixel."""
    colours = torch.from_numpy(np.array(frames)).float() / 127.5 - 1.0
    if features is None:
        return colours
    grid = rearrange(normalize(features.patches, dim=-1) @ directions, "b (r c) d -> b d r c", r=features.grid[0])
    placed = interpolate(grid, size=colours.shape[1:3], mode="bilinear", align_corners=False)
    return torch.cat([colours, rearrange(placed, "b d h w -> b h w d")], dim=-1)


def _remember(described: Float[Tensor, "b h w d"], labels: Tensor, *, seed: int) -> tuple[Tensor, Tensor]:
    """Return centres of each object's pixels and of the background's, and whose each is."""
    memory, owner = [], []
    for label in torch.unique(labels).tolist():
        pixels = described[labels == label]
        centres, _ = kmeans(pixels[:: 1 + len(pixels) // 8000], CENTRES if label else 4 * CENTRES, seed=seed)
        memory.append(centres)
        owner.append(torch.full((len(centres),), label, dtype=torch.int64))
    return torch.cat(memory), torch.cat(owner)


def _nearest(described: Float[Tensor, "h w d"], memory: Tensor, owner: Tensor) -> Tensor:
    """Return the owner ``(h, w)`` of what each pixel is most like."""
    pixels = rearrange(described, "h w d -> (h w) d")
    nearest: Tensor = owner[torch.cdist(pixels, memory).argmin(dim=1)]
    return nearest.reshape(described.shape[:2])


def _told_apart(described: Float[Tensor, "b h w d"], labels: Tensor, *, seed: int) -> float:
    """Return the mean IoU over objects when each frame is labelled with the memory of the others."""
    if len(labels) < 2:
        return 0.0
    shares = []
    for i in range(len(labels)):
        rest = [j for j in range(len(labels)) if j != i]
        memory, owner = _remember(described[rest], labels[rest], seed=seed)
        shares.append(mean_iou(_nearest(described[i], memory, owner)[None], labels[i : i + 1]))
    return float(np.mean(shares))


def mean_iou(found: Tensor, true: Tensor) -> float:
    """Return intersection over union of labels ``(b, h, w)``, averaged over the objects that each frame shows.

    An object that a frame does not show is not counted there; what is taken for it then counts against the others.
    """
    shares = []
    for one, other in zip(found, true, strict=True):
        for label in torch.unique(other).tolist():
            if label:
                both, either = (one == label) & (other == label), (one == label) | (other == label)
                shares.append(float(both.sum() / either.sum()))
    return float(np.mean(shares)) if shares else 0.0
