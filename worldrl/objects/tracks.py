"""Masks that move with the points on them: annotated frames are remembered for good, the frame before for one step."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from einops import rearrange
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate, max_pool2d, normalize

from worldrl.encoders.xfeat import XFeat
from worldrl.errors import ConfigError, DataError
from worldrl.objects.annotations import Annotations

Labels = npt.NDArray[np.uint8]

CHANCE = 0.01
"""How likely a pixel is a point, times how far its descriptor can be relied upon, to be looked at (our choice: a fifth
of the paper's, because a small thing has few points)."""
LIKENESS = 0.8
"""Cosine of two descriptors that may be of the same point, at least (our choice, near the paper's 0.82)."""
TOLERANCE = 1.0
"""Pixels of the frame by which a point may lie beside where a motion puts it (our choice)."""
LEAST = 3
"""Points that have to agree on a motion: any two do (our choice)."""
TRIED = 4000
"""Motions that are tried for an object and a view, at most (our choice)."""
SCALES = (0.6, 1.7)
"""How much smaller or larger a thing may become against a remembered view of it (our choice)."""


@dataclass(frozen=True)
class Points:
    """Points of one frame.

    Attributes:
        places: ``(m,)`` complex, x and y in pixels; the centre of the first pixel is at 0.
        looks: ``(m, d)``, descriptors of length one.
    """

    places: npt.NDArray[np.complex128]
    looks: npt.NDArray[np.float32]


class Finder(Protocol):
    """What finds points; ``XFeatPoints`` is one."""

    def __call__(self, frame: npt.NDArray[np.uint8]) -> Points:
        """Return the points of a frame ``(h, w, 3)``."""
        ...


@dataclass(frozen=True)
class View:
    """A frame that is remembered: its points, its labels ``(h, w)``, and the label under each point ``(m,)``."""

    points: Points
    labels: Labels
    owner: Labels

    @classmethod
    def of(cls, points: Points, labels: Labels) -> "View":
        """Look up which object each point lies on."""
        columns, rows = (np.rint(part).astype(int) for part in (points.places.real, points.places.imag))
        height, width = labels.shape
        return cls(points, labels, labels[rows.clip(0, height - 1), columns.clip(0, width - 1)])


@dataclass(frozen=True)
class Motion:
    """A similarity of the plane, ``z -> turn z + shift`` in complex numbers, and how many points agree on it."""

    turn: complex
    shift: complex
    support: int


class XFeatPoints:
    """Points of XFeat: maxima of how likely a pixel is a point, on enlarged frames.

    Source: Potje et al. 2024 (arXiv:2404.19174), section 3; enlarging is our choice: in frames of 100 pixels, cells
    of 8 are as large as the things in them.

    Args:
        side: Pixels of the longer side that a frame is enlarged to; a multiple of 32. On table-top frames of 126 pixels
            tracks had a mean IoU of 0.50 to 0.57 with 512 and of 0.71 with 768, which takes twice as long.

    Raises:
        ConfigError: If ``side`` is not a positive multiple of 32.
        CheckpointError: If the weights are missing, damaged or not the pinned ones.
    """

    def __init__(self, *, side: int = 768) -> None:
        if side < 32 or side % 32:
            raise ConfigError(f"side must be a positive multiple of 32, got {side}.")
        from worldrl.encoders.frozen import Encoder, load_encoder

        encoder = load_encoder("xfeat")
        assert isinstance(encoder, Encoder)
        self.side, self.encoder = side, encoder

    @torch.no_grad()
    def __call__(self, frame: npt.NDArray[np.uint8]) -> Points:
        """Return the points of a frame ``(h, w, 3)``."""
        backbone = self.encoder.backbone
        assert isinstance(backbone, XFeat)
        height, width = (max(32, round(self.side * n / max(frame.shape[:2]) / 32) * 32) for n in frame.shape[:2])
        pixels = self.encoder.preprocess(frame[None])
        large = interpolate(pixels, size=(height, width), mode="bicubic", align_corners=False)
        said, described = backbone.points(large), backbone(large, layer=self.encoder.layer)
        sure = interpolate(said.reliability[:, None], size=(height, width), mode="bilinear")[:, 0] * said.chance
        highest = max_pool2d(sure, kernel_size=5, stride=1, padding=2)
        rows, columns = torch.nonzero((sure == highest)[0] & (sure[0] > CHANCE), as_tuple=True)
        looks = rearrange(described.patches, "b (i j) d -> b d i j", i=described.grid[0])
        places = torch.stack([(columns + 0.5) / width, (rows + 0.5) / height], dim=-1)
        at = _sample(looks, places).cpu().numpy()
        x, y = (places * torch.tensor([frame.shape[1], frame.shape[0]])).cpu().double().numpy().T - 0.5
        return Points(x + 1j * y, at)


class PointTracks:
    """Labels of a video, frame after frame.

    The points of a frame are matched with those of every remembered view by mutual nearest neighbours: the annotated
    frames, and the frame before with the labels it got. The matches that began on an object are asked for the
    similarity (turn, shift and scale) that most of them agree on, and the mask of the view where most agree is moved by
    it. Where fewer than three agree, the object is not visible. What has no corner, such as a ball of one colour, is
    hardly ever found.

    Source: matches by XFeat (arXiv:2404.19174); a permanent memory of annotated frames beside one that is forgotten is
    OC-STORM's use of Cutie (arXiv 2501.16443, section 3.1); the rest is our choice.

    Args:
        annotations: What is remembered for good.
        finder: Finds points.
    """

    def __init__(self, annotations: Annotations, finder: Finder) -> None:
        self.finder, self.objects, self.size = finder, len(annotations.objects), annotations.labels.shape[1:]
        self._known = [
            View.of(finder(frame), labels) for frame, labels in zip(annotations.frames, annotations.labels, strict=True)
        ]
        self._before: View | None = None

    def begin(self) -> None:
        """Begin an episode: forget the frame before."""
        self._before = None

    def follow(self, frame: npt.NDArray[np.uint8]) -> Labels:
        """Return the labels ``(h, w)`` of the next frame ``(h, w, 3)``.

        Raises:
            DataError: If the frame has another size than the annotated ones.
        """
        if frame.shape[:2] != self.size:
            raise DataError(f"frames must have the size of the annotated ones, {self.size}, got {frame.shape[:2]}.")
        points = self.finder(frame)
        views = self._known if self._before is None else [*self._known, self._before]
        matches = [match(view.points, points) for view in views]
        found = [self._best(views, matches, points, label) for label in range(1, self.objects + 1)]
        labels = np.zeros(frame.shape[:2], np.uint8)
        seen = [(motion.support, label, moved(view.labels == label, motion)) for label, (view, motion) in
                enumerate(found, start=1) if motion is not None]  # fmt: skip
        for _, label, mask in sorted(seen, key=lambda one: one[0]):  # the surest over the others
            labels[mask] = label
        self._before = View.of(points, labels)
        return labels

    def _best(
        self, views: Sequence[View], matches: Sequence[npt.NDArray[np.int64]], points: Points, label: int
    ) -> tuple[View, Motion | None]:
        """Return the view whose points of an object agree most on how it has moved since, and that motion."""
        motions = []
        for view, pairs in zip(views, matches, strict=True):
            mine = pairs[view.owner[pairs[:, 0]] == label]
            motions.append(agreed(view.points.places[mine[:, 0]], points.places[mine[:, 1]]))
        best = max(range(len(views)), key=lambda i: 0 if (one := motions[i]) is None else one.support)
        return views[best], motions[best]


def match(old: Points, new: Points) -> npt.NDArray[np.int64]:
    """Return pairs ``(m, 2)`` of indices of points that are each other's nearest by look, and near enough."""
    if not len(old.places) or not len(new.places):
        return np.zeros((0, 2), np.int64)
    like = old.looks @ new.looks.T
    there, back = like.argmax(axis=1), like.argmax(axis=0)
    rows = np.arange(len(there))
    kept = (back[there] == rows) & (like[rows, there] >= LIKENESS)
    return np.stack([rows[kept], there[kept]], axis=1)


def agreed(old: npt.NDArray[np.complex128], new: npt.NDArray[np.complex128]) -> Motion | None:
    """Return the similarity that most pairs of places ``(m,)`` agree on, fitted to those; None where too few do.

    Each two pairs suggest one; where there are very many, an even choice of these is tried.
    """
    if len(old) < LEAST:
        return None
    first, second = np.triu_indices(len(old), k=1)
    step = 1 + len(first) // TRIED
    first, second = first[::step], second[::step]
    apart = np.abs(old[first] - old[second]) > TOLERANCE
    first, second = first[apart], second[apart]
    turn = (new[first] - new[second]) / (old[first] - old[second])
    likely = (np.abs(turn) > SCALES[0]) & (np.abs(turn) < SCALES[1])
    turn, first = turn[likely], first[likely]
    if not len(turn):
        return None
    shift = new[first] - turn * old[first]
    near = np.abs(turn[:, None] * old + shift[:, None] - new) < TOLERANCE
    inside = near[near.sum(axis=1).argmax()]
    if (support := int(inside.sum())) < LEAST:
        return None
    old, new = old[inside], new[inside]
    centred = old - old.mean()
    best = np.vdot(centred, new - new.mean()) / np.vdot(centred, centred).real
    return Motion(complex(best), complex(new.mean() - best * old.mean()), support)


def moved(mask: npt.NDArray[np.bool_], motion: Motion) -> npt.NDArray[np.bool_]:
    """Return a mask ``(h, w)`` moved; each pixel asks the nearest one where it came from."""
    rows, columns = np.indices(mask.shape)
    origin = (columns + 1j * rows - motion.shift) / motion.turn
    x, y = np.rint(origin.real).astype(int), np.rint(origin.imag).astype(int)
    inside = (x >= 0) & (x < mask.shape[1]) & (y >= 0) & (y < mask.shape[0])
    came = np.zeros_like(mask)
    came[inside] = mask[y[inside], x[inside]]
    return came


def _sample(looks: Tensor, places: Tensor) -> Tensor:
    """Return descriptors ``(m, d)`` of length one at places ``(m, 2)``, x and y in shares of the frame."""
    grid = rearrange(2 * places - 1, "m c -> 1 1 m c")
    read = grid_sample(looks, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return normalize(rearrange(read, "1 d 1 m -> m d"), dim=-1)
