"""Things of labelled scenes as cuboids are learnt from them: boxes, features, measured depth, ground; and the truth."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from worldrl.data.scenes import SceneSet
from worldrl.errors import DataError
from worldrl.perception.cube_head import cut_out
from worldrl.perception.cuboids import Cuboids, Views, tight_boxes
from worldrl.perception.depth_boxes import DepthMaps, depth_in, disturb, extents, medians
from worldrl.perception.ground_plane import Plane, ground_of, outside
from worldrl.scene import SHAPES, Scene, check_boxes
from worldrl.types import Array, Features

STRIDE = 2
"""Pixels from one kept value of depth to the next."""
LEAST_SPREAD = 0.05
"""Standard deviation of a class's size at least, in shares of its mean (our choice)."""


@dataclass(frozen=True)
class Things:
    """``n`` things of some pictures, in the order of these.

    Attributes:
        views: Their boxes and cameras; ``pictures`` counts the pictures of ``maps``.
        labels: ``(n,)`` shapes, which is what classes are here.
        owners: ``(n,)`` one more than the number of each in its picture.
        maps: Measured depth of the pictures.
        depth: ``(n,)`` its median in the 2D box of each, metres; within its mask where the maps have masks.
        extent: ``(n,)`` from its 10th to its 90th percentile there, metres.
        normals: ``(n, 3)`` of the ground as it was measured.
        confidence: ``(n,)`` in that.
        features: ``(n, k, d)`` at places of each box; None where none were asked for.
        true: What they are: for judging, and for full supervision.
    """

    views: Views
    labels: Int[Tensor, " n"]
    owners: Int[Tensor, " n"]
    maps: DepthMaps
    depth: Float[Tensor, " n"]
    extent: Float[Tensor, " n"]
    normals: Float[Tensor, "n 3"]
    confidence: Float[Tensor, " n"]
    features: Float[Tensor, "n k d"] | None
    true: Cuboids

    def __len__(self) -> int:
        return len(self.labels)

    def pick(self, rows: Tensor) -> "Things":
        """Return some of them, by numbers ``(m,)``."""
        return Things(
            self.views.pick(rows), self.labels[rows], self.owners[rows], self.maps, self.depth[rows],
            self.extent[rows], self.normals[rows], self.confidence[rows],
            None if self.features is None else self.features[rows], self.true.pick(rows),
        )  # fmt: skip


def collect(
    scenes: SceneSet, rows: Sequence[int], *, features: Features | None = None, cells: int = 5,
    depth_scale: float = 0.0, depth_noise: float = 0.0, masks: bool = False, seed: int = 0,
) -> Things:  # fmt: skip
    """Collect the things of some scenes.

    Args:
        scenes: Labelled.
        rows: Which of them, each at most once.
        features: Of all scenes, from a frozen encoder; None for none.
        cells: Places across a box where features are read.
        depth_scale: Standard deviation of the factor by which the depth of a picture is wrong.
        depth_noise: Standard deviation of each pixel's depth, in shares of it.
        masks: Whether true masks may be used, for depth within things and for the ground: privileged. Without them the
            ground is looked for outside all boxes.
        seed: Of the errors of depth and of what the ground is fitted to.

    Raises:
        DataError: If the scenes hold no thing, or a box is not inside its picture.
        ConfigError: If the errors of depth are out of range.
    """
    kept = []
    for row in rows:
        scene, rng = scenes[row], np.random.default_rng([seed, row])
        kept.append((scene, disturb(scene.depth, scale=depth_scale, noise=depth_noise, rng=rng)))
    if not any(scene.things for scene, _ in kept):
        raise DataError("scenes must hold at least one thing, got none.")
    counts = [len(scene.things) for scene, _ in kept]
    planes = [_ground(scene, depth, masks=masks, seed=seed) for scene, depth in kept]
    views = _views([scene for scene, _ in kept])
    things = [thing for scene, _ in kept for thing in scene.things]
    maps = DepthMaps(
        torch.from_numpy(np.stack([depth[::STRIDE, ::STRIDE] for _, depth in kept])), STRIDE,
        torch.from_numpy(np.stack([scene.instances[::STRIDE, ::STRIDE] for scene, _ in kept])) if masks else None,
    )  # fmt: skip
    chosen = None
    if features is not None:
        chosen = cut_out(features.patches[torch.as_tensor(rows)], features.grid, views, cells=cells)
    owners = torch.cat([torch.arange(1, count + 1) for count in counts])
    seen = depth_in(maps, views.boxes, views.pictures, owners if masks else None)
    return Things(
        views, torch.tensor([thing.label for thing in things]), owners, maps, medians(seen), extents(seen),
        _tensor([plane.normal for plane, count in zip(planes, counts, strict=True) for _ in range(count)]),
        _tensor([plane.confidence for plane, count in zip(planes, counts, strict=True) for _ in range(count)]), chosen,
        Cuboids(*(_tensor([getattr(thing, name) for thing in things]) for name in ("centre", "size", "rotation"))),
    )  # fmt: skip


@dataclass(frozen=True)
class Classes:
    """What is known of each shape, and of no thing: all that weak supervision takes from the truth.

    Attributes:
        sizes: ``(c, 3)`` mean, metres.
        spread: ``(c, 3)`` standard deviation, metres.
        fill: ``(c, 2)`` median share of the projected cuboid's width and height that the 2D box has.
    """

    sizes: Float[Tensor, "c 3"]
    spread: Float[Tensor, "c 3"]
    fill: Float[Tensor, "c 2"]


def classes_of(things: Things) -> Classes:
    """Return what is known of each shape; where there is no thing of it, what is known of all."""
    rows = [(things.labels == label).nonzero()[:, 0] for label in range(len(SHAPES))]
    rows = [own if len(own) else torch.arange(len(things)) for own in rows]
    mean = torch.stack([things.true.sizes[own].mean(dim=0) for own in rows])
    spread = torch.stack([things.true.sizes[own].std(dim=0, correction=0) for own in rows])
    projected = tight_boxes(things.true, things.views)
    shares = (things.views.boxes[:, 2:] - things.views.boxes[:, :2]) / (projected[:, 2:] - projected[:, :2])
    fill = torch.stack([shares[own].median(dim=0).values for own in rows]).clamp_max(1.0)
    return Classes(mean, torch.maximum(spread, LEAST_SPREAD * mean), fill)


def _ground(scene: Scene, depth: Array, *, masks: bool, seed: int) -> Plane:
    boxes = np.array([thing.box for thing in scene.things]).reshape(-1, 4)
    size = (depth.shape[0], depth.shape[1])
    return ground_of(depth, scene.instances == 0 if masks else outside(boxes, size), scene.camera, seed=seed)


def _views(scenes: Sequence[Scene]) -> Views:
    pairs = [(i, scene, thing) for i, scene in enumerate(scenes) for thing in scene.things]
    height, width = scenes[0].depth.shape
    boxes = np.array([thing.box for _, _, thing in pairs], np.float32)
    check_boxes(boxes, height, width)
    return Views(
        torch.from_numpy(boxes), _tensor([scene.camera.focal for _, scene, _ in pairs]),
        _tensor([scene.camera.centre for _, scene, _ in pairs]), torch.tensor([i for i, _, _ in pairs]),
        (height, width),
    )  # fmt: skip


def _tensor(rows: Sequence[object]) -> Tensor:
    return torch.from_numpy(np.array(rows, np.float32))
