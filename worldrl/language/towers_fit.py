"""Fitting of the two towers to windows of scenes, whole scenes and sentences about base classes."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from einops import einsum
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from worldrl.data.captions import TEMPLATES, listed, with_article
from worldrl.encoders.frozen import Encoder
from worldrl.errors import DataError, NumericsError
from worldrl.language.crops import View, box_weights
from worldrl.language.image_tower import ImageTower
from worldrl.language.text_tower import TextTower
from worldrl.language.two_tower import Cells, TwoTower, read_cells
from worldrl.types import Array

START, MOST = 1 / 0.07, 100.0
"""Where the scale of cosines begins, and the most it grows to (CLIP, section 2.5)."""
BARE = 0.2
"""How often a thing is named without a sentence around it, so that names alone can be asked for (our choice)."""
RELATED = 0.2
"""How often a caption relates two neighbours, where there are two."""
CHUNK = 256


@dataclass(frozen=True)
class Views:
    """Views of one size, and the frozen map below the towers.

    Attributes:
        cells: Of all of them, ``rows`` ``(n, p, c)`` float16.
        views: The same, without their frames being needed any more.
    """

    cells: Cells
    views: Sequence[View]


@dataclass(frozen=True)
class Plan:
    """How towers are fitted.

    Attributes:
        steps: Gradient steps.
        batch: Windows in a step.
        scenes: Whole scenes in a step, which is every ``every``-th.
        every: See there.
        rate: Highest step size of AdamW.
        decay: Its weight decay.
        dense: How much the names of cells count beside captions.
    """

    steps: int = 400
    batch: int = 64
    scenes: int = 16
    every: int = 5
    rate: float = 1e-3
    decay: float = 0.05
    dense: float = 1.0


def read_views(stem: Encoder, views: Iterator[View], *, colours: bool) -> Views:
    """Compute the frozen map of views, each once.

    Raises:
        DataError: If there is no view.
    """
    kept, rows, grid = list(views), [], (0, 0)
    if not kept:
        raise DataError("views must be at least one, got none: draw more scenes.")
    for i in range(0, len(kept), CHUNK):
        cells = read_cells(stem, np.stack([view.frame for view in kept[i : i + CHUNK]]), colours=colours)
        rows.append(cells.rows.half())
        grid = cells.grid
    return Views(Cells(torch.cat(rows), grid), kept)


def fit_towers(
    stem: Encoder,
    pictures: ImageTower,
    words: TextTower,
    *,
    windows: Views,
    scenes: Views,
    names: Sequence[str],
    plan: Plan,
    seed: int,
    colours: bool,
    told: Callable[[int, float], None] = lambda step, loss: None,
) -> TwoTower:
    """Fit towers in place and return them frozen.

    Captions are contrasted with windows and scenes as in CLIP; those that say the same in other words are no negatives
    of each other (our choice: with 48 classes a batch is full of them). Besides, the mean vector of the cells in a
    thing's box is to find that thing's name among all names: captions alone leave cells to say what they like, and
    dense prediction needs them in the space of words (our choice). It uses boxes, which CLIP does not have.

    Args:
        stem: The frozen encoder that the cells are of.
        pictures: The image tower.
        words: The text tower.
        windows: Of scenes, in which things are near.
        scenes: Whole ones.
        names: Of all classes that are seen, none other.
        plan: How.
        seed: Of what is drawn.
        colours: Whether the cells have the colours of their quarters.
        told: Called with the step and its loss.

    Raises:
        NumericsError: If the loss is not finite.
    """
    pictures.standardise(windows.cells.rows[:CHUNK])
    fitting = _Fitting(pictures, words, names)
    optimizer = torch.optim.AdamW(fitting.parameters(), lr=plan.rate, weight_decay=plan.decay, betas=(0.9, 0.98))
    warm = max(plan.steps // 10, 1)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, warm, plan.steps))
    rng = np.random.default_rng(seed)
    for step in range(plan.steps):
        whole = step % plan.every == plan.every - 1
        shown = scenes if whole else windows
        rows = rng.choice(len(shown.views), min(plan.scenes if whole else plan.batch, len(shown.views)), replace=False)
        loss = fitting.loss(shown, rows, rng, dense=plan.dense)
        if not torch.isfinite(loss):
            raise NumericsError(f"the loss of the towers is {loss.item()} at step {step}: use a lower rate.")
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(fitting.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        told(step, loss.item())
    return TwoTower(stem, pictures, words, colours=colours, scale=fitting.scale().item())


class _Fitting(nn.Module):
    """Both towers, the scale of their cosines, and their loss."""

    def __init__(self, pictures: ImageTower, words: TextTower, names: Sequence[str]) -> None:
        super().__init__()
        self.pictures, self.words, self.names = pictures, words, tuple(names)
        self.log_scale = nn.Parameter(torch.tensor(math.log(START)))

    def scale(self) -> Float[Tensor, ""]:
        return self.log_scale.exp().clamp_max(MOST)

    def loss(self, shown: Views, rows: Array, rng: np.random.Generator, *, dense: float) -> Float[Tensor, ""]:
        views = [shown.views[i] for i in rows]
        captions = [caption(view, rng) for view in views]
        named = [sentence(name, rng) for name in self.names]
        vectors = F.normalize(self.words([text for _, text in captions] + named), dim=-1)
        seen = self.pictures(shown.cells.rows[torch.from_numpy(rows)], shown.cells.grid)
        whole = F.normalize(seen[:, 0], dim=-1)
        numbers = {meaning: i for i, meaning in enumerate(dict.fromkeys(meaning for meaning, _ in captions))}
        meanings = torch.tensor([numbers[meaning] for meaning, _ in captions])
        contrast = contrast_loss(whole, vectors[: len(views)], meanings, self.scale())
        if not dense:
            return contrast
        return contrast + dense * self._dense(seen[:, 1:], views, shown.cells.grid, vectors[len(views) :])

    def _dense(
        self, patches: Float[Tensor, "b p e"], views: Sequence[View], grid: tuple[int, int], names: Float[Tensor, "k e"]
    ) -> Float[Tensor, ""]:
        counts = torch.tensor([len(view.names) for view in views])
        owners = torch.arange(len(views)).repeat_interleave(counts)
        boxes = torch.from_numpy(np.concatenate([view.boxes for view in views])).float()
        means = einsum(box_weights(boxes, grid), patches[owners], "m p, m p e -> m e")
        labels = torch.tensor([self.names.index(name) for view in views for name in view.names])
        return F.cross_entropy(self.scale() * F.normalize(means, dim=-1) @ names.T, labels)


def contrast_loss(
    pictures: Float[Tensor, "b e"], texts: Float[Tensor, "b e"], meanings: Int[Tensor, " b"], scale: Float[Tensor, ""]
) -> Float[Tensor, ""]:
    """Return the symmetric contrast of pictures and their texts; equal meanings share the target among them.

    Args:
        pictures: Unit vectors.
        texts: Unit vectors, one for each picture.
        meanings: ``(b,)`` numbers that are equal where texts say the same.
        scale: What cosines are multiplied by.
    """
    logits = scale * pictures @ texts.T
    same = (meanings.unsqueeze(1) == meanings.unsqueeze(0)).float()
    target = same / same.sum(dim=1, keepdim=True)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def caption(view: View, rng: np.random.Generator) -> tuple[str, str]:
    """Return what a caption of a view means, and the caption: of its thing, of two neighbours, or of all of them."""
    names = view.names
    if len(names) > 1 and rng.random() < RELATED:
        left = int(rng.integers(len(names) - 1))
        related = f"{with_article(names[left])} left of {with_article(names[left + 1])}"
        return related, related
    if view.about >= 0:
        return names[view.about], sentence(names[view.about], rng)
    return listed(names), f"a picture of {listed(names)}"


def sentence(name: str, rng: np.random.Generator) -> str:
    """Return a sentence about a thing, or its bare name."""
    if rng.random() < BARE:
        return name
    return TEMPLATES[int(rng.integers(len(TEMPLATES)))].format(with_article(name))


def _rate(step: int, warm: int, steps: int) -> float:
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1.0 + math.cos(math.pi * (step - warm) / max(steps - warm, 1)))
