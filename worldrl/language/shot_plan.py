"""Fitting of a few learned numbers to a few examples: epochs, a warm-up, and a cosine."""

from collections.abc import Callable
from dataclasses import dataclass
from math import cos, pi

import torch
from torch import Tensor, nn

from worldrl.errors import ConfigError, NumericsError

WARM = 1e-5
"""Step size of the first epoch, as in CoOp and what follows it."""
DECAY = 5e-4


@dataclass(frozen=True)
class ShotPlan:
    """How something is fitted to examples.

    Attributes:
        rate: Highest step size of AdamW, from the second epoch on; it falls along a cosine.
        epochs: How often all examples are gone through.
        batch: Examples in a step.

    Raises:
        ConfigError: If one is not positive.
    """

    rate: float = 1e-3
    epochs: int = 10
    batch: int = 32

    def __post_init__(self) -> None:
        if min(self.rate, self.epochs, self.batch) <= 0:
            raise ConfigError(f"rate, epochs and batch must be positive, got {self.rate}, {self.epochs}, {self.batch}.")


def fit_to_shots(
    module: nn.Module, loss_of: Callable[[Tensor], Tensor], *, count: int, plan: ShotPlan, seed: int
) -> list[float]:
    """Fit all parameters of a module that ask for a gradient.

    Args:
        module: Changed in place.
        loss_of: The loss of some examples, by their numbers ``(b,)``.
        count: Examples.
        plan: How.
        seed: Of their order.

    Returns:
        The loss of each step.

    Raises:
        NumericsError: If one is not finite.
    """
    learning = [weight for weight in module.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(learning, lr=WARM, weight_decay=DECAY)
    generator, losses = torch.Generator().manual_seed(seed), list[float]()
    for epoch in range(plan.epochs):
        for group in optimiser.param_groups:
            group["lr"] = rate_of(epoch, plan)
        for rows in torch.split(torch.randperm(count, generator=generator), plan.batch):
            loss = loss_of(rows)
            if not torch.isfinite(loss):
                raise NumericsError(f"the loss is {loss.item()} in epoch {epoch}: use a lower rate.")
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            losses.append(loss.item())
    return losses


def rate_of(epoch: int, plan: ShotPlan) -> float:
    """Return the step size of an epoch, from zero: small in the first, then falling from the highest."""
    if epoch == 0 and plan.epochs > 1:
        return min(WARM, plan.rate)
    share = (epoch - 1) / max(plan.epochs - 1, 1) if plan.epochs > 1 else 0.0
    return plan.rate * (1 + cos(pi * share)) / 2
