"""Cuboids from 2D boxes and a depth map alone (Weak Cube R-CNN), against no training and against true cuboids."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from worldrl.errors import ConfigError
from worldrl.evaluation import drawing
from worldrl.evaluation.boxes3d import Judged, mean_average_precision
from worldrl.perception.cube_fit import Recipe, find_cubes, fit_head, place_cubes
from worldrl.perception.cube_head import FoundCubes
from worldrl.perception.cube_losses import Weights
from worldrl.perception.cube_things import Things, classes_of, collect
from worldrl.perception.cuboids import Cuboids
from worldrl.perception.depth_boxes import check_errors
from worldrl.perception.oriented_boxes import OrientedBoxes, overlaps
from worldrl.recipes.options import check_positive, option
from worldrl.recipes.studies.stock import ENCODERS, SPLITS, Figures, Need, Stock, features_of, on_scenes

METHODS = ("weak", "supervised", "depth_median")
THRESHOLDS = {"ap_15": 0.15, "ap_25": 0.25, "ap_50": 0.50}
"""IoU from which a cuboid counts, by the figure."""
PICTURED = 6
"""Test scenes that are drawn."""
TRUE, FOUND = (255, 255, 255), (255, 0, 160)
"""Colours that cuboids are drawn in."""


@dataclass
class Options:
    """Options of an arm."""

    method: str = option("weak", "weak (2D boxes and depth), supervised (true cuboids), depth_median (no training)")
    encoder: str = option("dinov2", f"frozen features of the boxes: {', '.join(ENCODERS)}")
    surface_to_centre: bool = option(False, "add half a cuboid's extent along its rays to the median visible depth")
    masks: bool = option(False, "read depth within true masks of things and of the ground: privileged")
    fill: bool = option(False, "use how much of its projected cuboid a shape fills: known of the class, not of a thing")
    per_class: bool = option(True, "each shape has predictions of its own")
    scenes: int = option(1000, "training scenes, drawn by the seed")
    steps: int = option(400, "gradient steps")
    batch: int = option(32, "scenes a step")
    rate: float = option(1e-3, "learning rate at first; it falls to zero along a cosine")
    cells: int = option(5, "places across a box where features are read")
    depth_scale: float = option(0.03, "standard deviation of the factor by which the depth of a picture is wrong")
    depth_noise: float = option(0.005, "standard deviation of each pixel's depth, in shares of it")
    unit: float = option(0.1, "metres that stand for one of the paper's: a table is a tenth of a room")
    slide: float = option(1.0, "weight of the depth at which the projected box has the right area")
    alignment: float = option(7.0, "weight of the loss that turns the things of a picture alike")
    dropout: float = option(0.3, "share of the head's units that are left out in training")

    def check(self) -> None:
        """Refuse options out of range."""
        if self.method not in METHODS:
            raise ConfigError(f"method must be one of {', '.join(METHODS)}, got '{self.method}'.")
        if self.encoder not in ENCODERS:
            raise ConfigError(f"encoder must be one of {', '.join(ENCODERS)}, got '{self.encoder}'.")
        check_positive(
            scenes=self.scenes, steps=self.steps, batch=self.batch, rate=self.rate, cells=self.cells, unit=self.unit
        )
        if min(self.alignment, self.slide) < 0:
            raise ConfigError(f"weights must be at least 0, got {min(self.alignment, self.slide):g}.")
        check_errors(self.depth_scale, self.depth_noise)
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout must be in [0, 1), got {self.dropout:g}.")

    def recipe(self) -> Recipe:
        """Return how the head is fitted."""
        return Recipe(
            steps=self.steps, batch=self.batch, rate=self.rate, cells=self.cells, dropout=self.dropout,
            per_class=self.per_class, supervised=self.method == "supervised", fill=self.fill, unit=self.unit,
            surface_to_centre=self.surface_to_centre, weights=Weights(slide=self.slide, alignment=self.alignment),
        )  # fmt: skip


def needs(options: Options) -> tuple[Need, ...]:
    """Return what must be made before."""
    splits = ("train", "test", "shift")
    return on_scenes(*splits) if options.method == "depth_median" else features_of(options.encoder, *splits)


def run(options: Options, *, seed: int, stock: Stock, folder: Path) -> Figures:
    """Fit a head to training scenes, and judge the cuboids that it finds in test scenes against the true ones."""
    train, test, shift = (_collect(options, stock, split, seed) for split in ("train", "test", "shift"))
    classes = classes_of(train)
    if options.method == "depth_median":
        corrected = options.surface_to_centre
        seen, shifted = (place_cubes(split, classes, surface_to_centre=corrected) for split in (test, shift))
    else:
        head = fit_head(train, classes, options.recipe(), seed=seed)
        with torch.no_grad():
            seen, shifted = find_cubes(head, test), find_cubes(head, shift)
    if seed == 0:
        _draw(test, seen.cuboids, stock, folder / "picture.png")
    beyond = judge(shift, shifted)
    return {**judge(test, seen), "ap_25_shift": beyond["ap_25"], "iou_shift": beyond["iou"]}


def judge(things: Things, found: FoundCubes) -> Figures:
    """Compare cuboids with the true ones.

    Returns:
        ``ap_15``, ``ap_25``, ``ap_50``: average precision over shapes, surest first; ``iou``: mean overlap of each
        thing with the cuboid of its own 2D box; ``z_bias``: mean of how much too far centres are, centimetres, and
        ``z_error``, its mean size.
    """
    some, others = _oriented(found.cuboids), _oriented(things.true)
    scores, labels = found.scores().numpy(), things.labels.numpy()
    pictures, own = [], np.zeros(len(things))
    for picture in sorted(set(things.views.pictures.tolist())):
        rows = np.flatnonzero(things.views.pictures.numpy() == picture)
        table = np.zeros((len(rows), len(rows)))
        for label in np.unique(labels[rows]):
            same = np.flatnonzero(labels[rows] == label)
            table[np.ix_(same, same)] = overlaps(some[rows[same]], others[rows[same]])
        own[rows] = np.diag(table)
        pictures.append(Judged(table, scores[rows], labels[rows], labels[rows]))
    precision = {name: mean_average_precision(pictures, threshold=at) for name, at in THRESHOLDS.items()}
    gap = 100 * (found.cuboids.centres[:, 2] - things.true.centres[:, 2])
    return {**precision, "iou": float(own.mean()), "z_bias": float(gap.mean()), "z_error": float(gap.abs().mean())}


def _collect(options: Options, stock: Stock, split: str, seed: int) -> Things:
    scenes = stock.scenes(split)
    rows = np.arange(len(scenes))
    if split == "train":
        rows = np.sort(np.random.default_rng(seed).permutation(rows)[: options.scenes])
    features = None if options.method == "depth_median" else stock.features(options.encoder, split)
    return collect(
        scenes, rows.tolist(), features=features, cells=options.cells, depth_scale=options.depth_scale,
        depth_noise=options.depth_noise, masks=options.masks, seed=len(SPLITS) * seed + SPLITS.index(split),
    )  # fmt: skip


def _oriented(cuboids: Cuboids) -> OrientedBoxes:
    return OrientedBoxes(*(part.double().numpy() for part in (cuboids.centres, cuboids.sizes, cuboids.rotations)))


def _draw(things: Things, found: Cuboids, stock: Stock, path: Path) -> None:
    """Draw true cuboids in white and found ones in colour on the first test scenes."""
    from PIL import Image

    scenes, pictures = stock.scenes("test"), []
    for i in range(min(PICTURED, len(scenes))):
        rows = (things.views.pictures == i).nonzero()[:, 0]
        views, image = things.views.pick(rows), np.array(scenes.images[i])
        for cuboids, colour in ((things.true, TRUE), (found, FOUND)):
            image = drawing.cubes(image, views.project(cuboids.pick(rows).corners()).numpy(), colour=colour)
        pictures.append(image)
    Image.fromarray(drawing.sheet(pictures, columns=3)).save(path)
