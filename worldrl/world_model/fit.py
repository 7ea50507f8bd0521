"""Fit the dynamics of world models, of one task or of several at once, to recorded episodes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from worldrl.data.segments import Batch, SegmentSampler
from worldrl.diffusion.denoiser import Question
from worldrl.diffusion.drift import LinearDrift
from worldrl.errors import NumericsError
from worldrl.objects import NUMBERS
from worldrl.types import Array
from worldrl.world_model.model import DiffusionWorldModel

OWN, LOOK, SIGHT = 5.0, 0.1, 0.3
"""What proprioception, the look of an object and visual tokens weigh in the loss; geometry weighs one.

The hand's motion is exactly predictable and every imagined step stands on it; a look hardly changes and is mostly noise
(our choice: with them the hand strays half as far in ten imagined steps).
"""

GREY = 1 / 255
"""Half a grey level, of pixels in ``[-1, 1]``."""
PUSH_AFTER = 0.15
"""Share of the steps before the past that is trained on may be imagined: what an untrained model imagines is no past.
"""

Progress = Callable[[int, float], None]


@dataclass(frozen=True)
class Tokens:
    """Recorded episodes as the world model sees them.

    ``obs`` ``(t_i+1, *o)``, ``acts`` ``(t_i, a)`` and ``success`` ``(t_i+1,)`` of each episode, and who acted in it.
    ``visual`` tells how many of the tokens, the last ones, are visual.
    """

    obs: Sequence[Array]
    acts: Sequence[Array]
    success: Sequence[Array]
    policies: Sequence[str]
    visual: int = 0

    def __len__(self) -> int:
        return len(self.acts)

    def subset(self, index: Sequence[int]) -> "Tokens":
        """Return some of the episodes."""
        return Tokens(
            obs=[self.obs[i] for i in index],
            acts=[self.acts[i] for i in index],
            success=[self.success[i] for i in index],
            policies=[self.policies[i] for i in index],
            visual=self.visual,
        )


def set_scale(model: DiffusionWorldModel, sampler: SegmentSampler, *, visual: int = 0, floor: float = 0.03) -> None:
    """Fit the drift of tokens, measure how far each number strays from it in a step, and weigh the loss by that.

    Pixels are alike: they have no drift, and the spread of all of their changes is the unit of each. A number of a
    token that never strays by more than the floor is noise of the measurement: it keeps the floor as its unit, so that
    the model need not explain it. The last ``visual`` tokens are weighed alike in all of their numbers.
    """
    denoiser = model.denoiser
    if not isinstance(denoiser.drift, LinearDrift):
        squares = [(b.obs[:, -1] - b.obs[:, -2]).square().mean() for b in sampler.epoch(256)]
        denoiser.change_scale.fill_(2.0 * torch.stack(squares).mean().sqrt().clamp_min(GREY))
        return
    batches = list(sampler.epoch(4096))
    obs, codes = torch.cat([b.obs for b in batches]), torch.cat([model.codes(b.acts) for b in batches])
    history, change = obs[:, :-1], obs[:, -1] - obs[:, -2]
    denoiser.moves.copy_(change.abs().amax(dim=0) > 0)
    denoiser.drift.fit(history, codes, change)
    change = change - denoiser.drift(history, codes)
    spread = change.square().mean(dim=0).sqrt()
    denoiser.change_scale.copy_(2.0 * spread.clamp_min(floor))  # halved: the schedule expects a spread of 0.5
    denoiser.weight.copy_((spread / floor).clamp(max=1.0) ** 2)
    denoiser.weight[0] *= OWN
    last = len(denoiser.weight) - visual
    denoiser.weight[1:last, len(NUMBERS) :] *= LOOK
    denoiser.weight[last:] *= SIGHT


def fit_dynamics(
    models: Sequence[DiffusionWorldModel],
    tokens: Sequence[Tokens],
    *,
    steps: int,
    batch_size: int = 256,
    lr: float = 2e-3,
    overlap: float = 0.7,
    average: float = 0.995,
    push: float = 0.5,
    reach: int = 1,
    blur: float = 0.5,
    seed: int = 0,
    progress: Progress | None = None,
) -> float:
    """Fit the action codes, then train one denoiser for all models, on every episode, random ones included.

    Each task has a model of its own, with its own drift and scale; the network is one, that of the first model, and
    learns from all tasks in every step. Each member learns from its own draw of the episodes, so that members differ
    where episodes are few. The weights that are kept are a running average.

    A model that was trained on recorded pasts alone has never seen its own mistakes, and adds to them. So part of the
    pasts end in observations that the model itself imagines, and all are blurred a little. On 22 held-out episodes of
    door-lock, flat network, the error of the lock after 15 open-loop steps is 2.7 of that of no change without both,
    0.76 where one observation is imagined, 0.36 where up to six are, and 0.24 with up to ten.

    Args:
        models: One a task, alike in shape; changed in place, and left sharing one network.
        tokens: Recorded episodes of each task.
        steps: Gradient steps.
        batch_size: Transitions a step, of all tasks together.
        lr: Highest learning rate; warmed up over 100 steps, then falling along a cosine.
        overlap: Share of the episodes that each member learns from.
        average: How much of the running average is kept at each step.
        push: Share of the rows whose newest observations are imagined from those before.
        reach: How many of them at most, one after the other; each batch draws its own number.
        blur: Highest standard deviation of noise on the past, in units of its change; each row has its own.
        seed: Of batches, noise and members' draws.
        progress: Called with the step and the loss.

    Returns:
        The mean loss of the last tenth of the steps.

    Source: imagined pasts are the push-forward trick of Brandstetter et al. 2022 (arXiv 2202.03376), blurred ones the
    noise augmentation of GameNGen (Valevski et al. 2024, arXiv 2408.14837).

    Raises:
        ValueError: If there are not as many models as data, or none.
        NumericsError: If the loss is not finite.
    """
    if not models or len(models) != len(tokens):
        raise ValueError(f"models and tokens must be equally many, at least 1, got {len(models)} and {len(tokens)}.")
    rng = torch.Generator().manual_seed(seed)
    courses = [
        _Course(model, own, overlap=overlap, blur=blur, reach=reach, rng=rng, seed=seed)
        for model, own in zip(models, tokens, strict=True)
    ]
    net = models[0].denoiser.net
    for model in models:
        model.denoiser.net = net
        model.denoiser.train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=lr, weight_decay=1e-3, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, lr, total_steps=steps, pct_start=min(0.3, 100 / steps), cycle_momentum=False
    )
    averaged = {name: p.detach().clone() for name, p in net.named_parameters()}
    tail: list[float] = []
    for step in range(steps):
        pushed = push if step >= PUSH_AFTER * steps else 0.0
        loss = _loss(courses, max(1, batch_size // len(courses)), push=pushed)
        descend(loss, optimizer, schedule, step)
        keep = min(average, (1 + step) / (10 + step))
        with torch.no_grad():
            for name, p in net.named_parameters():
                averaged[name].lerp_(p, 1 - keep)
        if step >= 0.9 * steps:
            tail.append(loss.item())
        if progress is not None:
            progress(step + 1, loss.item())
    with torch.no_grad():
        for name, p in net.named_parameters():
            p.copy_(averaged[name])
    for model in models:
        model.denoiser.eval()
    return sum(tail) / max(1, len(tail))


class _Course:
    """What the denoiser learns of one task."""

    def __init__(
        self,
        model: DiffusionWorldModel,
        tokens: Tokens,
        *,
        overlap: float,
        blur: float,
        reach: int,
        rng: torch.Generator,
        seed: int,
    ) -> None:
        self.model, self.rng, self.blur = model, rng, blur
        recorded = tokens.obs, tokens.acts, tokens.success
        model.action_code.fit(torch.cat([torch.as_tensor(acts) for acts in tokens.acts]), seed=seed)
        set_scale(model, SegmentSampler(*recorded, history=model.history, seed=seed), visual=tokens.visual)
        self.reach = reach
        self.sampler = SegmentSampler(*recorded, history=model.history + reach, seed=seed)
        self.draws = (torch.rand(len(tokens), model.members, generator=rng) < overlap).float()
        self.draws[self.draws.sum(dim=1) == 0] = 1.0

    def ask(self, batch_size: int, *, push: float) -> tuple[Question, Tensor]:
        """Return what the network is asked about a fresh batch, and how much each member learns from each row."""
        batch = self.sampler.sample(batch_size)
        codes = self.model.codes(batch.acts)
        past = self._past(batch, codes, push)
        question = self.model.denoiser.ask(batch.obs[:, -1], past, codes[:, self.reach :], generator=self.rng)
        return question, self.draws[batch.episode]

    def _past(self, batch: Batch, codes: Tensor, push: float) -> Tensor:
        """Return the past as imagination would have it: in part imagined, and blurred."""
        past, denoiser = batch.obs[:, :-1], self.model.denoiser
        if push:
            past = self._imagine(past, codes, batch.padding, push)
        past = past[:, self.reach :]
        if self.blur:
            level = self.blur * torch.rand((len(past), *(1,) * (past.ndim - 1)), generator=self.rng)
            noise = torch.randn(past.shape, generator=self.rng)
            past = past + level * denoiser.change_scale * denoiser.moves * noise
        return past

    def _imagine(self, obs: Tensor, codes: Tensor, padding: Tensor, push: float) -> Tensor:
        """Let part of the rows imagine the end of their past: one to ``reach`` observations, each from those before."""
        obs, model, history = obs.clone(), self.model, self.model.history
        pushed = torch.rand(len(obs), generator=self.rng) < push
        first = int(torch.randint(self.reach, (1,), generator=self.rng))
        for at in range(history + first, history + self.reach):
            rows = pushed & ~padding[:, at - 1]  # a start is recorded
            if rows.any():
                noise = torch.randn(obs[rows, -1].shape, generator=self.rng)
                member = torch.randint(model.members, (len(noise),), generator=self.rng)
                before = obs[rows, at - history : at], codes[rows, at - history : at]
                with torch.no_grad():
                    obs[rows, at], _ = model.denoiser.sample(noise, *before, member=member, steps=model.steps)
        return obs


def _loss(courses: Sequence[_Course], batch_size: int, *, push: float) -> Tensor:
    """Return the mean loss over tasks; the network is asked once for all of them."""
    asked = [course.ask(batch_size, push=push) for course in courses]
    inputs = [torch.cat(parts) for parts in zip(*(question.inputs for question, _ in asked), strict=True)]
    answers = courses[0].model.denoiser.net(*inputs).split(batch_size)
    losses = [
        course.model.denoiser.score(question, raw, member_weight=weight)
        for course, (question, weight), raw in zip(courses, asked, answers, strict=True)
    ]
    return torch.stack(losses).mean()


def descend(
    loss: Tensor, optimizer: torch.optim.Optimizer, schedule: torch.optim.lr_scheduler.LRScheduler, step: int
) -> None:
    """Take one gradient step, or raise NumericsError if the loss is not finite."""
    if not torch.isfinite(loss):
        raise NumericsError(f"the loss is {loss.item()} at step {step}: lower lr or check the data.")
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], 1.0)
    optimizer.step()
    schedule.step()
