"""Rows of imagined environments: success head, guards and autoreset included."""

from typing import Any

import numpy as np

from worldrl.recipes.options import WorldModelOptions
from worldrl.recipes.timing.rate import Row, timed

ACTS, HORIZON = 4, 40


def world(obs_shape: tuple[int, ...], options: WorldModelOptions) -> Any:
    """Return an untrained world model of a named shape, frozen; how fast it is does not depend on its weights."""
    from worldrl.world_model.model import DiffusionWorldModel, network

    model = DiffusionWorldModel(
        obs_shape=obs_shape, act_dim=ACTS, history=options.history, steps=options.steps,
        net=network(obs_shape, backbone=options.backbone, size=options.size), action_code=options.action_code,
        sampler=options.sampler,
    ).freeze()  # fmt: skip
    model.halt_threshold = 10.0  # so that halting is computed and episodes go on
    model.success_threshold = 1.0  # an untrained head would end half of them at once; they go on to the horizon
    return model


def imagined(
    model: Any,
    *,
    group: str,
    name: str,
    batch: int,
    seconds: float,
    starts: Any = None,
    horizon: int = HORIZON,
    count: bool = True,
) -> Row:
    """Time ``batch`` imagined environments side by side.

    Args:
        model: The world model.
        group: See ``Row``.
        name: See ``Row``.
        batch: Environments.
        seconds: How long, at least.
        starts: Recorded histories; None for zeros.
        horizon: Steps of an episode.
        count: Whether to count operations, and hold them against the machine's limit.
    """
    import torch

    from worldrl.envs.imagined import ImaginedVectorEnv
    from worldrl.types import Starts

    if starts is None:
        past = (8, model.history - 1, model.act_dim)
        starts = Starts(torch.zeros(8, model.history, *model.obs_shape), torch.zeros(past))
    env = ImaginedVectorEnv(model, starts, num_envs=batch, horizon=horizon)
    env.reset(seed=0)
    act = np.zeros((batch, model.act_dim), np.float32)
    parameters = sum(p.numel() for p in model.denoiser.net.parameters())
    row = timed(
        lambda: env.step(act), group=group, name=name, unit="env steps", seconds=seconds, batch=batch,
        steps=model.evaluations, parameters=parameters,
        moved=None if count else 0,
    )  # fmt: skip
    env.close()
    return row
