"""Behaviour cloning: the log-likelihood of recorded actions under a Gaussian policy."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from worldrl.agents.policy import GaussianPolicy
from worldrl.errors import DataError, NumericsError
from worldrl.resuming import Parts, Progress, Stops, run_steps


def clone(
    policy: GaussianPolicy,
    obs: Tensor,
    acts: Tensor,
    *,
    steps: int = 1500,
    batch_size: int = 256,
    lr: float = 1e-3,
    weight_decay: float = 1e-2,
    blur: float = 0.05,
    price: float = 0.6,
    weights: Tensor | None = None,
    seed: int = 0,
    stops: Stops | None = None,
    about: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> float:
    """Fit the actor to recorded actions; the standard deviation stays as it is.

    Args:
        policy: Changed in place, and left in evaluation mode.
        obs: ``(n, *o)``.
        acts: ``(n, a)`` in ``[-1, 1]``.
        steps: Gradient steps.
        batch_size: Rows a step.
        lr: Learning rate, falling to zero along a cosine.
        weight_decay: Of AdamW.
        blur: Standard deviation of the noise added to observations, so that few demonstrations are not memorised.
        price: Added to the loss for every object whose gate is open (``worldrl.objects.gated``).
        weights: ``(n,)``, how often each row is drawn in proportion to the others; None for equally often.
        seed: Of batches and noise.
        stops: What to go on from after a stop, and to keep for one; None for neither.
        about: What tells this training from others, as plain JSON.
        progress: Called with the step and the loss.

    Returns:
        The mean loss (negative log-likelihood) of the last tenth of the steps.

    Raises:
        DataError: If there is nothing to clone or the shapes do not fit together.
        NumericsError: If the loss is not finite.
        CheckpointError: If what ``stops`` kept is damaged.
        ConfigError: If it is of a training with other options.
    """
    if len(obs) == 0 or len(obs) != len(acts):
        raise DataError(f"obs and acts must be equally many and not none, got {len(obs)} and {len(acts)}.")
    if obs.shape[1:] != policy.observation_space.shape or acts.shape[1:] != policy.action_space.shape:
        expected = (policy.observation_space.shape, policy.action_space.shape)
        raise DataError(
            f"rows of obs and acts must be {expected}, got {(tuple(obs.shape[1:]), tuple(acts.shape[1:]))}."
        )
    rng = torch.Generator().manual_seed(seed)
    policy.set_training_mode(True)
    trained, gates = [p for p in policy.actor_parameters() if p is not policy.log_std], policy.gates()
    groups = [{"params": trained}]
    if gates is not None:
        gates.gate.requires_grad_(True)
        groups = gates.parameter_groups(trained)
    optimizer = torch.optim.AdamW(groups, lr=lr, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    sigma = policy.log_std.detach().exp()
    chances = torch.ones(len(obs)) if weights is None else weights

    def take(step: int) -> float:
        rows = torch.multinomial(chances, batch_size, replacement=True, generator=rng)
        seen = obs[rows] + blur * torch.randn(obs[rows].shape, generator=rng)
        likely = torch.distributions.Normal(policy.mean(seen), sigma, validate_args=False)
        loss: Tensor = -likely.log_prob(acts[rows]).sum(dim=-1).mean()  # type: ignore[no-untyped-call]
        if not torch.isfinite(loss):
            raise NumericsError(f"the cloning loss is {loss.item()} at step {step}: lower lr or check the data.")
        told = loss.item()
        if gates is not None:
            loss = loss + price * gates.cost()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        return told

    parts = Parts({"policy": policy}, {"optimizer": optimizer}, {"schedule": schedule}, {"rows": rng})
    mean = run_steps(take, steps=steps, parts=parts, stops=stops, about=about, progress=progress)
    policy.share_gates()
    policy.set_training_mode(False)
    return mean
