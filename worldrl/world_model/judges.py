"""Fit what judges imagined observations (success and its audit), and calibrate from where their word counts."""

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from worldrl.data.segments import Batch, SegmentSampler
from worldrl.world_model.descent import Progress, descend
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
    progress: Progress | None = None,
) -> float:
    """Train the success classifier on the next observations of expert and policy episodes.

    Half of what it sees is not the recorded next observation but the one that the (already fitted) dynamics imagines
    for the same transition, with the recorded answer: in imagination it never sees anything else (our choice).

    Args:
        model: Its fitted dynamics imagine.
        tokens: Recorded episodes; those of random play are left out.
        head: The classifier that learns, changed in place: ``model.success``, or ``model.audit``.
        steps: Gradient steps.
        batch_size: Transitions a step; successes, which are rare, are drawn ten times as often.
        lr: Learning rate.
        imagined: Share of each batch that is imagined.
        blur: Standard deviation of the noise added to observations.
        price: Added to the loss for every object whose gate is open (``worldrl.objects.gated``).
        seed: Of batches and noise.
        progress: Called with the step and the loss.

    Returns:
        The mean loss of the last tenth of the steps.

    Raises:
        NumericsError: If the loss is not finite.
    """
    rng = torch.Generator().manual_seed(seed + 1)
    seen = tokens.subset([i for i, policy in enumerate(tokens.policies) if policy != "random"])
    sampler = SegmentSampler(seen.obs, seen.acts, seen.success, history=model.history, seed=seed + 1)
    batches = list(sampler.epoch(1024, most=MOST))
    answers = torch.cat([batch.success for batch in batches]).float()
    recorded = torch.cat([batch.obs[:, -1] for batch in batches])
    dreams = torch.cat([_imagine(model, batch, rng) for batch in batches])
    del batches  # of frames they are a gigabyte
    chance = 1.0 + 9.0 * answers
    head.train()
    weights, gates = list(head.parameters()), getattr(head, "gated", None)
    groups = [{"params": weights}] if gates is None else gates.parameter_groups(weights)
    optimizer = torch.optim.AdamW(groups, lr=lr, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    tail: list[float] = []
    for step in range(steps):
        rows = torch.multinomial(chance, batch_size, replacement=True, generator=rng)
        dreamt = torch.rand(batch_size, generator=rng) < imagined
        obs = torch.where(dreamt.view(-1, *[1] * (recorded.ndim - 1)), dreams[rows], recorded[rows])
        obs = obs + blur * torch.randn(obs.shape, generator=rng)
        loss = binary_cross_entropy_with_logits(head(obs), answers[rows])
        if gates is not None:
            loss = loss + price * gates.cost()
        descend(loss, optimizer, schedule, step)
        if step >= 0.9 * steps:
            tail.append(loss.item())
        if progress is not None:
            progress(step + 1, loss.item())
    head.eval()
    return sum(tail) / max(1, len(tail))


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
        borders = _highest(model, replayed, rng).quantile(failed, dim=0).clamp(*RANGE)
        model.success_threshold, model.audit_threshold = (float(x) for x in borders)


@torch.no_grad()
def _highest(model: DiffusionWorldModel, tokens: Tokens, rng: torch.Generator) -> Tensor:
    """Return the highest probability of success, and by the audit ``(m, 2)``, as the episodes' actions are replayed."""
    starts = SegmentSampler(tokens.obs, tokens.acts, tokens.success, history=model.history, seed=0).starts()
    past, acts, highest = starts.obs, starts.acts, torch.zeros(len(tokens), 2)
    lengths = torch.tensor([len(act) for act in tokens.acts])
    for step in range(int(lengths.max())):
        act = torch.stack([torch.as_tensor(act[min(step, len(act) - 1)]) for act in tokens.acts])
        acts = torch.cat([acts, act[:, None]], dim=1)
        noise, choice = torch.randn(past[:, -1].shape, generator=rng), torch.rand(len(past), generator=rng)
        out = model.imagine(past, acts, noise=noise, choice=choice)
        found = torch.stack([out.success, model.audit(out.obs).sigmoid()], dim=1)
        highest = torch.where((step < lengths)[:, None], highest.maximum(found), highest)
        past, acts = torch.cat([past[:, 1:], out.obs[:, None]], dim=1), acts[:, 1:]
    return highest


def _imagine(model: DiffusionWorldModel, batch: Batch, rng: torch.Generator) -> Tensor:
    noise = torch.randn(batch.obs[:, -1].shape, generator=rng)
    choice = torch.rand(len(batch), generator=rng)
    return model.imagine(batch.obs[:, :-1], batch.acts, noise=noise, choice=choice).obs
