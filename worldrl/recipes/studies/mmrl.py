"""Naming in another domain after a few examples of base classes: prompts, probes, and tokens inside frozen towers."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from worldrl.encoders.frozen import seeded
from worldrl.errors import ConfigError
from worldrl.evaluation import drawing
from worldrl.language.coop import Coop
from worldrl.language.crops import View
from worldrl.language.inserted import InsertedTowers, shapes_of
from worldrl.language.linear_probe import LinearProbe
from worldrl.language.mmrl import Mmrl, RepresentationTokens
from worldrl.language.mmrl_fit import ALPHA, MmrlNamer
from worldrl.language.mmrl_pp import MmrlPlusPlus
from worldrl.language.naming import Named, Namer, accuracy, base_to_novel, cross_domain
from worldrl.language.shot_plan import ShotPlan
from worldrl.language.two_tower import TwoTower
from worldrl.recipes.options import check_positive, option
from worldrl.recipes.studies.shots import Halves, counted, examples, halve, read, windows
from worldrl.recipes.studies.stock import Figures, Need, Stock, on_scenes
from worldrl.scene import BASE, NAMES, NOVEL

METHODS = ("zero_shot", "linear_probe", "coop", "mmrl", "mmrl_pp")
TOWERS = ("captions", "random")
COLUMNS, DRAWN = 4, 8
"""Windows that are drawn, and under them the maps of ``COLUMNS`` names."""


@dataclass
class Options:
    """Options of an arm."""

    method: str = option("mmrl", f"who names: {', '.join(METHODS)}")
    towers: str = option("captions", "frozen towers: captions, or random under the same training (a random stem)")
    shots: int = option(16, "windows of each base class, of as many of its things as half of the shifted scenes have")
    pull: float = option(1.0, "lambda: weight of the cosine distance to the untouched towers")
    alpha: float = option(ALPHA, "how much the class feature counts beside the representation feature")
    layers: int = option(0, "last blocks of both towers that see the tokens; 0 for the later half")
    tokens: int = option(5, "tokens that are inserted")
    copied: bool = option(False, "whether mmrl's own projection starts at the frozen one instead of at random")
    blend: float = option(0.5, "how much of its fresh tokens a block of mmrl_pp takes")
    rank: int = option(4, "of what a block of mmrl_pp has for itself")
    project_rank: int = option(16, "of what the projection of mmrl_pp has for itself")
    context: int = option(4, "context vectors of coop")
    decay: float = option(1e-4, "strength of the linear probe's decay")
    rate: float = option(1e-3, "highest learning rate")
    epochs: int = option(10, "how often all examples are gone through")
    batch: int = option(32, "examples a step")
    choosing: bool = option(False, "whether options are being chosen: a third of the examples' scenes is measured")

    def check(self) -> None:
        """Refuse options out of range."""
        if self.method not in METHODS:
            raise ConfigError(f"method must be one of {', '.join(METHODS)}, got '{self.method}'.")
        if self.towers not in TOWERS:
            raise ConfigError(f"towers must be one of {', '.join(TOWERS)}, got '{self.towers}'.")
        if not 0 <= self.alpha <= 1 or not 0 < self.blend <= 1:
            raise ConfigError(f"alpha and blend must be in [0, 1], got {self.alpha:g} and {self.blend:g}.")
        if min(self.pull, self.decay, self.layers) < 0:
            raise ConfigError(
                f"pull, decay and layers must be at least 0, got {self.pull:g}, {self.decay:g} and {self.layers}."
            )
        check_positive(
            shots=self.shots, tokens=self.tokens, rank=self.rank, project_rank=self.project_rank,
            context=self.context, rate=self.rate, epochs=self.epochs, batch=self.batch,
        )  # fmt: skip


def needs(options: Options) -> tuple[Need, ...]:
    """Return what must be made before."""
    return (*on_scenes("train", "test", "shift"), Need("towers", options.towers))


def run(options: Options, *, seed: int, stock: Stock, folder: Path) -> Figures:
    """Learn from examples of base classes in half of the shifted scenes; name things of the other half, and of test.

    Returns:
        ``base``, ``novel`` and ``hm`` as ``base_to_novel`` says; ``novel_all``: novel things among all names, where
        they can be taken for base ones, by what is used for names that were not learned; ``cross``: things of test
        scenes, likewise; ``parameters``: how many numbers were learned. Of tokens in towers also ``base_class``: base
        things by the class feature alone, and ``novel_fused``: novel ones by both features. ``things`` and ``least``:
        things of a base class that examples were cut from, on average and at least. With ``choosing`` only
        ``validation`` and ``validation_loss``: base things of scenes that are not measured otherwise.
    """
    towers = TwoTower.from_pretrained(stock.towers(options.towers, seed))
    scenes = stock.scenes("shift")
    halves = halve(len(scenes), seed=seed, choosing=options.choosing)
    shots = read(towers, list(examples(scenes, halves.shots, names=BASE, count=options.shots, seed=seed)))
    held = list(windows(scenes, halves.held))
    pictures = read(towers, held)
    namer = fit(options, towers, shots, seed=seed)
    if options.choosing:
        return _validate(namer, pictures.among(BASE))
    things = counted(scenes, halves.shots, BASE)
    figures: Figures = {**base_to_novel(namer, pictures, base=BASE, novel=NOVEL), "parameters": parameters(namer)}
    figures |= {"things": float(np.mean(things)), "least": min(things)}
    if isinstance(namer, MmrlNamer) and namer.inserted.tokens is not None:
        figures["base_class"] = accuracy(namer, pictures.among(BASE), BASE, learned=False)
        figures["novel_fused"] = accuracy(namer, pictures.among(NOVEL), NOVEL, learned=True)
    test = stock.scenes("test")
    if namer.open:
        figures["novel_all"] = accuracy(namer, pictures.among(NOVEL), NAMES, learned=False)
        figures["cross"] = cross_domain(namer, read(towers, list(windows(test, range(len(test))))), names=NAMES)
    if seed == 0:
        _draw(namer, pictures, held, _frames(stock, halves), towers, folder / "picture.png")
    return figures


def _validate(namer: Namer, pictures: Named) -> Figures:
    labels, scores = pictures.labels(BASE), namer(pictures.cells, BASE, learned=True)
    right = (scores.argmax(dim=1) == labels).float().mean()
    return {"validation": right.item(), "validation_loss": nn.functional.cross_entropy(scores, labels).item()}


def fit(options: Options, towers: TwoTower, shots: Named, *, seed: int) -> Namer:
    """Return the namer of an arm, fitted to examples of base classes."""
    plan = ShotPlan(rate=options.rate, epochs=options.epochs, batch=options.batch)
    if options.method == "linear_probe":
        return LinearProbe(towers, BASE).fit(shots, decay=options.decay)
    if options.method == "coop":
        coop = seeded(lambda: Coop(towers, tokens=options.context), seed)
        coop.fit(shots, BASE, plan=plan, seed=seed)
        return coop
    tokens = seeded(lambda: _tokens(options, towers), seed)
    namer = MmrlNamer(InsertedTowers(towers, tokens), alpha=options.alpha)
    if tokens is not None:
        namer.fit(shots, BASE, pull=options.pull, plan=plan, seed=seed)
    return namer


def parameters(namer: Namer) -> int:
    """Return how many numbers a namer has learned."""
    return sum(weight.numel() for weight in namer.parameters()) if isinstance(namer, nn.Module) else 0


def _tokens(options: Options, towers: TwoTower) -> RepresentationTokens | None:
    if options.method == "zero_shot":
        return None
    shapes, project = shapes_of(towers, layers=options.layers, tokens=options.tokens), towers.pictures.project.weight
    if options.method == "mmrl":
        return Mmrl(shapes, project=project if options.copied else None)
    return MmrlPlusPlus(
        shapes, project=project, blend=options.blend, rank=options.rank, project_rank=options.project_rank
    )


def _frames(stock: Stock, halves: Halves) -> list[tuple[npt.NDArray[np.uint8], str]]:
    """Return some held-out scenes, and the name of a thing in each, novel where there is one."""
    scenes, found = stock.scenes("shift"), []
    for i in halves.held[:COLUMNS]:
        names = [thing.name for thing in scenes.things(i)]
        found.append((np.array(scenes.images[i]), next((name for name in names if name in NOVEL), names[0])))
    return found


@torch.no_grad()
def _draw(
    namer: Namer,
    pictures: Named,
    held: Sequence[View],
    frames: Sequence[tuple[npt.NDArray[np.uint8], str]],
    towers: TwoTower,
    path: Path,
) -> None:
    """Draw windows with what they show and what they are called, and where in some scenes a name is seen."""
    from PIL import Image

    shown, captions = list[npt.NDArray[np.uint8]](), list[str]()
    side = frames[0][0].shape[0]
    groups = (BASE, NOVEL) if namer.open else (BASE,)
    for group in groups:
        rows = [row for row, name in enumerate(pictures.names) if name in group][: DRAWN // len(groups)]
        scores = namer(pictures.pick(rows).cells, group, learned=group == BASE)
        for row, place in zip(rows, scores.argmax(dim=1).tolist(), strict=True):
            true, said = pictures.names[row], group[place]
            shown.append(np.array(Image.fromarray(held[row].frame).resize((side, side))))
            captions.append(true if true == said else f"{true}, called {said}")
    if isinstance(namer, MmrlNamer):
        for frame, name in frames:
            cells = towers.cells(frame[None])
            seen = namer.inserted.see_all(cells)
            values = nn.functional.normalize(seen.cells[0], dim=-1) @ namer.texts([name])[0]
            shown.append(drawing.heat(frame, values.reshape(cells.grid).numpy()))
            captions.append(f"where: {name}")
    Image.fromarray(drawing.sheet(shown, columns=COLUMNS, captions=captions)).save(path)
