"""Does a world model heed its actions? One that does not can be learned nothing in."""

from dataclasses import dataclass

import torch
from einops import reduce
from torch import Tensor

from worldrl.errors import DataError
from worldrl.evaluation.fidelity import check_segments, draw, windows
from worldrl.types import WorldModel

ACTION_GAIN = 0.05
"""Gain from which a world model heeds its actions: fitted table-top worlds have 0.3 to 1.1 (our choice)."""


@dataclass(frozen=True)
class ActionVerdict:
    """Whether a world model heeds its actions; where it does not, a policy can learn nothing in it.

    Attributes:
        sensitivity: How far the prediction moves when rows swap the action to be taken: root mean square, in units of
            the recorded change. 0 if the model ignores actions.
        gain: How much the mean squared error grows by that, in units of the mean squared change. 0 if the model ignores
            actions or answers to them at random; the square of the sensitivity if its answer is right.
    """

    sensitivity: float
    gain: float

    @property
    def passed(self) -> bool:
        """Whether the gain is at least ``ACTION_GAIN``."""
        return self.gain >= ACTION_GAIN

    def __str__(self) -> str:
        figures = f"action gain {self.gain:.2f}, sensitivity {self.sensitivity:.2f}"
        return figures if self.passed else f"IT IGNORES ITS ACTIONS, gain must be at least {ACTION_GAIN}: {figures}"


def action_sensitivity(model: WorldModel, obs: Tensor, acts: Tensor, *, seed: int = 0) -> float:
    """Return the ``sensitivity`` of ``action_verdict``."""
    return action_verdict(model, obs, acts, seed=seed).sensitivity


@torch.no_grad()
def action_verdict(model: WorldModel, obs: Tensor, acts: Tensor, *, seed: int = 0) -> ActionVerdict:
    """Judge whether a world model heeds its actions, by letting rows swap the action to be taken.

    Past actions stay: their effect is already visible in the history. The noise stays too, so nothing else differs.
    Of tokens, the one that heeds them most counts: what an action moves at once is the hand, and what hides behind it
    flickers more than it moves.

    Args:
        model: The world model.
        obs: Recorded observations ``(b, t+1, *o)`` held out of fitting, ``b`` at least 2; the newest window counts.
        acts: Recorded actions ``(b, t, a)``.
        seed: Of the sampling noise and of the swap, in which no row keeps its own action.

    Raises:
        DataError: If nothing changes in the recorded step.
        ValueError: If there is one row only, or the segments are too short or of another shape.
    """
    check_segments(model, obs, acts, steps=model.history)
    if len(obs) < 2:
        raise ValueError(f"obs must have at least 2 rows to swap actions between, got {len(obs)}.")
    past, actions, target = list(windows(model, obs, acts))[-1]
    change = _by_token(past[:, -1], target)
    if not change.any():
        raise DataError("obs must change in the last step, got none that does.")
    rng = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(obs), generator=rng)
    swapped = actions.clone()
    swapped[order, -1] = actions[order.roll(1), -1]
    noise, choice = draw(model, past, rng)
    own, others = (model.imagine(past, a, noise=noise, choice=choice).obs for a in (actions, swapped))
    moves = change > 0
    gains = (_by_token(others, target) - _by_token(own, target))[moves] / change[moves]
    heeding = int(gains.argmax())
    sensitivity = (_by_token(own, others)[moves] / change[moves]).sqrt()
    return ActionVerdict(float(sensitivity[heeding]), float(gains[heeding]))


def _by_token(guess: Tensor, true: Tensor) -> Tensor:
    """Return the mean squared error of each token ``(k,)``, or of the whole frame ``(1,)``."""
    tokens = guess.ndim == 3
    error: Tensor = reduce((guess.double() - true.double()).square(), "b k d -> k" if tokens else "b ... -> 1", "mean")
    return error.cpu()
