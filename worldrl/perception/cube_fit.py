"""Fitting the head to things: from boxes and measured depth alone, or from the true cuboids."""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from worldrl.encoders.frozen import seeded
from worldrl.errors import NumericsError
from worldrl.perception.cube_head import VIRTUAL_FOCAL, CubeHead, FoundCubes
from worldrl.perception.cube_losses import Evidence, Weights, filled, scaled, supervised_loss, weak_loss
from worldrl.perception.cube_things import Classes, Things
from worldrl.perception.cuboids import Cuboids, half_extents, tight_boxes
from worldrl.perception.depth_boxes import depth_boxes, depth_in, medians

WARM_UP = 50
"""Steps in which the learning rate rises (our choice)."""
CLIP = 5.0
"""Norm that gradients are cut to (our choice)."""
WEIGHT_DECAY = 1e-2
"""Of the head (our choice)."""


@dataclass(frozen=True)
class Recipe:
    """How a head is fitted.

    Attributes:
        steps: Of gradient.
        batch: Pictures a step.
        rate: Learning rate at first; it falls to zero along a cosine.
        cells: Places across a box where the features were read.
        dropout: Of the head.
        per_class: Whether each class has predictions of its own.
        supervised: Whether from the true cuboids, instead of from boxes and depth.
        surface_to_centre: Whether half the cuboid's extent along the rays is added to the depth that is seen, because
            it is that of the surface. The paper's method does not.
        fill: Whether it is known how much of its cuboid a class fills. The paper's method does not.
        weights: Of the weak losses.
        unit: Metres that stand for one of the paper's.
    """

    steps: int
    batch: int = 32
    rate: float = 1e-3
    cells: int = 5
    dropout: float = 0.0
    per_class: bool = True
    supervised: bool = False
    surface_to_centre: bool = False
    fill: bool = False
    weights: Weights = field(default_factory=Weights)
    unit: float = 1.0


def evidence_of(
    things: Things, cuboids: Cuboids, classes: Classes, *, surface_to_centre: bool = False, fill: bool = False
) -> Evidence:
    """Return what is known of things that were taken for some cuboids; no gradient passes.

    The depth is the median inside the *projected* cuboid, or inside the mask where the maps have them.

    Args:
        things: Their boxes and measured depth.
        cuboids: What they are taken for now.
        classes: What is known of each class.
        surface_to_centre: Whether half the cuboid's extent along the rays is added to the depth.
        fill: Whether to use how much of its cuboid a class fills.
    """
    with torch.no_grad():
        known = classes.fill[things.labels] if fill else torch.ones(len(things), 2)
        depth = things.depth
        if things.maps.owners is None:
            projected = filled(tight_boxes(cuboids, things.views), known)
            depth = medians(depth_in(things.maps, projected, things.views.pictures))
        if surface_to_centre:
            depth = depth + half_extents(cuboids)
        sizes, spread = classes.sizes[things.labels], classes.spread[things.labels]
        return Evidence(depth, things.extent, sizes, spread, things.normals, things.confidence, known)


def fit_head(things: Things, classes: Classes, recipe: Recipe, *, seed: int) -> CubeHead:
    """Fit a head.

    Args:
        things: With features.
        classes: What is known of each class.
        recipe: How.
        seed: Of the first weights, of what is left out and of the order of the pictures.

    Raises:
        ValueError: If the things have no features.
        NumericsError: If the loss is not finite.
    """
    return seeded(lambda: _fit(things, classes, recipe), seed)


def _fit(things: Things, classes: Classes, recipe: Recipe) -> CubeHead:
    head = CubeHead(
        width=_features(things).shape[2], cells=recipe.cells, priors=classes.sizes, per_class=recipe.per_class,
        depth=float((things.depth * VIRTUAL_FOCAL / things.views.focal).median()), dropout=recipe.dropout,
    )  # fmt: skip
    optimizer = torch.optim.AdamW(head.parameters(), lr=recipe.rate, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _pace(step, recipe.steps))
    pictures = int(things.views.pictures.max()) + 1
    for step in range(recipe.steps):
        drawn = torch.randperm(pictures)[: recipe.batch]
        some = things.pick(torch.isin(things.views.pictures, drawn).nonzero()[:, 0])
        loss = _loss(find_cubes(head, some), some, classes, recipe)
        if not torch.isfinite(loss):
            raise NumericsError(f"the loss of cuboids is {loss.item()} at step {step + 1}: lower the learning rate.")
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(head.parameters(), CLIP)
        optimizer.step()
        schedule.step()
    return head.eval()


def _pace(step: int, steps: int) -> float:
    """Return the share of the learning rate at a step."""
    return min(1.0, (step + 1) / WARM_UP) * (1 + math.cos(math.pi * step / steps)) / 2


def _loss(found: FoundCubes, things: Things, classes: Classes, recipe: Recipe) -> Tensor:
    if recipe.supervised:
        return scaled(supervised_loss(found.cuboids, things.true, unit=recipe.unit), found.uncertainty)
    known = evidence_of(things, found.cuboids, classes, surface_to_centre=recipe.surface_to_centre, fill=recipe.fill)
    losses = weak_loss(found.cuboids, things.views, known, weights=recipe.weights, unit=recipe.unit)
    return scaled(losses, found.uncertainty)


def find_cubes(head: CubeHead, things: Things) -> FoundCubes:
    """Return what a head takes things for.

    Raises:
        ValueError: If they have no features.
    """
    found: FoundCubes = head(_features(things), things.views, things.labels)
    return found


def place_cubes(things: Things, classes: Classes, *, surface_to_centre: bool = False) -> FoundCubes:
    """Return upright cuboids of each class's mean size at the measured depth, all as sure: the untrained baseline."""
    cuboids = depth_boxes(
        things.depth, things.views, sizes=classes.sizes[things.labels], normals=things.normals,
        surface_to_centre=surface_to_centre,
    )  # fmt: skip
    return FoundCubes(cuboids, torch.zeros(len(things)))


def _features(things: Things) -> Tensor:
    if things.features is None:
        raise ValueError("things must have features for a head to look at, got none: collect them with features.")
    return things.features
