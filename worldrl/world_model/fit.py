"""Fit a world model to recorded episodes, then calibrate what it calls a success and what it calls leaving the data."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from worldrl.data.segments import Batch, SegmentSampler
from worldrl.diffusion.drift import LinearDrift
from worldrl.errors import NumericsError
from worldrl.objects import NUMBERS
from worldrl.types import Array
from worldrl.world_model.model import DiffusionWorldModel

OWN, LOOK = 5.0, 0.1
"""What proprioception and the look of an object weigh in the loss; geometry weighs one.

The hand's motion is exactly predictable and every imagined step stands on it; a look hardly changes and is mostly noise
(our choice: with them the hand strays half as far in ten imagined steps).
"""

Progress = Callable[[int, float], None]


@dataclass(frozen=True)
class Tokens:
    """Recorded episodes as the world model sees them.

    ``obs`` ``(t_i+1, *o)``, ``acts`` ``(t_i, a)`` and ``success`` ``(t_i+1,)`` of each episode, and who acted in it.
    """

    obs: Sequence[Array]
    acts: Sequence[Array]
    success: Sequence[Array]
    policies: Sequence[str]

    def __len__(self) -> int:
        return len(self.acts)

    def subset(self, index: Sequence[int]) -> "Tokens":
        """Return some of the episodes."""
        return Tokens(
            obs=[self.obs[i] for i in index],
            acts=[self.acts[i] for i in index],
            success=[self.success[i] for i in index],
            policies=[self.policies[i] for i in index],
        )


def set_scale(model: DiffusionWorldModel, sampler: SegmentSampler, *, floor: float = 0.03) -> None:
    """Fit the drift of tokens, measure how far each number strays from it in a step, and weigh the loss by that.

    Pixels are alike, have no drift and keep unit scale and weight. A number of a token that never strays by more than
    the floor is noise of the measurement: it keeps the floor as its unit, so that the model need not explain it.
    """
    denoiser = model.denoiser
    if not isinstance(denoiser.drift, LinearDrift):
        return
    batches = list(sampler.epoch(4096))
    obs, codes = torch.cat([b.obs for b in batches]), torch.cat([model.action_code(b.acts) for b in batches])
    history, change = obs[:, :-1], obs[:, -1] - obs[:, -2]
    denoiser.moves.copy_(change.abs().amax(dim=0) > 0)
    denoiser.drift.fit(history, codes, change)
    change = change - denoiser.drift(history, codes)
    spread = change.square().mean(dim=0).sqrt()
    denoiser.change_scale.copy_(2.0 * spread.clamp_min(floor))  # halved: the schedule expects a spread of 0.5
    denoiser.weight.copy_((spread / floor).clamp(max=1.0) ** 2)
    denoiser.weight[0] *= OWN
    denoiser.weight[1:, len(NUMBERS) :] *= LOOK


def fit_dynamics(
    model: DiffusionWorldModel,
    tokens: Tokens,
    *,
    steps: int,
    batch_size: int = 256,
    lr: float = 2e-3,
    overlap: float = 0.7,
    average: float = 0.995,
    seed: int = 0,
    progress: Progress | None = None,
) -> float:
    """Fit the action code, then train the denoiser, on every episode, random ones included.

    Each member learns from its own draw of the episodes, so that members differ where episodes are few. The weights
    that are kept are a running average.

    Args:
        model: Changed in place.
        tokens: Recorded episodes.
        steps: Gradient steps.
        batch_size: Transitions a step.
        lr: Highest learning rate; warmed up over 100 steps, then falling along a cosine.
        overlap: Share of the episodes that each member learns from.
        average: How much of the running average is kept at each step.
        seed: Of batches, noise and members' draws.
        progress: Called with the step and the loss.

    Returns:
        The mean loss of the last tenth of the steps.

    Raises:
        NumericsError: If the loss is not finite.
    """
    rng = torch.Generator().manual_seed(seed)
    sampler = SegmentSampler(tokens.obs, tokens.acts, tokens.success, history=model.history, seed=seed)
    model.action_code.fit(torch.cat([torch.as_tensor(acts) for acts in tokens.acts]), seed=seed)
    set_scale(model, sampler)
    draws = (torch.rand(len(tokens), model.members, generator=rng) < overlap).float()
    draws[draws.sum(dim=1) == 0] = 1.0
    model.denoiser.train()
    optimizer = torch.optim.AdamW(model.denoiser.parameters(), lr=lr, weight_decay=1e-3, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, lr, total_steps=steps, pct_start=min(0.3, 100 / steps), cycle_momentum=False
    )
    averaged = {name: p.detach().clone() for name, p in model.denoiser.named_parameters()}
    tail: list[float] = []
    for step in range(steps):
        batch = sampler.sample(batch_size)
        loss = model.denoiser.loss(
            batch.obs[:, -1],
            batch.obs[:, :-1],
            model.action_code(batch.acts),
            member_weight=draws[batch.episode],
            generator=rng,
        )
        _descend(loss, optimizer, schedule, step)
        keep = min(average, (1 + step) / (10 + step))
        with torch.no_grad():
            for name, p in model.denoiser.named_parameters():
                averaged[name].lerp_(p, 1 - keep)
        if step >= 0.9 * steps:
            tail.append(loss.item())
        if progress is not None:
            progress(step + 1, loss.item())
    with torch.no_grad():
        for name, p in model.denoiser.named_parameters():
            p.copy_(averaged[name])
    model.denoiser.eval()
    return sum(tail) / max(1, len(tail))


def fit_success(
    model: DiffusionWorldModel,
    tokens: Tokens,
    *,
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
        model: Changed in place.
        tokens: Recorded episodes; those of random play are left out.
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
    batches = list(sampler.epoch(1024))
    answers = torch.cat([batch.success for batch in batches]).float()
    recorded = torch.cat([batch.obs[:, -1] for batch in batches])
    dreams = torch.cat([_imagine(model, batch, rng) for batch in batches])
    del batches  # of frames they are a gigabyte
    chance = 1.0 + 9.0 * answers
    model.success.train()
    weights, gates = list(model.success.parameters()), getattr(model.success, "gated", None)
    groups = [{"params": weights}] if gates is None else gates.parameter_groups(weights)
    optimizer = torch.optim.AdamW(groups, lr=lr, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    tail: list[float] = []
    for step in range(steps):
        rows = torch.multinomial(chance, batch_size, replacement=True, generator=rng)
        dreamt = torch.rand(batch_size, generator=rng) < imagined
        obs = torch.where(dreamt.view(-1, *[1] * (recorded.ndim - 1)), dreams[rows], recorded[rows])
        obs = obs + blur * torch.randn(obs.shape, generator=rng)
        loss = binary_cross_entropy_with_logits(model.success(obs), answers[rows])
        if gates is not None:
            loss = loss + price * gates.cost()
        _descend(loss, optimizer, schedule, step)
        if step >= 0.9 * steps:
            tail.append(loss.item())
        if progress is not None:
            progress(step + 1, loss.item())
    model.success.eval()
    return sum(tail) / max(1, len(tail))


def calibrate(
    model: DiffusionWorldModel, tokens: Tokens, *, false_successes: float = 0.05, halted: float = 0.05, seed: int = 0
) -> None:
    """Set the two thresholds on episodes of the policy that the model did not learn from.

    The success threshold is the lowest in [0.5, 0.7] at which at most ``false_successes`` of the failed episodes have
    an imagined next observation that counts as a success. The halting threshold is crossed somewhere by ``halted`` of
    the episodes: a quantile of steps would stop two episodes in three.

    Args:
        model: Changed in place.
        tokens: Held-out episodes.
        false_successes: Share of failed *episodes* with an imagined success that is allowed.
        halted: Share of episodes that may be halted.
        seed: Of the noise.
    """
    rng = torch.Generator().manual_seed(seed + 2)
    model.halt_threshold = 1.0
    highest, apart = [], []
    for i in range(len(tokens)):
        one = tokens.subset([i])
        sampler = SegmentSampler(one.obs, one.acts, one.success, history=model.history, seed=0)
        batch = next(sampler.epoch(len(sampler)))
        noise = torch.randn(batch.obs[:, -1].shape, generator=rng)
        choice = torch.rand(len(batch), generator=rng)
        out = model.imagine(batch.obs[:, :-1], batch.acts, noise=noise, choice=choice)
        apart.append(out.disagreement.max())
        if not batch.success.any():
            highest.append(out.success.max())
    several = apart and model.members > 1  # one member never disagrees with itself
    model.halt_threshold = float(torch.stack(apart).quantile(1 - halted)) if several else float("inf")
    if highest:
        allowed = float(torch.stack(highest).quantile(1 - false_successes))
        model.success_threshold = min(0.7, max(0.5, allowed))


def _imagine(model: DiffusionWorldModel, batch: Batch, rng: torch.Generator) -> Tensor:
    noise = torch.randn(batch.obs[:, -1].shape, generator=rng)
    choice = torch.rand(len(batch), generator=rng)
    return model.imagine(batch.obs[:, :-1], batch.acts, noise=noise, choice=choice).obs


def _descend(
    loss: Tensor, optimizer: torch.optim.Optimizer, schedule: torch.optim.lr_scheduler.LRScheduler, step: int
) -> None:
    if not torch.isfinite(loss):
        raise NumericsError(f"the loss is {loss.item()} at step {step}: lower lr or check the data.")
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], 1.0)
    optimizer.step()
    schedule.step()
