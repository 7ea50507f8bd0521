"""Fit what judges imagined observations (success and its audit), and calibrate from where their word counts."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from worldrl.data.segments import Batch, SegmentSampler
from worldrl.resuming import Parts, Progress, Stops, run_steps
from worldrl.types import Imagined
from worldrl.world_model.descent import descend
from worldrl.world_model.model import DiffusionWorldModel
from worldrl.world_model.tokens import MOST, Tokens


def fit_success(
    model: DiffusionWorldModel,
    tokens: Tokens,
    *,
    head: nn.Module,
    steps: int,
    batch_size: int = 256,
    lr: float = 2e-3,
    imagined: float = 0.5,
    blur: float = 0.02,
    price: float = 0.03,
    seed: int = 0,
    stops: Stops | None = None,
    progress: Progress | None = None,
) -> float:
    """Train the success classifier on the next observations of expert and policy episodes.

    Half of what it sees is not the recorded next observation but the one that the (already fitted) dynamics imagines
    for the same transition, with the recorded answer: in imagination it never sees anything else (our choice).

    Args:
        model: Its fitted dynamics imagine.
        tokens: Recorded episodes; those of random play are left out where there are others.
        head: The classifier that learns, changed in place: ``model.success``, or ``model.audit``.
        steps: Gradient steps.
        batch_size: Transitions a step; successes, which are rare, are drawn ten times as often.
        lr: Learning rate.
        imagined: Share of each batch that is imagined.
        blur: Standard deviation of the noise added to observations.
        price: Added to the loss for every object whose gate is open (``worldrl.objects.gated``).
        seed: Of batches and noise.
        stops: What to go on from after a stop, and to keep for one; None for neither.
        progress: Called with the step and the loss.

    Returns:
        The mean loss of the last tenth of the steps.

    Raises:
        NumericsError: If the loss is not finite.
        CheckpointError: If what ``stops`` kept is damaged.
        ConfigError: If it is of a training with other options.
    """
    rng = torch.Generator().manual_seed(seed + 1)
    others = [i for i, policy in enumerate(tokens.policies) if policy != "random"]
    seen = tokens.subset(others) if others else tokens
    recorded, dreams, answers = dreamt(model, seen, rng, seed=seed + 1)
    answers = answers.float()
    chance = 1.0 + 9.0 * answers

    def loss() -> Tensor:
        rows = torch.multinomial(chance, batch_size, replacement=True, generator=rng)
        obs = shown(recorded, dreams, rows, imagined=imagined, blur=blur, rng=rng)
        return binary_cross_entropy_with_logits(head(obs), answers[rows])

    about = {"batch_size": batch_size, "imagined": imagined, "blur": blur, "seed": seed, "transitions": len(recorded)}
    return train_head(head, loss, steps=steps, lr=lr, price=price, rng=rng, stops=stops, about=about, progress=progress)


@torch.no_grad()
def dreamt(
    model: DiffusionWorldModel, tokens: Tokens, rng: torch.Generator, *, seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return of transitions, in order and evenly spaced where there are very many, what came next in three ways.

    Returns:
        The recorded observations ``(n, *o)``, the ones that the dynamics imagines in their place, and success ``(n,)``.
    """
    sampler = SegmentSampler(tokens.obs, tokens.acts, tokens.success, history=model.history, seed=seed)
    batches = list(sampler.epoch(1024, most=MOST))
    recorded = torch.cat([batch.obs[:, -1] for batch in batches])
    dreams = torch.cat([_imagine(model, batch, rng) for batch in batches])
    return recorded, dreams, torch.cat([batch.success for batch in batches])


def shown(
    recorded: Tensor, dreams: Tensor, rows: Tensor, *, imagined: float, blur: float, rng: torch.Generator
) -> Tensor:
    """Return some observations as a judge in training sees them: a share of them imagined, all of them blurred."""
    chosen = torch.rand(len(rows), generator=rng) < imagined
    obs = torch.where(chosen.view(-1, *[1] * (recorded.ndim - 1)), dreams[rows], recorded[rows])
    return obs + blur * torch.randn(obs.shape, generator=rng)


def train_head(
    head: nn.Module,
    loss: Callable[[], Tensor],
    *,
    steps: int,
    lr: float,
    price: float,
    rng: torch.Generator,
    stops: Stops | None = None,
    about: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> float:
    """Take gradient steps on a loss, at a price for every open gate, and return the mean of the last tenth of them.

    Args:
        head: What learns, changed in place, and left in evaluation mode.
        loss: Returns the loss of a batch; all its chance comes from ``rng``.
        steps: Gradient steps.
        lr: Learning rate, falling to zero along a cosine.
        price: Added for every open gate.
        rng: Of the batches.
        stops: What to go on from after a stop, and to keep for one; None for neither.
        about: What tells this training from others, as plain JSON.
        progress: Called with the step and the loss.
    """
    head.train()
    weights, gates = list(head.parameters()), getattr(head, "gated", None)
    groups = [{"params": weights}] if gates is None else gates.parameter_groups(weights)
    optimizer = torch.optim.AdamW(groups, lr=lr, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)

    def take(step: int) -> float:
        found = loss()
        if gates is not None:
            found = found + price * gates.cost()
        descend(found, optimizer, schedule, step)
        return found.item()

    parts = Parts({"head": head}, {"optimizer": optimizer}, {"schedule": schedule}, {"rows": rng})
    about = {**(about or {}), "lr": lr, "price": price}
    mean = run_steps(take, steps=steps, parts=parts, stops=stops, about=about, progress=progress)
    head.eval()
    return mean


RANGE = (0.3, 0.97)
"""Between which probabilities the border of success may lie (our choice)."""


def calibrate(
    model: DiffusionWorldModel, held: Tokens, *, replayed: Tokens, halted: float = 0.05, seed: int = 0
) -> None:
    """Set the thresholds on episodes of the policy.

    Fed the actions of ``replayed``, imagination is to find as many successes as were recorded: with the threshold of
    success (and of its audit) there, it calls as many failures successes as it misses. A border that is right for
    recorded observations is crossed too often: imagined ones wander, and once across counts (our choice). Thresholds of
    disagreement and of departure are each crossed somewhere by ``halted`` of the episodes: a quantile of steps would
    stop two in three.

    Args:
        model: Changed in place.
        held: Episodes that the model did not learn from.
        replayed: Episodes whose outcome it should find; those that it learnt from may be among them, as they are few.
        halted: Share of episodes that may be halted by each.
        seed: Of the noise.
    """
    rng = torch.Generator().manual_seed(seed + 2)
    model.halt_threshold = model.support_threshold = 1.0
    apart, away = [], []
    for i in range(len(held)):
        one = held.subset([i])
        sampler = SegmentSampler(one.obs, one.acts, one.success, history=model.history, seed=0)
        batch = next(sampler.epoch(len(sampler)))
        noise = torch.randn(batch.obs[:, -1].shape, generator=rng)
        choice = torch.rand(len(batch), generator=rng)
        out = model.imagine(batch.obs[:, :-1], batch.acts, noise=noise, choice=choice)
        apart.append(out.disagreement.max())
        away.append(model.support(out.obs).max())
    several = apart and model.members > 1  # one member never disagrees with itself
    model.halt_threshold = float(torch.stack(apart).quantile(1 - halted)) if several else float("inf")
    model.support_threshold = float(torch.stack(away).quantile(1 - halted)) if away else float("inf")
    failed = sum(not success.any() for success in replayed.success) / max(1, len(replayed))
    if 0.0 < failed < 1.0:
        borders = highest(model, replayed, rng, partial(_verdicts, model)).quantile(failed, dim=0).clamp(*RANGE)
        model.success_threshold, model.audit_threshold = (float(x) for x in borders)


@torch.no_grad()
def highest(
    model: DiffusionWorldModel, tokens: Tokens, rng: torch.Generator, verdicts: Callable[[Imagined], Tensor]
) -> Tensor:
    """Return the highest of each verdict ``(m, v)`` as the actions of ``m`` episodes are replayed in imagination.

    Args:
        model: Imagines.
        tokens: The episodes.
        rng: Of the noise.
        verdicts: Probabilities ``(m, v)`` of an imagined step.
    """
    starts = SegmentSampler(tokens.obs, tokens.acts, tokens.success, history=model.history, seed=0).starts()
    past, acts, most = starts.obs, starts.acts, None
    lengths = torch.tensor([len(act) for act in tokens.acts])
    for step in range(int(lengths.max())):
        act = torch.stack([torch.as_tensor(act[min(step, len(act) - 1)]) for act in tokens.acts])
        acts = torch.cat([acts, act[:, None]], dim=1)
        noise, choice = torch.randn(past[:, -1].shape, generator=rng), torch.rand(len(past), generator=rng)
        out = model.imagine(past, acts, noise=noise, choice=choice)
        found = verdicts(out)
        before = torch.zeros_like(found) if most is None else most
        most = torch.where((step < lengths)[:, None], before.maximum(found), before)
        past, acts = torch.cat([past[:, 1:], out.obs[:, None]], dim=1), acts[:, 1:]
    assert most is not None
    return most


def _verdicts(model: DiffusionWorldModel, out: Imagined) -> Tensor:
    """Return the probability of success, and that of the audit ``(m, 2)``."""
    return torch.stack([out.success, model.audit(out.obs).sigmoid()], dim=1)


def _imagine(model: DiffusionWorldModel, batch: Batch, rng: torch.Generator) -> Tensor:
    noise = torch.randn(batch.obs[:, -1].shape, generator=rng)
    choice = torch.rand(len(batch), generator=rng)
    return model.imagine(batch.obs[:, :-1], batch.acts, noise=noise, choice=choice).obs
