"""How far a world model can be trusted: its error, its ear for actions, and the successes it makes up.

Segments are ``obs`` ``(b, t+1, *o)`` with the ``acts`` ``(b, t, a)`` between them. Every function gives the same result
for the same ``seed``.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from worldrl.errors import DataError
from worldrl.types import Imagined, Starts, WorldModel

STATIC = 1e-6
"""Variance of a number's change from which it counts as moving, in units of the observation squared."""


@dataclass(frozen=True)
class OneStepError:
    """One-step error for each number of the observation, each ``(*o)``.

    Attributes:
        model: Mean squared error of the world model.
        repeat_last: The same of predicting no change.
        mean: The same of always predicting the mean observation.
        r2: Explained share of the variance of the change: 1 is perfect, 0 as good as the mean change, NaN where static.
        moving: Whether the variance of its change is above the floor.
    """

    model: Tensor
    repeat_last: Tensor
    mean: Tensor
    r2: Tensor
    moving: Tensor

    @property
    def skill(self) -> float:
        """The share of the error of predicting no change that the model removes, over what moves; 0 is as good."""
        return 1 - float(self.model[self.moving].sum() / self.repeat_last[self.moving].sum())


@dataclass(frozen=True)
class RolloutError:
    """Mean squared error ``(horizon,)`` after each open-loop step, of the ``model`` and of repeating the last frame."""

    model: Tensor
    repeat_last: Tensor

    @property
    def useful_steps(self) -> int:
        """The number of steps until the model is first no better than no change at all."""
        return int((self.model < self.repeat_last).long().cumprod(dim=0).sum())


@dataclass(frozen=True)
class Replay:
    """Recorded episodes to be acted out in imagination.

    ``starts`` are their first observations; ``acts`` ``(m, s, a)`` what was done from there; ``steps`` ``(m,)`` how
    many of those ``s`` were recorded (the rest is padding), all of them if None.
    """

    starts: Starts
    acts: Tensor
    steps: Tensor | None = None


@dataclass(frozen=True)
class ReplayedSuccess:
    """How often imagination judges recorded actions a success.

    ``hallucinated`` of the episodes that failed in reality (should be 0: PPO will find and exploit what is above);
    ``recalled`` of those that succeeded (should be 1: what is below starves PPO of reward).
    """

    hallucinated: float
    recalled: float


@torch.no_grad()
def one_step_error(
    model: WorldModel, batches: Iterable[tuple[Tensor, Tensor]], *, seed: int = 0, static: float = STATIC
) -> OneStepError:
    """Compare one-step predictions, in every window of every segment, with recordings and with two trivial predictors.

    What matters is the *change*: an observation is mostly what it was before, so R2 of the observation itself flatters
    repeating the last one. Numbers that do not change (padding, a resting object) are left out of every figure: their
    variance is nearly zero, so the smallest error gives them an R2 near minus infinity and with them the mean.

    Args:
        model: The world model.
        batches: Pairs of ``obs`` ``(b, t+1, *o)`` and ``acts`` ``(b, t, a)``, ``t`` at least ``model.history``.
        seed: Of the sampling noise.
        static: Variance of the change from which a number counts as moving.

    Raises:
        DataError: If there are no batches, or nothing in them moves.
        ValueError: If a batch has the wrong shapes.
    """
    rng = torch.Generator().manual_seed(seed)
    sums, count = torch.zeros(0), 0
    for obs, acts in batches:
        check_segments(model, obs, acts, steps=model.history)
        for past, actions, target in windows(model, obs, acts):
            guess = _imagine(model, past, actions, rng).obs.double()
            last, true = past[:, -1].double(), target.double()
            change = true - last
            terms = torch.stack([(guess - true) ** 2, change**2, change, true**2, true], dim=1).sum(dim=0).cpu()
            sums, count = terms if count == 0 else sums + terms, count + len(obs)
    if count == 0:
        raise DataError("batches must hold at least 1 segment, got 0.")
    error, change_squared, change, true_squared, true = sums / count
    variance = change_squared - change**2
    moving = variance > static
    if not moving.any():
        raise DataError(f"batches must hold movement, got no number whose change varies by more than {static}.")
    r2 = torch.where(moving, 1 - error / variance, torch.nan)
    return OneStepError(error, change_squared, (true_squared - true**2).clamp(min=0), r2, moving)


@torch.no_grad()
def rollout_error(model: WorldModel, obs: Tensor, acts: Tensor, horizon: int, *, seed: int = 0) -> RolloutError:
    """Roll out from the first ``model.history`` observations, open loop, and compare step by step with the recording.

    Args:
        model: The world model.
        obs: Recorded observations ``(b, t+1, *o)``.
        acts: Recorded actions ``(b, t, a)``, ``t`` at least ``model.history - 1 + horizon``.
        horizon: Number of imagined steps.
        seed: Of the sampling noise.

    Raises:
        ValueError: If ``horizon`` is less than one or the segments are too short or of another shape.
    """
    if horizon < 1:
        raise ValueError(f"horizon must be at least 1, got {horizon}.")
    past = model.history
    check_segments(model, obs, acts, steps=past - 1 + horizon)
    rng = torch.Generator().manual_seed(seed)
    steps = enumerate(open_loop(model, obs[:, :past], acts[:, : past - 1 + horizon], rng))
    errors = torch.stack([mean_squared(step.obs, obs[:, past + i]) for i, step in steps])
    repeat_last = torch.stack([mean_squared(obs[:, past - 1], obs[:, past + i]) for i in range(horizon)])
    return RolloutError(errors, repeat_last)


def hallucinated_success(model: WorldModel, *, failed: Replay, succeeded: Replay, seed: int = 0) -> ReplayedSuccess:
    """Replay recorded failures and recorded successes in imagination and return how many of each count as successes.

    Args:
        model: The world model; ``success_threshold`` decides.
        failed: Episodes that failed in reality.
        succeeded: Episodes that succeeded in reality.
        seed: Of the sampling noise.

    Raises:
        ValueError: If either is empty or of the wrong shape.
    """
    shares = [float(judged_successful(model, replay, seed=seed).double().mean()) for replay in (failed, succeeded)]
    return ReplayedSuccess(*shares)


@torch.no_grad()
def judged_successful(model: WorldModel, replay: Replay, *, seed: int = 0) -> Tensor:
    """Return ``(m,)`` whether imagination, fed the recorded actions, sees a success at any of the recorded steps.

    Raises:
        ValueError: If the replay is empty or of the wrong shape.
    """
    starts, acts = replay.starts, replay.acts
    _check_replay(model, replay)
    steps = torch.full((len(acts),), acts.shape[1]) if replay.steps is None else replay.steps
    steps, judged = steps.to(acts.device), torch.zeros(len(acts), dtype=torch.bool, device=acts.device)
    rng = torch.Generator().manual_seed(seed)
    for i, step in enumerate(open_loop(model, starts.obs, torch.cat([starts.acts, acts], dim=1), rng)):
        judged |= (step.success >= model.success_threshold) & (i < steps)
    return judged


def open_loop(model: WorldModel, past: Tensor, acts: Tensor, rng: torch.Generator) -> Iterator[Imagined]:
    """Imagine from ``past`` ``(b, t, *o)`` under ``acts`` ``(b, t - 1 + steps, a)``, feeding predictions back."""
    for i in range(acts.shape[1] - model.history + 1):
        step = _imagine(model, past, acts[:, i : i + model.history], rng)
        past = torch.cat([past[:, 1:], step.obs[:, None]], dim=1)
        yield step


def windows(model: WorldModel, obs: Tensor, acts: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield every window of a segment: past observations, their actions, and the observation after them."""
    size = model.history
    for i in range(acts.shape[1] - size + 1):
        yield obs[:, i : i + size], acts[:, i : i + size], obs[:, i + size]


def _imagine(model: WorldModel, obs: Tensor, acts: Tensor, rng: torch.Generator) -> Imagined:
    noise, choice = draw(model, obs, rng)
    return model.imagine(obs, acts, noise=noise, choice=choice)


def draw(model: WorldModel, obs: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw on the CPU, so that every device sees the same numbers."""
    noise = torch.randn(len(obs), *model.obs_shape, generator=rng)
    choice = torch.rand(len(obs), generator=rng)
    return noise.to(obs.device), choice.to(obs.device)


def mean_squared(guess: Tensor, true: Tensor) -> Tensor:
    """Return the mean squared error over everything, in double precision."""
    return (guess.double() - true.double()).square().mean().cpu()


def check_segments(model: WorldModel, obs: Tensor, acts: Tensor, *, steps: int) -> None:
    """Refuse segments that are not the model's, or shorter than ``steps``, with ValueError."""
    if acts.ndim != 3 or not len(acts) or acts.shape[2] != model.act_dim:
        raise ValueError(f"acts must be (b, t, {model.act_dim}), got {tuple(acts.shape)}.")
    b, t, _ = acts.shape
    if obs.shape != (b, t + 1, *model.obs_shape):
        expected = ", ".join(map(str, (b, t + 1, *model.obs_shape)))
        raise ValueError(f"obs must be ({expected}), one more than acts, got {tuple(obs.shape)}.")
    if t < steps:
        raise ValueError(f"acts must be at least {steps} steps long, got {t}: use longer segments.")


def _check_replay(model: WorldModel, replay: Replay) -> None:
    m, past = len(replay.acts), model.history
    if replay.acts.ndim != 3 or not replay.acts.numel() or replay.acts.shape[2] != model.act_dim:
        raise ValueError(f"acts must be (m, s, {model.act_dim}), m and s at least 1, got {tuple(replay.acts.shape)}.")
    if replay.starts.obs.shape != (m, past, *model.obs_shape):
        expected = ", ".join(map(str, (m, past, *model.obs_shape)))
        raise ValueError(f"starts.obs must be ({expected}), got {tuple(replay.starts.obs.shape)}.")
    if replay.starts.acts.shape != (m, past - 1, model.act_dim):
        raise ValueError(
            f"starts.acts must be ({m}, {past - 1}, {model.act_dim}), got {tuple(replay.starts.acts.shape)}."
        )
    if replay.steps is not None and replay.steps.shape != (m,):
        raise ValueError(f"steps must be ({m},), got {tuple(replay.steps.shape)}.")
