"""Training of GRAIN's two towers on pictures, captions, descriptions and boxes."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from worldrl.errors import DataError
from worldrl.language.grain import Grain
from worldrl.language.grain_losses import box_loss, contrast, pair, same_text


@dataclass(frozen=True)
class Lesson:
    """What GRAIN learns from.

    Attributes:
        patches: ``(n, p, c)`` frozen maps of the pictures.
        grid: Rows and columns of the maps.
        captions: Sentences that are true of each picture, at least one.
        boxes: ``(m, 4)`` of each picture's things, left, top, right, bottom in [0, 1].
        descriptions: For each picture and each of its things, what it looks like in several ways.

    Raises:
        DataError: If they do not belong to the same pictures and things.
    """

    patches: Float[Tensor, "n p c"]
    grid: tuple[int, int]
    captions: Sequence[Sequence[str]]
    boxes: Sequence[Float[Tensor, "m 4"]]
    descriptions: Sequence[Sequence[Sequence[str]]]

    def __post_init__(self) -> None:
        sizes = [len(self.patches), len(self.captions), len(self.boxes), len(self.descriptions)]
        if len(set(sizes)) != 1 or not sizes[0]:
            raise DataError(f"patches, captions, boxes and descriptions must be equally many, at least 1, got {sizes}.")
        wrong = [i for i, (b, d) in enumerate(zip(self.boxes, self.descriptions, strict=True)) if len(b) != len(d)]
        if wrong:
            raise DataError(f"boxes and descriptions of a picture must be equally many, those of {wrong[0]} are not.")


@dataclass(frozen=True)
class Weights:
    """How much each loss counts beside that of captions; 0 leaves it out."""

    regions: float = 1.0
    boxes: float = 1.0


def losses_of(
    grain: Grain, lesson: Lesson, rows: Int[Tensor, " b"], rng: torch.Generator, weights: Weights
) -> dict[str, Float[Tensor, ""]]:
    """Return the losses of some pictures by name, those that count: ``captions``, ``regions``, ``boxes``.

    Each picture is told by one of its captions, each thing by one of its descriptions.

    Args:
        grain: The towers.
        lesson: Where the pictures are.
        rows: Which of them.
        rng: Of which captions and descriptions.
        weights: Of the losses.
    """
    few = rows.tolist()
    captions, patches = [_choose(lesson.captions[i], rng) for i in few], lesson.patches[rows]
    same = same_text(captions, captions)
    if not weights.regions and not weights.boxes:
        whole = grain.whole(patches, lesson.grid)
        return {"captions": contrast(whole, grain.embed(captions), same, grain.scales()[0])}
    told = [_choose(ways, rng) for i in few for ways in lesson.descriptions[i]]
    grounded, texts = grain(patches, lesson.grid), grain.embed([*captions, *told])
    whole_texts, region_texts = texts[: len(captions)], texts[len(captions) :]
    found = {"captions": contrast(grounded.whole, whole_texts, same, grain.scales()[0])}
    boxes = [lesson.boxes[i] for i in few]
    pairing = pair(grounded, boxes, None if weights.boxes else region_texts.detach())
    if weights.boxes:
        found["boxes"] = box_loss(grounded, boxes, pairing)
    if weights.regions:
        regions = grounded.regions[pairing.pictures, pairing.queries]
        same = same_text([told[i] for i in pairing.things.tolist()], told)
        found["regions"] = contrast(regions, region_texts, same, grain.scales()[1])
    return found


def fit_grain(
    grain: Grain,
    lesson: Lesson,
    *,
    steps: int,
    seed: int,
    weights: Weights,
    batch: int = 32,
    rate: float = 1e-3,
    told: Callable[[int, dict[str, float]], None] = lambda step, losses: None,
) -> list[dict[str, float]]:
    """Train both towers in place.

    Args:
        grain: The towers.
        lesson: What they learn from.
        steps: Gradient steps of AdamW; its rate rises for a twentieth of them and then falls to zero.
        seed: Of pictures, captions and descriptions.
        weights: Of the losses; nought for both is contrast of whole pictures alone.
        batch: Pictures a step, among whose texts each finds its own.
        rate: Highest step size.
        told: Called with the step and its losses.

    Returns:
        The losses of every step, by name.
    """
    rng = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(grain.parameters(), lr=rate, weight_decay=0.02)
    warm = max(steps // 20, 1)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, warm, steps))
    share = {"captions": 1.0, "regions": weights.regions, "boxes": weights.boxes}
    history = []
    grain.train()
    for step in range(steps):
        rows = torch.randperm(len(lesson.patches), generator=rng)[:batch]
        losses = losses_of(grain, lesson, rows, rng, weights)
        optimizer.zero_grad()
        torch.stack([share[name] * loss for name, loss in losses.items()]).sum().backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(grain.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        history.append({name: loss.item() for name, loss in losses.items()})
        told(step, history[-1])
    grain.eval()
    return history


def _choose(texts: Sequence[str], rng: torch.Generator) -> str:
    return texts[int(torch.randint(len(texts), (1,), generator=rng))]


def _rate(step: int, warm: int, steps: int) -> float:
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1.0 + math.cos(math.pi * (step - warm) / max(steps - warm, 1)))
