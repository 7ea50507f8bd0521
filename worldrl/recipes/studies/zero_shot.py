"""Things named by sentences alone: two towers, the same on a random map, and two networks that never met (ConSE)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from worldrl.data.captions import TEMPLATES, caption_of
from worldrl.errors import ConfigError
from worldrl.evaluation import drawing
from worldrl.language.conse import load_conse
from worldrl.language.crops import View, around
from worldrl.language.linear_probe import LinearProbe
from worldrl.language.naming import Named
from worldrl.language.two_tower import Cells, TwoTower
from worldrl.language.zero_shot import Towers, classify, retrieval, zero_shot_classifier
from worldrl.recipes.options import check_positive, option
from worldrl.recipes.studies.stock import Figures, Need, Stock, on_scenes
from worldrl.scene import BASE, NAMES, NOVEL, is_novel

WHO = ("two_tower", "conse", "linear_probe")
CHUNK = 64
PICTURED, COLUMNS = 24, 8
DECAY = 1e-4
"""Of the linear probe, which has many examples."""


@dataclass
class Options:
    """Options of an arm."""

    who: str = option("two_tower", f"who names: {', '.join(WHO)}")
    towers: str = option("captions", "frozen towers: captions, or random under the same training (a random map)")
    ensemble: bool = option(True, "a class is the mean of five sentences, or else one")
    things: int = option(800, "things of a split that are named, in windows of their own")
    shots: int = option(30, "training windows of each base class, for linear_probe alone")

    def check(self) -> None:
        """Refuse options out of range."""
        if self.who not in WHO:
            raise ConfigError(f"who must be one of {', '.join(WHO)}, got '{self.who}'.")
        if self.towers not in ("captions", "random"):
            raise ConfigError(f"towers must be captions or random, got '{self.towers}'.")
        check_positive(things=self.things, shots=self.shots)


def needs(options: Options) -> tuple[Need, ...]:
    """Return what must be made before."""
    scenes = on_scenes("train", "test", "shift")
    return scenes if options.who == "conse" else (*scenes, Need("towers", options.towers))


def run(options: Options, *, seed: int, stock: Stock, folder: Path) -> Figures:
    """Name the things of test scenes and of another domain's, and find the sentences of whole scenes."""
    figures: Figures = {}
    splits = {split: list(islice(around(stock.scenes(split)), options.things)) for split in ("test", "shift")}
    if options.who == "linear_probe":
        towers = TwoTower.from_pretrained(stock.towers(options.towers, seed))
        probe = _fit_probe(towers, stock, options.shots, seed)
        shown = {split: probe(views) for split, views in splits.items()}
    else:
        namer = load_conse() if options.who == "conse" else TwoTower.from_pretrained(stock.towers(options.towers, seed))
        classes = zero_shot_classifier(namer, NAMES, TEMPLATES if options.ensemble else TEMPLATES[:1])
        vectors = {split: _see(namer, [view.frame for view in views]) for split, views in splits.items()}
        shown = {split: [NAMES[i] for i in classify(part, classes).tolist()] for split, part in vectors.items()}
        figures = {**_among(vectors["test"], splits["test"], classes), **_find(namer, stock)}
    _draw(splits, shown, folder / "picture.png")
    return figures | _shares(splits["test"], shown["test"]) | {"shift": _share(splits["shift"], shown["shift"])}


def _see(towers: Towers, frames: Sequence[drawing.Picture]) -> Float[Tensor, "n e"]:
    parts = [towers.images(np.stack(frames[i : i + CHUNK])) for i in range(0, len(frames), CHUNK)]
    return torch.cat(parts)


def _truth(views: Sequence[View]) -> list[str]:
    return [view.names[view.about] for view in views]


def _share(views: Sequence[View], found: Sequence[str]) -> float:
    return float(np.mean([one == other for one, other in zip(_truth(views), found, strict=True)]))


def _shares(views: Sequence[View], found: Sequence[str]) -> Figures:
    """Return the shares of things that are named rightly, base and novel, and of colours and shapes."""
    pairs = list(zip(_truth(views), found, strict=True))
    right = np.array([one == other for one, other in pairs])
    novel = np.array([is_novel(one) for one, _ in pairs])
    words = np.array([[a == b for a, b in zip(one.split(), other.split(), strict=True)] for one, other in pairs])
    colour, shape = words.mean(axis=0).tolist()
    return {"base": right[~novel].mean().item(), "novel": right[novel].mean().item(), "colour": colour, "shape": shape}


def _among(vectors: Float[Tensor, "n e"], views: Sequence[View], classes: Float[Tensor, "k e"]) -> Figures:
    """Return how well novel things are named among novel names alone."""
    rows = [i for i, name in enumerate(_truth(views)) if is_novel(name)]
    labels = torch.tensor([NOVEL.index(_truth(views)[i]) for i in rows])
    found = classify(vectors[rows], classes[[NAMES.index(name) for name in NOVEL]])
    return {"novel_among_novel": (found == labels).float().mean().item()}


def _find(towers: Towers, stock: Stock) -> Figures:
    """Return R@1 and R@5 of whole test scenes and the sentences that list their things."""
    scenes = stock.scenes("test")
    captions = [caption_of(scenes.things(i)) for i in range(len(scenes))]
    with torch.no_grad():
        texts = torch.cat([towers.texts(captions[i : i + CHUNK]) for i in range(0, len(captions), CHUNK)])
    return dict(retrieval(_see(towers, list(scenes.images)), texts, captions))


def _fit_probe(
    towers: TwoTower, stock: Stock, shots: int, seed: int
) -> Callable[[Sequence[View]], list[str]]:  # fmt: skip
    """Fit logistic regression to windows of training scenes, and return what names windows with base names."""
    views = list(around(stock.scenes("train")))
    chosen = _drawn(_truth(views), shots, seed)
    examples = _named(towers, [views[i] for i in chosen])
    probe = LinearProbe(towers, BASE).fit(examples, decay=DECAY)

    def name(views: Sequence[View]) -> list[str]:
        return [BASE[i] for i in probe(_named(towers, views).cells, BASE).argmax(dim=1).tolist()]

    return name


def _drawn(names: Sequence[str], shots: int, seed: int) -> list[int]:
    """Return the rows of some windows of each base class, all of those that have fewer."""
    order = np.random.default_rng(seed).permutation(len(names)).tolist()
    return [i for name in BASE for i in [row for row in order if names[row] == name][:shots]]


def _named(towers: TwoTower, views: Sequence[View]) -> Named:
    frames = [view.frame for view in views]
    parts = [towers.cells(np.stack(frames[i : i + CHUNK])) for i in range(0, len(frames), CHUNK)]
    return Named(Cells(torch.cat([part.rows for part in parts]), parts[0].grid), tuple(_truth(views)))


def _draw(splits: dict[str, list[View]], shown: dict[str, list[str]], path: Path) -> None:
    """Draw the first windows of both splits with what they are called; what is wrong is said beside the truth."""
    from PIL import Image

    pictures, captions = [], []
    for split, views in splits.items():
        for view, found in list(zip(views, shown[split], strict=True))[: PICTURED // len(splits)]:
            true = view.names[view.about]
            pictures.append(view.frame)
            captions.append(found if found == true else f"{found} (is: {true})")
    Image.fromarray(drawing.sheet(pictures, columns=COLUMNS, captions=captions)).save(path)
