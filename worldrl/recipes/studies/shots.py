"""Examples and held-out pictures of shifted scenes, for prompts that are learned from a few of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from worldrl.data.scenes import SceneSet
from worldrl.errors import DataError
from worldrl.language.crops import SCALE, View, view, window_of
from worldrl.language.naming import Named
from worldrl.language.two_tower import Cells, TwoTower
from worldrl.scene import Thing

SCALES, ASIDE = (1.3, 2.2), 0.1
"""How wide windows of examples are, in longer sides of their things, and how far from the middle, in windows."""
LEAST_VISIBLE = 0.6
"""Share of a thing that nothing hides, from which it is an example or is asked for."""
CHUNK = 128


@dataclass(frozen=True)
class Halves:
    """Scenes of one domain, halved: no scene is in two parts.

    Attributes:
        shots: Scenes that examples come from.
        held: Scenes that are measured.
    """

    shots: tuple[int, ...]
    held: tuple[int, ...]


def halve(count: int, *, seed: int, choosing: bool = False) -> Halves:
    """Divide scenes at random.

    Args:
        count: Scenes.
        seed: Of the division.
        choosing: Whether options are being chosen: the half that is measured is left alone then, and a third of the
            other half takes its place.
    """
    order = np.random.default_rng(seed).permutation(count).tolist()
    first, second = order[: count // 2], order[count // 2 :]
    if choosing:
        cut = len(first) - len(first) // 3
        first, second = first[:cut], first[cut:]
    return Halves(tuple(sorted(first)), tuple(sorted(second)))


def windows(scenes: SceneSet, rows: Sequence[int]) -> Iterator[View]:
    """Yield one window for each thing of some scenes that is seen well enough, all at one scale."""
    for i, things, thing in _things(scenes, rows):
        box = window_of(thing.box, scale=SCALE, side=scenes.size)
        yield view(scenes.images[i], things, box, thing)


def examples(scenes: SceneSet, rows: Sequence[int], *, names: Sequence[str], count: int, seed: int) -> Iterator[View]:
    """Yield as many windows of each name as are asked for; where there are fewer things, several of a thing.

    Those of one thing differ in scale and place. A name of which no thing is there has no window.

    Args:
        scenes: Of the domain.
        rows: Which of them.
        names: Of which examples are drawn.
        count: Windows of each name.
        seed: Of what is drawn.
    """
    rng = np.random.default_rng(seed)
    seen = list(_things(scenes, rows))
    for name in names:
        of = [one for one in seen if one[-1].name == name]
        order = rng.permutation(len(of)).tolist() if of else []
        for k in range(count if of else 0):
            i, things, thing = of[order[k % len(of)]]
            scale = float(np.exp(rng.uniform(*np.log(SCALES))))
            aside = (float(rng.uniform(-ASIDE, ASIDE)), float(rng.uniform(-ASIDE, ASIDE)))
            box = window_of(thing.box, scale=scale, side=scenes.size, shift=aside)
            yield view(scenes.images[i], things, box, thing)


def counted(scenes: SceneSet, rows: Sequence[int], names: Sequence[str]) -> list[int]:
    """Return how many things of each name are seen well enough in some scenes."""
    found = [thing.name for *_, thing in _things(scenes, rows)]
    return [found.count(name) for name in names]


def read(towers: TwoTower, views: Sequence[View]) -> Named:
    """Return the frozen map of views, and what each was cut for.

    Raises:
        DataError: If there is no view.
    """
    if not views:
        raise DataError("there must be a window of at least one thing, got none: draw more scenes.")
    frames = [np.stack([one.frame for one in views[i : i + CHUNK]]) for i in range(0, len(views), CHUNK)]
    parts = [towers.cells(chunk) for chunk in frames]
    cells = Cells(torch.cat([part.rows for part in parts]), parts[0].grid)
    return Named(cells, tuple(one.names[one.about] for one in views))


def _things(scenes: SceneSet, rows: Sequence[int]) -> Iterator[tuple[int, tuple[Thing, ...], Thing]]:
    """Yield the things that are seen well enough, each with its scene and all that is in it."""
    for i in rows:
        things = scenes.things(i)
        yield from ((i, things, thing) for thing in things if thing.visible >= LEAST_VISIBLE)
