"""Meta-learning of a prompt's start and of the regulator of its gradient: the outer loop of GRAM."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from worldrl.language.episodes import Episodes
from worldrl.language.gram import ContextTower, PromptStart, flatten, score


def fit_start(
    start: PromptStart,
    tower: ContextTower,
    episodes: Sequence[Episodes],
    images: Float[Tensor, "n e"],
    names: Sequence[str],
    *,
    steps: int,
    seed: int,
    rate: float = 3e-3,
    tasks: int = 2,
    told: Callable[[int, float], None] = lambda step, loss: None,
) -> list[float]:
    """Learn a start in place, so that few steps on one domain's examples serve another domain's questions.

    Args:
        start: Its context and its regulator, if it has one, learn together; the tower stays as it is.
        tower: Frozen.
        episodes: Where tasks come from, such as one for each number of shots; outer steps take turns.
        images: Embeddings of unit length, which the tasks' rows point into.
        names: Of all classes that tasks may draw.
        steps: Outer steps of Adam.
        seed: Of the tasks.
        rate: Of Adam, falling to zero along a cosine.
        tasks: Drawn for an outer step.
        told: Called with the step and its loss.

    Returns:
        The outer loss of every step.
    """
    rng = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(start.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
    losses = []
    for step in range(steps):
        optimizer.zero_grad()
        total = 0.0
        for _ in range(tasks):
            task = episodes[step % len(episodes)].draw(rng)
            called = [names[int(c)] for c in task.classes]
            loss = start.loss(tower, images[task.support], images[task.query], called) / tasks
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(start.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(total)
        told(step, total)
    return losses


def measure_start(
    start: PromptStart | None,
    tower: ContextTower,
    episodes: Episodes,
    images: Float[Tensor, "n e"],
    names: Sequence[str],
    *,
    tasks: int,
    seed: int,
) -> Float[Tensor, " k"]:
    """Return the share of each class's questions that is answered after the inner steps, over many tasks.

    Args:
        start: None for the tower's own names without any context: zero-shot.
        tower: Frozen.
        episodes: Where tasks come from.
        images: Embeddings of unit length.
        names: Of all ``k`` classes that tasks may draw.
        tasks: How many are drawn.
        seed: Of the tasks: two starts that are to be compared answer the same ones.

    Returns:
        ``(k,)`` in [0, 1]; not a number for classes that no task drew.
    """
    rng = torch.Generator().manual_seed(seed)
    right, asked = torch.zeros(len(names)), torch.zeros(len(names))
    for _ in range(tasks):
        task = episodes.draw(rng)
        called = [names[int(c)] for c in task.classes]
        context = start.adapt(tower, images[task.support], called) if start is not None else None
        flat, labels = flatten(images[task.query])
        with torch.no_grad():
            hits = (score(tower, context, flat, called).argmax(dim=1) == labels).float()
        right.index_add_(0, task.classes[labels], hits)
        asked.index_add_(0, task.classes[labels], torch.ones_like(hits))
    return right / asked
