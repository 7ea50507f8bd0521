"""The towers that studies share: fitted to captions of training scenes, then frozen."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from worldrl.data.scenes import SceneSet
from worldrl.encoders.frozen import Encoder, load_encoder, seeded
from worldrl.errors import ConfigError
from worldrl.facts import tell
from worldrl.language.crops import View, at_random, whole
from worldrl.language.image_tower import ImageTower
from worldrl.language.text_tower import TOLD, TextTower
from worldrl.language.towers_fit import Plan, fit_towers, read_views
from worldrl.language.two_tower import LAYER, STEM
from worldrl.recipes.studies.stock import Stock
from worldrl.scene import BASE

KINDS = {"captions": False, "random": True}
"""What towers there are, and whether the frozen map below them is one at random."""
WINDOWS, SCENES = 4600, 300
COLOURS = True


def make(
    folder: Path, *, stock: Stock, kind: str, seed: int, windows: int = WINDOWS, scenes: int = SCENES,
    plan: Plan | None = None,
) -> None:  # fmt: skip
    """Fit towers and save them.

    Args:
        folder: Where they go.
        stock: Has the training scenes, which are of base classes alone.
        kind: ``captions``, or ``random``: the same on a frozen map with random weights.
        seed: Of the random map, of first weights, and of what is drawn.
        windows: Of scenes, each around a thing.
        scenes: Whole ones.
        plan: How they are fitted.

    Raises:
        ConfigError: If there is no such kind.
    """
    if kind not in KINDS:
        raise ConfigError(f"towers must be one of {', '.join(KINDS)}, got '{kind}'.")
    stem, train = load_encoder(STEM, layer=LAYER, random_init=KINDS[kind], seed=seed), stock.scenes("train")
    assert isinstance(stem, Encoder)  # without keep and merge it is one
    near = read_views(stem, at_random(train, windows, seed=seed), colours=COLOURS)
    far = read_views(stem, _whole(train, scenes, seed=seed), colours=COLOURS)
    pictures, words = seeded(
        lambda: (ImageTower(inputs=near.cells.rows.shape[-1]), TextTower(TOLD)), seed
    )  # fmt: skip
    losses: list[float] = []
    towers = fit_towers(
        stem, pictures, words, windows=near, scenes=far, names=BASE, plan=plan or Plan(), seed=seed, colours=COLOURS,
        told=lambda step, loss: losses.append(loss),
    )  # fmt: skip
    print(f"loss {losses[0]:.3f}, at last {np.mean(losses[-20:]):.3f}", flush=True)
    towers.save_pretrained(folder)
    tell(folder, scenes=len(train), encoder=stem.name)


def _whole(scenes: SceneSet, count: int, *, seed: int) -> Iterator[View]:
    order = np.random.default_rng(seed).permutation(len(scenes))[:count]
    return (whole(scenes.images[i], scenes.things(i)) for i in order.tolist())
