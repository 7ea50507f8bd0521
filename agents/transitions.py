"""Recorded episodes as transitions, for learners that look one step ahead, and the loop in which they learn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from worldrl.errors import DataError, NumericsError
from worldrl.resuming import Parts, Progress, Stops, run_steps
from worldrl.types import Array


@dataclass(frozen=True)
class Transitions:
    """Steps that were taken.

    Attributes:
        obs: ``(b, *o)``.
        acts: ``(b, a)`` in ``[-1, 1]``, taken in ``obs``.
        rews: ``(b,)``, one where the next observation is a success and zero elsewhere.
        next_obs: ``(b, *o)``.
        ends: ``(b,)``, one where nothing of worth follows and no value may be looked up, zero elsewhere.
    """

    obs: Tensor
    acts: Tensor
    rews: Tensor
    next_obs: Tensor
    ends: Tensor

    def __len__(self) -> int:
        return len(self.acts)


@dataclass(frozen=True)
class Experience:
    """All transitions of some episodes; every observation is kept once.

    Attributes:
        seen: ``(m, *o)`` float32, all observations in the order in which they were made.
        rows: ``(n,)`` int64, where in ``seen`` each transition starts; it leads to the row after it.
        acts: ``(n, a)`` float32.
        success: ``(n,)`` bool, whether the next observation is a success.
    """

    seen: Tensor
    rows: Tensor
    acts: Tensor
    success: Tensor

    @classmethod
    def of(cls, obs: Sequence[Array], acts: Sequence[Array], success: Sequence[Array]) -> "Experience":
        """Join episodes.

        A success ends an episode, and what was recorded beyond it is left out, because acting stops there; that the
        recording stops ends nothing.

        Args:
            obs: ``(t_i+1, *o)`` of each episode.
            acts: ``(t_i, a)`` of each episode.
            success: ``(t_i+1,)`` bool of each episode.

        Raises:
            DataError: If there is no transition, or lengths do not fit together.
        """
        for o, a, s in zip(obs, acts, success, strict=True):
            if not len(o) == len(a) + 1 == len(s):
                raise DataError(
                    f"an episode must have one more obs and success than acts, got {len(o), len(s), len(a)}."
                )
        first = np.cumsum([0, *(len(o) for o in obs)])
        going = [np.flatnonzero(~np.asarray(s[:-1], np.bool_)) for s in success]
        if not sum(map(len, going)):
            raise DataError("episodes must hold a step that does not start in a success, got none: collect some.")
        return cls(
            seen=torch.as_tensor(np.concatenate(obs), dtype=torch.float32),
            rows=torch.as_tensor(np.concatenate([at + steps for at, steps in zip(first, going, strict=False)])),
            acts=torch.as_tensor(np.concatenate([a[i] for a, i in zip(acts, going, strict=True)]), dtype=torch.float32),
            success=torch.as_tensor(np.concatenate([s[i + 1] for s, i in zip(success, going, strict=True)])),
        )

    def __len__(self) -> int:
        return len(self.acts)

    def at(self, index: Tensor) -> Transitions:
        """Return the transitions of ``index`` ``(b,)``."""
        rows, success = self.rows[index], self.success[index].float()
        return Transitions(self.seen[rows], self.acts[index], success, self.seen[rows + 1], success)

    def draw(self, batch_size: int, rng: torch.Generator) -> Transitions:
        """Draw transitions uniformly, with replacement."""
        return self.at(torch.randint(len(self), (batch_size,), generator=rng))


class Learner(Protocol):
    """Whoever learns from one batch of transitions at a time."""

    def update(self, batch: Transitions) -> float:
        """Learn from a batch and return the loss of the critic."""
        ...

    def parts(self) -> Parts:
        """Return all that an update changes."""
        ...


def learn(
    learner: Learner,
    experience: Experience,
    *,
    steps: int,
    batch_size: int = 256,
    seed: int = 0,
    stops: Stops | None = None,
    about: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> float:
    """Let a learner learn from recorded transitions, drawn at random.

    Args:
        learner: Changed in place.
        experience: What was recorded.
        steps: Batches.
        batch_size: Transitions a batch.
        seed: Of the draws.
        stops: What to go on from after a stop, and to keep for one; None for neither.
        about: What tells this training from others, as plain JSON.
        progress: Called with the step and the loss.

    Returns:
        The mean loss of the last tenth of the steps.

    Raises:
        NumericsError: If the loss is not finite.
        CheckpointError: If what ``stops`` kept is damaged.
        ConfigError: If it is of a training with other options.
    """
    rng = torch.Generator().manual_seed(seed)

    def take(step: int) -> float:
        loss = learner.update(experience.draw(batch_size, rng))
        if not np.isfinite(loss):
            raise NumericsError(f"the critic's loss is {loss} at step {step}: lower lr or check the data.")
        return loss

    own = learner.parts()
    parts = replace(own, generators={**own.generators, "rows": rng})
    return run_steps(take, steps=steps, parts=parts, stops=stops, about=about, progress=progress)


def descend(loss: Tensor, optimizer: torch.optim.Optimizer) -> float:
    """Take one gradient step and return the loss."""
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return loss.item()


@torch.no_grad()
def follow(target: nn.Module, source: nn.Module, tau: float) -> None:
    """Move the parameters of a target network towards those of its source by a share ``tau``."""
    for slow, fast in zip(target.parameters(), source.parameters(), strict=True):
        slow.lerp_(fast, tau)
