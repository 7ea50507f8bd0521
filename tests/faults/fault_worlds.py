"""A world model with known answers, which can be told to give anything."""

from typing import Any

import torch
from torch import Tensor

from worldrl.envs.imagined import ImaginedVectorEnv
from worldrl.types import Imagined, Starts

ACTS, HISTORY = 2, 2


class Calm:
    """Every number of an observation moves by the first of the action; success is above one; it never disagrees.

    ``gives`` are figures that it gives instead, by name.
    """

    def __init__(self, *, act_dim: int = ACTS, **gives: float) -> None:
        self.history, self.act_dim, self.obs_shape, self.success_threshold = HISTORY, act_dim, (3,), 0.5
        self.gives, self.calls = gives, 0

    def imagine(self, obs: Tensor, acts: Tensor, *, noise: Tensor, choice: Tensor) -> Imagined:
        self.calls += 1
        out = obs[:, -1] + acts[:, -1, :1]
        figures = {"success": (out[:, 0] >= 1.0).float(), "disagreement": torch.zeros(len(obs))}
        for name, value in self.gives.items():
            figures[name] = torch.full((len(obs),), value)
        return Imagined(out, figures["success"], figures["disagreement"])


def imagined(model: Any, *, num_envs: int = 3, **options: Any) -> ImaginedVectorEnv:
    """Return imagined environments that all start at zero."""
    starts = Starts(torch.zeros(1, HISTORY, 3), torch.zeros(1, HISTORY - 1, model.act_dim))
    return ImaginedVectorEnv(model, starts, num_envs=num_envs, **{"horizon": 100, **options})
