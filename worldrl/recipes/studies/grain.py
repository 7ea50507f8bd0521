"""Naming unseen pairs of shape and colour: regions and descriptions beside whole pictures and captions (GRAIN)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, Int
from torch import Tensor

from worldrl.data.captions import TEMPLATES, with_article
from worldrl.data.scenes import SceneSet
from worldrl.encoders.frozen import Encoder, load_encoder, seeded
from worldrl.encoders.tokens import FewerTokens
from worldrl.errors import ConfigError
from worldrl.evaluation import drawing
from worldrl.language.crops import around
from worldrl.language.grain import Grain, Grounded
from worldrl.language.grain_boxes import match, overlaps
from worldrl.language.grain_descriptions import describe
from worldrl.language.grain_fit import Lesson, Weights, fit_grain
from worldrl.recipes.options import check_positive, option
from worldrl.recipes.studies.stock import ENCODERS, Figures, Need, Stock, features_of
from worldrl.scene import NAMES, Thing, is_novel
from worldrl.types import Features

STEMS = ("efficientnet", "random_efficientnet")
PICTURED = 6
"""Test scenes that are drawn."""
CHUNK = 64
"""Pictures that are embedded at once."""
CROP = 1.3
"""How many times as wide as its thing a crop is."""
SURE = 0.5
"""Overlap with another drawn region from which a region is not drawn again."""


@dataclass
class Options:
    """Options of an arm."""

    stem: str = option("efficientnet", f"frozen map under the towers: {', '.join(STEMS)}")
    regions: float = option(1.0, "weight of the contrast of regions with descriptions; 0 for none")
    boxes: float = option(1.0, "weight of the box losses; 0 for none, regions are then paired by what they say")
    queries: int = option(5, "regions of a picture; pictures have up to six things")
    width: int = option(64, "of the blocks over the map and over the words")
    embedding: int = option(64, "numbers of a vector that pictures and texts share")
    scenes: int = option(1000, "training scenes, drawn by the seed")
    steps: int = option(500, "gradient steps")
    batch: int = option(32, "scenes a step")
    rate: float = option(1e-3, "highest learning rate")

    def check(self) -> None:
        """Refuse options out of range."""
        if self.stem not in STEMS:
            raise ConfigError(f"stem must be one of {', '.join(STEMS)}, got '{self.stem}'.")
        if self.regions < 0 or self.boxes < 0:
            raise ConfigError(f"regions and boxes must be at least 0, got {self.regions:g} and {self.boxes:g}.")
        check_positive(
            queries=self.queries, width=self.width, embedding=self.embedding, scenes=self.scenes, steps=self.steps,
            batch=self.batch, rate=self.rate,
        )  # fmt: skip


@dataclass(frozen=True)
class Split:
    """The scenes of a split: frozen maps, and what is in them.

    Attributes:
        maps: Of the scenes, ``patches`` ``(n, p, c)``.
        boxes: ``(m, 4)`` of each scene, in [0, 1].
        things: Of each scene.
    """

    maps: Features
    boxes: list[Tensor]
    things: list[tuple[Thing, ...]]


def needs(options: Options) -> tuple[Need, ...]:
    """Return what must be made before."""
    return features_of(options.stem, "train", "test")


def run(options: Options, *, seed: int, stock: Stock, folder: Path) -> Figures:
    """Train both towers on training scenes and name the things of test scenes, all 64 names being possible."""
    train, test = (read(options.stem, stock, split) for split in ("train", "test"))
    lesson = _lesson(train, stock.scenes("train"), np.random.default_rng(seed).permutation(len(train.things)), options)
    grain = seeded(lambda: _towers(options, lesson), seed)
    weights = Weights(options.regions, options.boxes)
    history = fit_grain(
        grain, lesson, steps=options.steps, seed=seed, weights=weights, batch=options.batch, rate=options.rate
    )
    figures = judge_crops(grain, load_encoder(**ENCODERS[options.stem]), stock.scenes("test"))
    if weights.regions or weights.boxes:
        figures |= judge_regions(grain, test, weights)
    if seed == 0:
        _draw(grain, test, stock.scenes("test"), weights, folder / "picture.png")
    last = history[-max(options.steps // 10, 1) :]
    return figures | {f"loss_{name}": float(np.mean([losses[name] for losses in last])) for name in last[0]}


def read(stem: str, stock: Stock, split: str) -> Split:
    """Return the scenes of a split."""
    scenes = stock.scenes(split)
    things = [scenes.things(i) for i in range(len(scenes))]
    boxes = [torch.from_numpy(np.stack([thing.box for thing in row])).float() / scenes.size for row in things]
    return Split(stock.features(stem, split), boxes, things)


@torch.no_grad()
def judge_crops(grain: Grain, stem: Encoder | FewerTokens, scenes: SceneSet) -> Figures:
    """Name the thing in the middle of every crop, from the vector of the crop as a whole.

    Returns:
        ``accuracy_base``, ``accuracy_novel``: classes told by their descriptions; ``named_base``, ``named_novel``: by
        their captions.
    """
    views = list(around(scenes, scale=CROP))
    labels = torch.tensor([NAMES.index(view.names[view.about]) for view in views])
    parts = []
    for i in range(0, len(views), CHUNK):
        seen = stem(np.stack([view.frame for view in views[i : i + CHUNK]]))
        parts.append(grain.whole(seen.patches, seen.grid))
    vectors, told = torch.cat(parts), [[one.format(with_article(name)) for one in TEMPLATES] for name in NAMES]
    return _accuracies("accuracy", vectors, grain.classes([describe(name) for name in NAMES]), labels) | _accuracies(
        "named", vectors, grain.classes(told), labels
    )


@torch.no_grad()
def judge_regions(grain: Grain, test: Split, weights: Weights) -> Figures:
    """Pair the regions of every scene with its things, by overlap, or by what they say where boxes were not trained.

    Returns:
        ``region_base``, ``region_novel``: names of paired regions, from the classes' descriptions. Where boxes were
        trained, ``iou`` of the pairs, and ``recall``: the share of all things whose region overlaps their box by half.
    """
    described, grounded = grain.classes([describe(name) for name in NAMES]), _ground(grain, test.maps)
    vectors, labels, shares = [], [], []
    for i, true in enumerate(test.boxes):
        own = torch.tensor([NAMES.index(thing.name) for thing in test.things[i]])
        iou = overlaps(grounded.boxes[i], true)[0]
        queries, things = match(-iou if weights.boxes else -grounded.regions[i] @ described[own].T)
        vectors.append(grounded.regions[i, queries])
        labels.append(own[things])
        shares.append(iou[queries, things])
    figures = _accuracies("region", torch.cat(vectors), described, torch.cat(labels))
    if weights.boxes:
        found, total = torch.cat(shares), sum(len(true) for true in test.boxes)
        figures |= {"iou": found.mean().item(), "recall": (found >= 0.5).sum().item() / total}
    return figures


def _lesson(train: Split, scenes: SceneSet, order: npt.NDArray[np.int64], options: Options) -> Lesson:
    rows = order[: options.scenes].tolist()
    return Lesson(
        train.maps.patches[rows],
        train.maps.grid,
        [scenes.captions(i) for i in rows],
        [train.boxes[i] for i in rows],
        [[describe(thing.name) for thing in train.things[i]] for i in rows],
    )


def _towers(options: Options, lesson: Lesson) -> Grain:
    grain = Grain(
        inputs=lesson.patches.shape[-1], width=options.width, embedding=options.embedding, queries=options.queries
    )
    grain.image.standardise(lesson.patches)
    return grain


@torch.no_grad()
def _ground(grain: Grain, maps: Features) -> Grounded:
    parts = [grain(maps.patches[i : i + CHUNK], maps.grid) for i in range(0, len(maps.patches), CHUNK)]
    return Grounded(*(torch.cat([getattr(part, name) for part in parts]) for name in ("whole", "regions", "boxes")))


def _accuracies(
    figure: str, vectors: Float[Tensor, "t e"], classes: Float[Tensor, "k e"], labels: Int[Tensor, " t"]
) -> Figures:
    right = (vectors @ classes.T).argmax(dim=1) == labels
    novel = torch.tensor([is_novel(name) for name in NAMES])[labels]
    return {
        f"{figure}_base": right[~novel].float().mean().item(),
        f"{figure}_novel": right[novel].float().mean().item(),
    }


@torch.no_grad()
def _draw(grain: Grain, test: Split, scenes: SceneSet, weights: Weights, path: Path) -> None:
    """Draw the regions of the first test scenes with their best names; without boxes, the name of the whole picture."""
    from PIL import Image

    few = Features(test.maps.cls[:PICTURED], test.maps.patches[:PICTURED], test.maps.grid)
    described, grounded, pictures = grain.classes([describe(name) for name in NAMES]), _ground(grain, few), []
    for i in range(len(few.cls)):
        rows = _distinct(grounded.boxes[i], (grounded.regions[i] @ described.T).amax(dim=1))
        boxes, vectors = grounded.boxes[i, rows], grounded.regions[i, rows]
        if not weights.boxes:
            boxes, vectors = torch.tensor([[0.0, 0.0, 1.0, 1.0]]), grounded.whole[i : i + 1]
        names = [NAMES[j] for j in (vectors @ described.T).argmax(dim=1).tolist()]
        pixels = (scenes.size * boxes.clamp(0.0, 1.0)).numpy()
        pictures.append(drawing.boxes(np.array(scenes.images[i]), pixels, names))
    Image.fromarray(drawing.sheet(pictures, columns=3)).save(path)


def _distinct(boxes: Float[Tensor, "q 4"], sure: Float[Tensor, " q"]) -> list[int]:
    """Return the regions that no surer one covers."""
    iou = overlaps(boxes, boxes)[0]
    kept: list[int] = []
    for i in sure.argsort(descending=True).tolist():
        if all(iou[i, j] < SURE for j in kept):
            kept.append(i)
    return kept
