"""FrozenSeg: what a second, spatial encoder is worth to masks and their names, injector by injector."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from worldrl.data.captions import TEMPLATES, with_article
from worldrl.data.scenes import SceneSet
from worldrl.errors import ConfigError
from worldrl.perception.frozenseg import FrozenSeg, TwoViews, stacked
from worldrl.perception.frozenseg_ensemble import Tower, labels, renamed, score, with_proposals
from worldrl.perception.mask_matching import set_loss
from worldrl.perception.mask_proposals import propose
from worldrl.perception.masks import TrueMasks, numbers_of, true_masks
from worldrl.recipes.options import check_positive, option
from worldrl.recipes.studies.dense import Dense, read
from worldrl.recipes.studies.segmenting import STRIDE, Segmented, descend, draw, exchanged, figures_of
from worldrl.recipes.studies.stock import Figures, Need, Stock, features_of
from worldrl.scene import BASE, NAMES, is_novel
from worldrl.types import Array

TOWERS = ("captions", "random")
SPATIAL = ("dinov2", "random_dinov2", "mobilesam", "none")
SPLITS = ("train", "test", "shift")
CHUNK = 10
SURE = 0.5
"""How likely a query is of a thing for its mask to count as one that was found."""


@dataclass
class Options:
    """Options of an arm."""

    spatial: str = option("dinov2", f"second frozen encoder: {', '.join(SPATIAL)}")
    towers: str = option("captions", f"frozen towers: {', '.join(TOWERS)} (their frozen map is one at random)")
    feature_injector: bool = option(True, "cells of the towers look at those of the second encoder, every third layer")
    query_injector: bool = option(
        True, "queries get what the second encoder says within their masks, every third layer"
    )
    layers: int = option(6, "of the mask decoder")
    queries: int = option(16, "masks")
    steps: int = option(250, "gradient steps")
    batch: int = option(8, "scenes in a step")
    rate: float = option(1.5e-3, "highest learning rate")

    def check(self) -> None:
        """Refuse options out of range."""
        check_positive(steps=self.steps, batch=self.batch, rate=self.rate, layers=self.layers, queries=self.queries)
        if self.towers not in TOWERS or self.spatial not in SPATIAL:
            raise ConfigError(
                f"towers must be one of {', '.join(TOWERS)} and spatial one of {', '.join(SPATIAL)}, "
                f"got '{self.towers}' and '{self.spatial}'."
            )
        if self.spatial == "none" and (self.feature_injector or self.query_injector):
            raise ConfigError("spatial=none has nothing to inject: set feature_injector and query_injector to false.")


def needs(options: Options) -> tuple[Need, ...]:
    """Return what must be made before: proposals are pieces of DINOv2's features, whatever is injected."""
    spatial = () if options.spatial == "none" else features_of(options.spatial, *SPLITS)
    proposals = features_of("dinov2", "test")
    towers = (Need("towers", options.towers), Need("dense", options.towers))
    return tuple(dict.fromkeys((*spatial, *proposals, *towers)))


@dataclass(frozen=True)
class _Views:
    """What both encoders say of some scenes of a split."""

    dense: Dense
    spatial: Tensor | None
    grid: tuple[int, int]

    def __getitem__(self, rows: Tensor) -> TwoViews:
        spatial = None if self.spatial is None else self.spatial[rows]
        return TwoViews(self.dense.patches[rows], self.dense.grid, spatial, self.grid)


def run(options: Options, *, seed: int, stock: Stock, folder: Path) -> Figures:
    """Train on base classes, and find and name the things of test scenes."""
    from worldrl.encoders.frozen import seeded
    from worldrl.language.two_tower import TwoTower

    towers = TwoTower.from_pretrained(stock.towers(options.towers, seed))
    dense = read(stock.dense(options.towers, seed))
    train = _views(options, stock, "train", dense["train"])
    model = seeded(lambda: _model(options, train), seed)
    _fit(model, train, stock.scenes("train"), _texts(towers, dict(zip(NAMES, NAMES, strict=True)), BASE), options, seed)
    judge = _Judge(model, towers, stock)
    views = _views(options, stock, "test", dense["test"])
    called = dict(zip(NAMES, NAMES, strict=True))
    plain, ensemble = (judge.segment(views, "test", called, proposals=with_them) for with_them in (False, True))
    figures = figures_of(ensemble, suffix="")
    alone = figures_of(plain, suffix="")
    figures |= {"miou_novel_no_proposals": alone["miou_novel"], "miou_seen_no_proposals": alone["miou_seen"]}
    figures |= judge.recall(views)
    unlike = figures_of(judge.segment(views, "test", exchanged(seed + 1), proposals=False), suffix="")
    figures["miou_names_exchanged"] = unlike["miou_seen"]
    shifted = judge.segment(_views(options, stock, "shift", dense["shift"]), "shift", called, proposals=False)
    draw(folder / "picture.png", ensemble)
    return figures | figures_of(shifted, suffix="_shift")


def _views(options: Options, stock: Stock, split: str, dense: Dense) -> _Views:
    if options.spatial == "none":
        return _Views(dense, None, (0, 0))
    features = stock.features(options.spatial, split)
    return _Views(dense, features.patches[dense.rows], features.grid)


def _model(options: Options, train: _Views) -> FrozenSeg:
    spatial = 0 if train.spatial is None else train.spatial.shape[-1]
    return FrozenSeg(
        language=train.dense.patches.shape[-1], spatial=spatial, width=48, queries=options.queries,
        layers=options.layers, feature_injector=options.feature_injector, query_injector=options.query_injector,
    )  # fmt: skip


def _fit(model: FrozenSeg, train: _Views, scenes: SceneSet, texts: Tensor, options: Options, seed: int) -> None:
    true = [_true(scenes, row) for row in train.dense.rows.tolist()]

    def loss(rows: Tensor) -> Tensor:
        return set_loss(model(train[rows], texts), [true[row] for row in rows.tolist()])

    descend(model, loss, len(true), steps=options.steps, batch=options.batch, rate=options.rate, seed=seed)


def _parts(count: int) -> list[Tensor]:
    """Return the numbers of scenes, a few at a time."""
    return [torch.arange(start, min(start + CHUNK, count)) for start in range(0, count, CHUNK)]


def _true(scenes: SceneSet, row: int) -> TrueMasks:
    numbers = numbers_of([thing.name for thing in scenes.things(row)], BASE)
    return true_masks(np.array(scenes.instances[row]), numbers, stride=STRIDE)


def _texts(towers: Any, called: dict[str, str], names: tuple[str, ...]) -> Tensor:
    """Return the embeddings ``(k, m, e)`` of names in every template, each name being what it is called."""
    with torch.no_grad():
        return stacked([towers.texts([one.format(with_article(called[name])) for name in names]) for one in TEMPLATES])


class _Judge:
    """Uses a trained model on scenes; towers also judge masks by themselves, and proposals."""

    def __init__(self, model: FrozenSeg, towers: Any, stock: Stock) -> None:
        self.model, self.towers, self.stock = model.eval(), towers, stock
        self._features, self._proposed = stock.features("dinov2", "test"), dict[int, Array]()

    def propose(self, row: int) -> Array:
        """Return the proposals of a test scene ``(n, h, w)``, each computed once."""
        if row not in self._proposed:
            side = self.stock.scenes("test").size // STRIDE
            self._proposed[row] = propose(self._features.patches[row], self._features.grid, (side, side), seed=row)
        return self._proposed[row]

    @torch.no_grad()
    def segment(self, views: _Views, split: str, called: dict[str, str], *, proposals: bool) -> Segmented:
        """Return the class of every cell, with or without proposals for classes that training had not."""
        texts, novel = _texts(self.towers, called, NAMES), torch.tensor([is_novel(name) for name in NAMES])
        found = []
        for rows in _parts(len(views.dense.rows)):
            last = self.model(views[rows], texts)[-1]
            tower = Tower(views.dense.patches[rows], views.dense.grid, texts, float(self.towers.scale))
            scored = score(last, novel, tower)
            maps = labels(scored)
            for i, row in enumerate(views.dense.rows[rows].tolist() if proposals else []):
                masks = torch.from_numpy(self.propose(row)).float()
                if len(masks):
                    maps[i] = renamed(maps[i], with_proposals(scored, i, masks, novel, tower), novel)
            found.append(maps.numpy())
        return Segmented(self.stock.scenes(split), views.dense.rows.numpy(), np.concatenate(found))

    @torch.no_grad()
    def recall(self, views: _Views) -> Figures:
        """Return the share of test things that a mask covers by half, without and with proposals."""
        from worldrl.evaluation.segmentation import found_by

        texts, scenes = _texts(self.towers, dict(zip(NAMES, NAMES, strict=True)), NAMES), self.stock.scenes("test")
        hits, both, count = 0, 0, 0
        for rows in _parts(len(views.dense.rows)):
            last = self.model(views[rows], texts)[-1]
            sure = 1 - last.classes.softmax(dim=-1)[..., -1] > SURE
            for i, row in enumerate(views.dense.rows[rows].tolist()):
                masks = (last.masks[i][sure[i]] > 0).numpy()
                true: Array = np.array(scenes.instances[row])[STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE]
                mine, there = found_by(masks, true)
                hits, count = hits + mine, count + there
                both += found_by(np.concatenate([masks, self.propose(row)]), true)[0]
        return {"recall_50": hits / max(count, 1), "recall_50_with_proposals": both / max(count, 1)}
