"""A world is asked what is known already, and each contradiction is a doubt of its own."""

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from worldrl.envs.guards import Guards
from worldrl.recipes.belief import Belief, believe
from worldrl.types import Array, Imagined, Starts

COUNT = 40


class Line:
    """A model of one number, to which the action is added; from one on it is a success."""

    history, obs_shape, act_dim, success_threshold = 1, (1,), 1, 0.5

    def imagine(self, obs: Tensor, acts: Tensor, *, noise: Tensor, choice: Tensor) -> Imagined:
        nxt = obs[:, -1] + acts[:, -1]
        return Imagined(nxt, (nxt[:, 0] >= 1).float(), torch.zeros(len(obs)))


@dataclass
class World:
    """Of ``COUNT`` starts between zero and one, of which the recorded policy solved a share."""

    solved: float
    horizon: int = 2
    firsts: int = COUNT
    model: Any = field(default_factory=Line)

    @property
    def starts(self) -> Starts:
        return Starts(torch.linspace(0, 0.99, COUNT)[:, None, None], torch.zeros(COUNT, 0, 1))

    @property
    def outcomes(self) -> tuple[bool, ...]:
        return tuple(i < self.solved * COUNT for i in range(COUNT))


class Push:
    """Goes up by ``step`` a decision, and so solves that many starts in a hundred, twice over."""

    def __init__(self, step: float) -> None:
        self.step = step

    def predict(
        self, observation: Array, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[Array, Any]:
        return np.full((len(observation), 1), self.step), state


def asked(solved: float, recorded: Push, policy: Push, **changes: Any) -> Belief:
    settings: dict[str, Any] = {"figures": None, "slack": 0.0, "discern": 0.2, "guards": Guards(), "seed": 0}
    return believe(World(solved), policy, recorded, **(settings | changes))


def test_a_world_that_agrees_with_what_was_recorded_is_believed() -> None:
    belief = asked(0.5, Push(0.25), Push(0.4), figures={"success_recall": 0.6, "hallucinated_success": 0.3})
    assert belief.holds and (belief.recorded, belief.imagined) == (0.5, 0.5)


@pytest.mark.parametrize(
    ("question", "doubt"),
    [
        ({"solved": 0.1, "recorded": Push(0.25), "policy": Push(0.25)}, "succeeded in 0.10 of 40 episodes"),
        ({"solved": 0.8, "recorded": Push(0.4), "policy": Push(0.1)}, r"begin with \(0.20\) is worse .*\(0.80\)"),
        (
            {"solved": 0.5, "recorded": Push(0.25), "policy": Push(0.25)}
            | {"figures": {"success_recall": 0.45, "hallucinated_success": 0.3}},
            "finds 0.45 of the successes and takes 0.30",
        ),
    ],
)
def test_each_contradiction_is_one_doubt(question: dict[str, Any], doubt: str) -> None:
    belief = asked(**question)
    assert not belief.holds and len(belief.doubts) == 1
    assert re.search(doubt, belief.doubts[0])


def test_who_wants_to_believe_anything_is_not_contradicted() -> None:
    figures = {"success_recall": 0.1, "hallucinated_success": 0.9}
    assert asked(0.1, Push(0.25), Push(0.1), figures=figures, slack=1.0, discern=0.0) == Belief()
