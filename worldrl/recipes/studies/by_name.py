"""Objects by name: how well a list of names finds things, with nothing trained and nothing annotated."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from worldrl.data.scenes import SceneSet
from worldrl.errors import ConfigError
from worldrl.recipes.options import check_positive, option
from worldrl.recipes.studies.stock import Figures, Need, Stock, encoder_of, features_of, on_scenes
from worldrl.scene import NAMES, is_novel
from worldrl.types import Array

SPATIAL = ("none", "dinov2", "random_dinov2")
TOWERS = ("captions", "random")
FOUND, ABSENT, SHOWN = 0.25, 3, 6
"""IoU from which a thing counts as found, names asked for that are not there, and pictures shown."""


@dataclass
class Options:
    """Options of an arm."""

    spatial: str = option(
        "dinov2", f"frozen encoder that is cut into pieces, or none for the towers: {', '.join(SPATIAL)}"
    )
    towers: str = option("captions", f"frozen towers: {', '.join(TOWERS)} (their frozen map is one at random)")
    scenes: int = option(150, "test scenes, the first ones")

    def check(self) -> None:
        """Refuse options out of range."""
        check_positive(scenes=self.scenes)
        if self.spatial not in SPATIAL or self.towers not in TOWERS:
            raise ConfigError(
                f"spatial must be one of {', '.join(SPATIAL)} and towers one of {', '.join(TOWERS)}, "
                f"got '{self.spatial}' and '{self.towers}'."
            )


def needs(options: Options) -> tuple[Need, ...]:
    """Return what must be made before."""
    spatial = () if options.spatial == "none" else features_of(options.spatial, "test")
    return (*on_scenes("test", "train"), *spatial, Need("towers", options.towers))


def run(options: Options, *, seed: int, stock: Stock, folder: Path) -> Figures:
    """Ask for the names of what is there, and for some of what is not."""
    from worldrl.encoders import FeatureCache
    from worldrl.language.two_tower import TwoTower

    towers, scenes = TwoTower.from_pretrained(stock.towers(options.towers, seed)), stock.scenes("test")
    rows = range(min(options.scenes, len(scenes)))
    if options.spatial == "none":
        return _asked(towers, None, scenes, rows, seed, folder)
    cache = stock.at(Need("features", options.spatial, "test")) / "cache"
    with FeatureCache(cache, encoder_of(options.spatial)) as spatial:
        return _asked(towers, spatial, scenes, rows, seed, folder)


def _asked(towers: Any, spatial: Any, scenes: SceneSet, rows: range, seed: int, folder: Path) -> Figures:
    from worldrl.perception.by_name import NamedMasks

    rng, overlaps, imagined, pictures = (
        np.random.default_rng(seed),
        dict[bool, list[float]](),
        list[bool](),
        list[Any](),
    )
    for row in rows:
        image, things = np.array(scenes.images[row]), scenes.things(row)
        there = [thing.name for thing in things]
        absent = rng.choice([name for name in NAMES if name not in there], ABSENT, replace=False).tolist()
        asked = [*there, *absent]
        (found,) = NamedMasks(towers, asked, rivals=NAMES, spatial=spatial)(image[None])
        for i, name in enumerate(there, start=1):
            overlaps.setdefault(is_novel(name), []).append(_iou(found == i, scenes.instances[row] == i))
        imagined += [bool((found == i + 1).any()) for i in range(len(there), len(asked))]
        pictures += [(image, found, there)] if row < SHOWN else []
    _draw(folder / "picture.png", pictures)
    both = [iou for of in overlaps.values() for iou in of]
    return {
        "iou_base": float(np.mean(overlaps[False])),
        "iou_novel": float(np.mean(overlaps[True])),
        "found": float(np.mean(np.array(both) > FOUND)),
        "imagined": float(np.mean(imagined)),
    }


def _iou(found: Array, true: Array) -> float:
    return float((found & true).sum() / max((found | true).sum(), 1))


def _draw(path: Path, pictures: list[Any]) -> None:
    """Write a picture of the first scenes with what the names of their things found."""
    import imageio.v3 as iio

    from worldrl.evaluation import drawing

    shown = [drawing.masks(image, found) for image, found, _ in pictures]
    iio.imwrite(path, drawing.sheet(shown, columns=len(shown), captions=[", ".join(names) for *_, names in pictures]))
