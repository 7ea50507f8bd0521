"""What a denoiser learns from: batches of recorded episodes whose pasts are as imagination would have them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from worldrl import checkpoint
from worldrl.data.segments import Batch, SegmentSampler
from worldrl.diffusion.denoiser import Question
from worldrl.diffusion.network import DenoiserNet
from worldrl.world_model.chance import Chance
from worldrl.world_model.descent import Descent
from worldrl.world_model.model import DiffusionWorldModel
from worldrl.world_model.tokens import Tokens


@dataclass(frozen=True)
class Seen:
    """A share of a batch.

    Attributes:
        past: ``(b, t, *o)``, in part imagined, and blurred.
        codes: Of the actions ``(b, t, c)``.
        target: The observations that came next ``(b, *o)``.
        weight: How much each member learns from each row ``(b, m)``.
        total: Sum of the weights of the whole batch.
    """

    past: Tensor
    codes: Tensor
    target: Tensor
    weight: Tensor
    total: Tensor


class Course:
    """What the denoiser learns of one task.

    Args:
        model: The world model of the task.
        tokens: Recorded episodes.
        draws: How much each member learns from each episode ``(episodes, m)``.
        blur: Highest standard deviation of noise on the past, in units of its change.
        reach: How many of the newest observations of a past may be imagined.
        together: Whether all processes must ask the network equally often.
        seed: Of chance: that of the run, and which task this is.
    """

    def __init__(
        self,
        model: DiffusionWorldModel,
        tokens: Tokens,
        *,
        draws: Tensor,
        blur: float,
        reach: int,
        together: bool,
        seed: tuple[int, int],
    ) -> None:
        self.model, self.draws, self.blur, self.reach = model, draws, blur, reach
        self.together, self.seed = together, seed
        history = model.history + reach
        self.sampler = SegmentSampler(tokens.obs, tokens.acts, tokens.success, history=history, seed=seed[0])

    def draw(self, chance: Chance, *, push: float, device: torch.device) -> Seen:
        """Return a share of a fresh batch.

        Args:
            chance: Of the gradient step, and which rows of it.
            push: Share of the rows whose newest observations are imagined.
            device: Where to.
        """
        episodes, steps = self.sampler.draw(chance.total, chance.windows)
        batch = self.sampler.at(episodes[chance.rows], steps[chance.rows]).to(device)
        codes = self.model.codes(batch.acts)
        past = self._past(batch, codes, push, chance)
        weights = self.draws[torch.from_numpy(episodes)].to(device)
        return Seen(past, codes[:, self.reach :], batch.obs[:, -1], weights[chance.rows], weights.sum())

    def _past(self, batch: Batch, codes: Tensor, push: float, chance: Chance) -> Tensor:
        """Return the past as imagination would have it: in part imagined, and blurred."""
        past, denoiser = batch.obs[:, :-1], self.model.denoiser
        if push:
            past = self._imagine(past, codes, batch.padding, push, chance)
        past = past[:, self.reach :]
        if self.blur:
            level = self.blur * chance.uniform(*(1,) * (past.ndim - 1))
            noise = level * chance.normal(*past.shape[1:])
            past = past + noise.to(past.device) * denoiser.change_scale * denoiser.moves
        return past

    def _imagine(self, obs: Tensor, codes: Tensor, padding: Tensor, push: float, chance: Chance) -> Tensor:
        """Let part of the rows imagine the end of their past: one to ``reach`` observations, each from those before."""
        obs, model, history = obs.clone(), self.model, self.model.history
        pushed = (chance.uniform() < push).to(obs.device)
        first = int(torch.randint(self.reach, (1,), generator=chance.whole))
        for at in range(history + first, history + self.reach):
            noise, member = chance.normal(*model.obs_shape), (chance.uniform() * model.members).long()
            rows = torch.nonzero(pushed & ~padding[:, at - 1])[:, 0]  # a start is recorded
            asked = rows if len(rows) or not self.together else torch.zeros_like(pushed[:1], dtype=torch.long)
            if len(asked) == 0:
                continue
            before = obs[asked, at - history : at], codes[asked, at - history : at]
            mine = noise.to(obs.device)[asked], member.to(obs.device)[asked]
            with torch.no_grad():
                found, _ = model.denoiser.sample(mine[0], *before, member=mine[1], steps=model.evaluations)
            obs[rows, at] = found[: len(rows)]
        return obs


def mean_loss(
    courses: Sequence[Course],
    descent: Descent,
    asked: Sequence[Question],
    weights: Sequence[Tensor],
    totals: Sequence[Tensor],
) -> Tensor:
    """Return this share of the mean loss over tasks; the network is asked once for all of them.

    Args:
        courses: One a task.
        descent: Whose network is asked.
        asked: What it is asked of each task, as many rows of each.
        weights: How much each member learns from each row ``(b, m)``.
        totals: Sum of the weights of each whole batch.
    """
    inputs = [torch.cat(parts) for parts in zip(*(question.inputs for question in asked), strict=True)]
    with descent.engine.autocast():
        answers = descent.called(*inputs).float().chunk(len(asked))
    losses = [
        course.model.denoiser.score(question, raw, member_weight=weight, total=total)
        for course, question, raw, weight, total in zip(courses, asked, answers, weights, totals, strict=True)
    ]
    return torch.stack(losses).mean()


def identity(model: DiffusionWorldModel) -> dict[str, Any]:
    """Return what tells the training of a model from that of another: its shape, and what was found in its data."""
    config = {name: value for name, value in model.config().items() if name != "thresholds"}
    found = {name: value for name, value in model.state_dict().items() if name.startswith(FOUND)}
    return {**config, "found": checkpoint.hash_tensors(found)}


FOUND = ("action_code.", "denoiser.drift.", "denoiser.change_scale", "denoiser.moves", "denoiser.weight")
"""Tensors that are found in the data before training begins."""


def share(models: Sequence[DiffusionWorldModel], net: nn.Module, device: torch.device, *, train: bool) -> None:
    """Give all models one network, and bring them to a device, their denoisers into training mode or out of it."""
    for model in models:
        model.denoiser.net = cast(DenoiserNet, net)
        model.to(device)
        model.denoiser.train(train)
