"""DenseCLIP: what score maps, the context decoder and learned context are worth to segmentation by names."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from worldrl.errors import ConfigError
from worldrl.perception.denseclip import DenseCLIP, DenseView, dense_loss
from worldrl.perception.masks import resized
from worldrl.recipes.options import check_positive, option
from worldrl.recipes.studies.dense import Dense, read
from worldrl.recipes.studies.segmenting import Segmented, descend, draw, exchanged, figures_of, label_maps
from worldrl.recipes.studies.stock import Figures, Need, Stock, on_scenes
from worldrl.scene import BASE, NAMES

TOWERS = ("captions", "random")
CHUNK = 20


@dataclass
class Options:
    """Options of an arm."""

    scores: bool = option(True, "the decoder gets score maps, and these a loss of their own")
    context_decoder: bool = option(True, "classes look at the picture before they are compared with it")
    learned_context: bool = option(True, "names stand behind eight learned vectors")
    shuffled: bool = option(False, "in training every base class is called by the name of another one")
    towers: str = option("captions", f"frozen towers: {', '.join(TOWERS)} (their frozen map is one at random)")
    steps: int = option(300, "gradient steps")
    batch: int = option(8, "scenes in a step")
    rate: float = option(2e-3, "highest learning rate")

    def check(self) -> None:
        """Refuse options out of range."""
        check_positive(steps=self.steps, batch=self.batch, rate=self.rate)
        if self.towers not in TOWERS:
            raise ConfigError(f"towers must be one of {', '.join(TOWERS)}, got '{self.towers}'.")


def needs(options: Options) -> tuple[Need, ...]:
    """Return what must be made before."""
    return (*on_scenes("train", "test", "shift"), Need("towers", options.towers), Need("dense", options.towers))


def run(options: Options, *, seed: int, stock: Stock, folder: Path) -> Figures:
    """Train on base classes, and segment test scenes by the names of all."""
    from worldrl.encoders.frozen import seeded
    from worldrl.language.two_tower import TwoTower

    towers = TwoTower.from_pretrained(stock.towers(options.towers, seed))
    dense = read(stock.dense(options.towers, seed))
    model = seeded(lambda: _model(options, dense["train"], towers), seed)
    called = exchanged(seed) if options.shuffled else dict(zip(NAMES, NAMES, strict=True))
    _fit(model, towers, dense["train"], stock, [called[name] for name in BASE], options, seed)
    names = [called[name] for name in NAMES]
    figures: Figures = {}
    for split, suffix in (("test", ""), ("shift", "_shift")):
        found = _segment(model, towers, dense[split], names)
        segmented = Segmented(stock.scenes(split), dense[split].rows.numpy(), found)
        figures |= figures_of(segmented, suffix=suffix)
        if split == "test":
            draw(folder / "picture.png", segmented)
    other = [exchanged(seed + 1)[name] for name in names]
    wrong = _segment(model, towers, dense["test"], other)
    unlike = figures_of(Segmented(stock.scenes("test"), dense["test"].rows.numpy(), wrong), suffix="")
    return figures | {"miou_names_exchanged": unlike["miou_seen"]}


def _model(options: Options, train: Dense, towers: Any) -> DenseCLIP:
    return DenseCLIP(
        width=train.patches.shape[-1], stem=train.stem.shape[-1], text_width=towers.text_width, hidden=48,
        doublings=1, scores=options.scores, context_decoder=options.context_decoder,
        learned_context=options.learned_context,
    )  # fmt: skip


def _fit(
    model: DenseCLIP, towers: Any, train: Dense, stock: Stock, names: Sequence[str], options: Options, seed: int
) -> None:
    labels = label_maps(stock.scenes("train"), train.rows.tolist(), BASE, stride=8)

    def loss(rows: Tensor) -> Tensor:
        found = model(_view(train, rows), model.embed(towers, names))
        return dense_loss(found, labels[rows], scores=options.scores)

    descend(model, loss, len(train.rows), steps=options.steps, batch=options.batch, rate=options.rate, seed=seed)


@torch.no_grad()
def _segment(model: DenseCLIP, towers: Any, dense: Dense, names: Sequence[str]) -> np.ndarray[Any, Any]:
    """Return the class of each cell of 4 pixels: 0 for the background, ``i + 1`` for the ``i``-th name."""
    model.eval()
    texts = model.embed(towers, names)
    parts = []
    for start in range(0, len(dense.rows), CHUNK):
        rows = torch.arange(start, min(start + CHUNK, len(dense.rows)))
        logits = model(_view(dense, rows), texts).logits
        size = (2 * logits.shape[-2], 2 * logits.shape[-1])
        parts.append(resized(logits, size).argmax(dim=1).numpy())
    return np.concatenate(parts)


def _view(dense: Dense, rows: Tensor) -> DenseView:
    return DenseView(dense.whole[rows], dense.patches[rows], dense.stem[rows], dense.grid)
