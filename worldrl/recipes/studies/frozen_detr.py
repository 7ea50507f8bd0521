"""What a frozen encoder is worth to a detector that is trained from nothing: Frozen-DETR's two ways in."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from worldrl.data.scenes import SceneSet
from worldrl.errors import ConfigError
from worldrl.perception.detection_fit import Detections, detect, fit_detector, to_pixels, truth_of
from worldrl.perception.frozen_detr import FrozenDETR, Knowledge
from worldrl.recipes.options import check_positive, option
from worldrl.recipes.studies.stock import QUARTERS, Figures, Need, Stock, features_of, on_scenes
from worldrl.scene import SHAPES
from worldrl.types import Features

ENCODERS = ("dinov2", "random_dinov2")
DETECTORS = ("query", "nanodet")
SHOWN, SURE = 6, 0.3
"""Pictures that are shown, and the score from which a box is."""


@dataclass
class Options:
    """Options of an arm."""

    detector: str = option("query", "query: trained here; nanodet: as it comes, trained on COCO")
    queries: bool = option(False, "class tokens of the frame and its quarters join the queries of every decoder layer")
    patches: bool = option(False, "patch tokens join the encoder's map as one more level")
    encoder: str = option("dinov2", f"frozen encoder: {', '.join(ENCODERS)}")
    scenes: int = option(200, "training scenes, which the seed chooses")
    size: int = option(112, "pixels that the detector's pictures are high and wide; the encoder sees them whole")
    level: int = option(16, "rows and columns of the level of patch tokens, means of the encoder's")
    steps: int = option(300, "gradient steps")
    batch: int = option(16, "scenes in a step")
    rate: float = option(6e-4, "highest learning rate")

    def check(self) -> None:
        """Refuse options out of range."""
        check_positive(scenes=self.scenes, level=self.level, steps=self.steps, batch=self.batch, rate=self.rate)
        if self.detector not in DETECTORS:
            raise ConfigError(f"detector must be one of {', '.join(DETECTORS)}, got '{self.detector}'.")
        if self.encoder not in ENCODERS:
            raise ConfigError(f"encoder must be one of {', '.join(ENCODERS)}, got '{self.encoder}'.")


def needs(options: Options) -> tuple[Need, ...]:
    """Return what must be made before."""
    splits = ("train", "test", "shift")
    found = list(on_scenes(*splits))
    if options.patches:
        found += features_of(options.encoder, *splits)
    if options.queries:
        found += features_of(options.encoder + QUARTERS, *splits)
    return tuple(dict.fromkeys(found))


def run(options: Options, *, seed: int, stock: Stock, folder: Path) -> Figures:
    """Train a detector on a seed's scenes, and measure it on test scenes and on those of the shifted domain."""
    return _as_it_comes(stock) if options.detector == "nanodet" else _trained(options, seed, stock, folder)


def _as_it_comes(stock: Stock) -> Figures:
    """Measure NanoDet on the shapes that COCO has a class for; where names are ignored, all of its classes count."""
    from worldrl.encoders.nanodet import CLASSES, COCO, KEPT, NanoDet
    from worldrl.evaluation.coco import average_precision

    scenes, detector = stock.scenes("test"), NanoDet()
    scores, boxes = np.zeros((len(scenes), KEPT, CLASSES)), np.zeros((len(scenes), KEPT, 4))
    for i in range(len(scenes)):
        (found,) = detector(np.array(scenes.images[i : i + 1]))
        scores[i, np.arange(len(found.labels)), found.labels] = found.scores
        boxes[i, : len(found.boxes)] = found.boxes
    known = scores[..., list(COCO.values())]
    return {
        "map_coco": average_precision(scenes, known, boxes, categories=tuple(COCO))["map"],
        "map_ignoring_names": average_precision(
            scenes, scores.max(axis=-1, keepdims=True).repeat(len(SHAPES), axis=-1), boxes, ignore_names=True
        )["map"],
    }


def _trained(options: Options, seed: int, stock: Stock, folder: Path) -> Figures:
    from worldrl.encoders.frozen import seeded

    train = stock.scenes("train")
    order = np.random.default_rng(seed).permutation(len(train))[: options.scenes]
    chosen = torch.from_numpy(order)
    known, scale = _knowledge(options, stock, "train", None)
    detector = seeded(lambda: _detector(options, known), seed)
    pixels, truth = to_pixels(train.images, size=options.size), truth_of(train)
    losses = fit_detector(
        detector, pixels[chosen], [truth[row] for row in order], known[chosen],
        steps=options.steps, seed=seed, batch=options.batch, rate=options.rate,
    )  # fmt: skip
    figures: Figures = {"loss": sum(losses[-20:]) / len(losses[-20:])}
    for split in ("test", "shift"):
        scenes = stock.scenes(split)
        known, _ = _knowledge(options, stock, split, scale)
        found = detect(detector, to_pixels(scenes.images, size=options.size), known)
        figures |= _figures(scenes, found, suffix="" if split == "test" else "_shift")
        if split == "test":
            draw(folder / "picture.png", scenes, found)
    return figures


def _detector(options: Options, known: Knowledge) -> FrozenDETR:
    widths = (0 if one is None else one.shape[-1] for one in (known.tokens, known.patches))
    tokens, patches = widths
    return FrozenDETR(classes=len(SHAPES), tokens=tokens, patches=patches)


def _knowledge(
    options: Options, stock: Stock, split: str, scale: tuple[Tensor, Tensor] | None
) -> tuple[Knowledge, tuple[Tensor, Tensor]]:
    """Return what the encoder says of a split, and what patches were standardized by: the training scenes' figures."""
    tokens = patches = None
    if options.queries:
        seen = stock.features(options.encoder + QUARTERS, split)
        tokens = torch.cat([seen.cls[:, None], seen.patches], dim=1)
    if options.patches:
        patches = _level(stock.features(options.encoder, split), options.level)
        scale = scale or (patches.mean(dim=(0, 1)), patches.std(dim=(0, 1)).clamp(min=1e-3))
        patches = (patches - scale[0]) / scale[1]
    known = Knowledge(tokens, patches, (options.level, options.level))
    return known, scale or (torch.zeros(1), torch.ones(1))


def _level(features: Features, side: int) -> Tensor:
    """Return patches ``(n, side * side, d)``, each the mean of those that it covers."""
    maps = rearrange(features.patches, "n (h w) d -> n d h w", h=features.grid[0])
    return rearrange(F.adaptive_avg_pool2d(maps, side), "n d h w -> n (h w) d")


def _figures(scenes: SceneSet, found: Detections, *, suffix: str) -> Figures:
    from worldrl.encoders.nanodet import COCO
    from worldrl.evaluation.coco import average_precision

    known = found.scores[..., [SHAPES.index(shape) for shape in COCO]]
    shared = average_precision(scenes, known, found.boxes, categories=tuple(COCO))
    named = average_precision(scenes, found.scores, found.boxes)
    placed = average_precision(scenes, found.scores, found.boxes, ignore_names=True)
    figures = {**named, "map_ignoring_names": placed["map"], "map_coco": shared["map"]}
    return {f"{name}{suffix}": value for name, value in figures.items()}


def draw(path: Path, scenes: SceneSet, found: Detections) -> None:
    """Write a picture of what was found in the first scenes, below what is there."""
    import imageio.v3 as iio

    from worldrl.evaluation import drawing

    real, seen = [], []
    for i in range(min(SHOWN, len(scenes))):
        image, things = np.array(scenes.images[i]), scenes.things(i)
        real.append(drawing.boxes(image, np.stack([one.box for one in things]), [one.shape for one in things]))
        rows = found.scores[i].max(axis=-1) >= SURE
        names = [SHAPES[label] for label in found.scores[i][rows].argmax(axis=-1)]
        seen.append(drawing.boxes(image, found.boxes[i][rows] * scenes.size, names))
    iio.imwrite(path, drawing.sheet([*real, *seen], columns=len(real)))
