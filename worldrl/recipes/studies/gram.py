"""Few-shot prompts after exactly five steps on shifted scenes: what a learned start and a learned rule bring (GRAM)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

from worldrl.data.captions import with_article
from worldrl.data.scenes import SceneSet
from worldrl.encoders.frozen import seeded
from worldrl.errors import ConfigError
from worldrl.language.crops import View, around, at_random
from worldrl.language.episodes import Clusters, Episodes, cluster_pairs
from worldrl.language.gram import PromptStart, Regulator
from worldrl.language.gram_fit import fit_start, measure_start
from worldrl.language.towers_fit import sentence
from worldrl.language.two_tower import TwoTower
from worldrl.recipes.options import check_positive, option
from worldrl.recipes.studies.stock import Figures, Need, Stock, on_scenes
from worldrl.scene import BASE, NAMES

METHODS = ("zero_shot", "random_init", "meta_init", "gram")
SHOTS = (1, 2, 4)
QUERIES = 4
"""Images of a class that are asked for in a task, in training and at the end."""
SCALES = (1.3, 2.2)
"""How many times as wide as its thing a training crop is; the crops that are asked for are 1.6 times."""
SPREAD = 0.02
"""Standard deviation of context vectors at random, that of words at random (CoOp, arXiv:2109.01134)."""
CHUNK = 256
"""Crops or captions that are embedded at once."""


@dataclass
class Options:
    """Options of an arm."""

    method: str = option(
        "gram",
        "zero_shot (no context), random_init (steps from anywhere), meta_init (from a learned start), gram (from a "
        "learned start by a learned rule)",
    )
    towers: str = option("captions", "frozen towers: captions, or random under the same training (a random stem)")
    tokens: int = option(4, "context vectors")
    steps: int = option(5, "inner steps, in training and at the end")
    rate: float = option(0.03, "inner step size, of all arms")
    outer_steps: int = option(360, "outer steps, of a task each")
    outer_rate: float = option(3e-3, "step size of Adam in the outer loop")
    ways: int = option(60, "classes of a task at the end, of all 64 names")
    training_ways: int = option(32, "classes of a training task")
    clusters: int = option(60, "fine clusters, the classes of training tasks")
    domains: int = option(3, "coarse clusters, between which training tasks cross")
    crops: int = option(2400, "training crops with their captions, drawn by the seed")
    jitter: float = option(0.4, "how much the light of training crops varies, in standard deviations of log brightness")
    tasks: int = option(12, "tasks that each figure is the mean of")

    def check(self) -> None:
        """Refuse options out of range."""
        if self.method not in METHODS:
            raise ConfigError(f"method must be one of {', '.join(METHODS)}, got '{self.method}'.")
        if self.towers not in ("captions", "random"):
            raise ConfigError(f"towers must be captions or random, got '{self.towers}'.")
        check_positive(
            tokens=self.tokens, steps=self.steps, rate=self.rate, outer_steps=self.outer_steps,
            outer_rate=self.outer_rate, crops=self.crops, tasks=self.tasks,
        )  # fmt: skip
        if self.jitter < 0:
            raise ConfigError(f"jitter must be at least 0, got {self.jitter:g}.")
        if min(self.ways, self.training_ways, self.clusters, self.domains) < 2:
            raise ConfigError(
                "ways, training_ways, clusters and domains must be at least 2, got "
                f"{self.ways}, {self.training_ways}, {self.clusters} and {self.domains}."
            )


@dataclass(frozen=True)
class Crops:
    """Things cut out of scenes, as the towers see them.

    Attributes:
        images: ``(n, e)`` unit vectors.
        captions: A sentence about each.
        names: What each is called, one of ``worldrl.scene.NAMES``.
    """

    images: Float[Tensor, "n e"]
    captions: list[str]
    names: list[str]

    def labels(self, group: Sequence[str]) -> Tensor:
        """Return the place of each one's name in a group of names, -1 where it is not in it."""
        place = {name: i for i, name in enumerate(group)}
        return torch.tensor([place.get(name, -1) for name in self.names])


def needs(options: Options) -> tuple[Need, ...]:
    """Return what must be made before."""
    return (*on_scenes("train", "test", "shift"), Need("towers", options.towers))


def run(options: Options, *, seed: int, stock: Stock, folder: Path) -> Figures:
    """Learn a start from unlabelled training crops, and adapt it to examples of test scenes for shifted ones."""
    tower = TwoTower.from_pretrained(stock.towers(options.towers, seed))
    figures: Figures = {}
    start = None
    if options.method != "zero_shot":
        start = begin(tower.text_width, options, seed=seed)
    if start is not None and options.method != "random_init":
        figures |= _meta_learn(start, tower, options, stock.scenes("train"), seed)
    usual, shifted = (_crops(tower, around(stock.scenes(split)), seed) for split in ("test", "shift"))
    images = torch.cat([usual.images, shifted.images])
    domains = torch.tensor([0] * len(usual.names) + [1] * len(shifted.names))
    labels = torch.cat([usual.labels(NAMES), shifted.labels(NAMES)])
    told = NAMES if start is not None else [f"a photo of {with_article(name)}" for name in NAMES]
    base = torch.tensor([name in BASE for name in NAMES])
    for shots in SHOTS:
        episodes = Episodes(labels, domains, ways=options.ways, shots=shots, queries=QUERIES, crossings=[(0, 1)])
        shares = measure_start(start, tower, episodes, images, told, tasks=options.tasks, seed=seed)
        figures[f"base_{shots}"] = shares[base].nanmean().item()
        figures[f"novel_{shots}"] = shares[~base].nanmean().item()
    return figures


def begin(width: int, options: Options, *, seed: int) -> PromptStart:
    """Return where the prompt of an arm begins before anything is learnt: the same place for all arms of a seed."""
    rng = torch.Generator().manual_seed(seed)
    context = SPREAD * torch.randn(options.tokens, width, generator=rng)
    regulator = None
    if options.method == "gram":
        regulator = seeded(lambda: Regulator(tokens=options.tokens, width=width), seed)
    return PromptStart(context, regulator=regulator, rate=options.rate, steps=options.steps)


def _meta_learn(start: PromptStart, tower: TwoTower, options: Options, scenes: SceneSet, seed: int) -> Figures:
    """Cluster training crops and their captions into tasks, and learn a start from them.

    Returns:
        ``purity``: the share of crops whose class is called what they are, by the simulator's labels, which are used
        for nothing else; ``classes``: how many there are; ``outer``: the outer loss at last.
    """
    crops = _crops(tower, at_random(scenes, options.crops, seed=seed, scales=SCALES), seed, jitter=options.jitter)
    clusters = cluster_pairs(
        crops.images, _texts(tower, crops.captions), crops.captions, classes=options.clusters, domains=options.domains,
        seed=seed,
    )  # fmt: skip
    episodes = [
        Episodes(clusters.classes, clusters.domains, ways=options.training_ways, shots=shots, queries=QUERIES)
        for shots in SHOTS
    ]
    losses = fit_start(
        start, tower, episodes, crops.images, clusters.names, steps=options.outer_steps, seed=seed,
        rate=options.outer_rate, tasks=1,
    )  # fmt: skip
    last = losses[-max(options.outer_steps // 10, 1) :]
    return {"purity": purity(clusters, crops.names), "classes": len(clusters.names), "outer": sum(last) / len(last)}


def purity(clusters: Clusters, names: Sequence[str]) -> float:
    """Return the share of pairs in a class that is called what they are."""
    called = [clusters.names[i] if i >= 0 else "" for i in clusters.classes.tolist()]
    return float(np.mean([one == other for one, other in zip(called, names, strict=True)]))


def relit(frame: npt.NDArray[np.uint8], rng: np.random.Generator, jitter: float) -> npt.NDArray[np.uint8]:
    """Return a frame in another light: brighter or darker, warmer or colder, flatter or steeper.

    Args:
        frame: ``(h, w, 3)`` uint8.
        rng: What chooses the light.
        jitter: Standard deviation of the logarithms of brightness and steepness; a third of it of each channel's.
    """
    bright, steep = np.exp(jitter * rng.standard_normal(2))
    tint = np.exp(jitter / 3 * rng.standard_normal(3))
    shares = bright * tint * (np.asarray(frame, np.float32) / 255) ** steep
    return np.asarray((255 * np.clip(shares, 0.0, 1.0)).round(), np.uint8)


def _crops(tower: TwoTower, views: Iterable[View], seed: int, *, jitter: float = 0.0) -> Crops:
    """Embed views of things, some at a time, and say a sentence about each."""
    rng = np.random.default_rng(seed)
    images, captions, names, frames = [], [], [], []
    for view in views:
        frames.append(relit(view.frame, rng, jitter) if jitter else view.frame)
        names.append(view.names[view.about])
        captions.append(sentence(names[-1], rng))
        if len(frames) == CHUNK:
            images.append(tower.images(np.stack(frames)))
            frames = []
    if frames:
        images.append(tower.images(np.stack(frames)))
    return Crops(torch.cat(images), captions, names)


@torch.no_grad()
def _texts(tower: TwoTower, captions: Sequence[str]) -> Float[Tensor, "n e"]:
    """Embed captions, each different one once."""
    different = list(dict.fromkeys(captions))
    place = {caption: i for i, caption in enumerate(different)}
    parts = [tower.texts(different[i : i + CHUNK]) for i in range(0, len(different), CHUNK)]
    return torch.cat(parts)[[place[caption] for caption in captions]]
