"""Training a diffusion policy on demonstrations: windows of them, and a running average of the weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from worldrl.agents.diffusion_policy import DiffusionPolicy
from worldrl.errors import DataError, NumericsError
from worldrl.resuming import Parts, Progress, Stops, run_steps
from worldrl.types import Array


@dataclass(frozen=True)
class Windows:
    """Every step of some episodes, with the observations before it and the actions from it on.

    Before an episode began its first observation stands in, and after it ended its last action.

    Attributes:
        seen: ``(m, *o)`` float32, all observations; each is kept once.
        rows: ``(n, t)`` int64, the rows of ``seen`` that each window looks at, newest last.
        chunks: ``(n, h, a)`` float32.
    """

    seen: Tensor
    rows: Tensor
    chunks: Tensor

    @classmethod
    def of(cls, obs: Sequence[Array], acts: Sequence[Array], *, past: int, horizon: int) -> "Windows":
        """Cut episodes into windows.

        Args:
            obs: ``(t_i+1, *o)`` of each episode.
            acts: ``(t_i, a)`` of each episode.
            past: Observations a window looks at.
            horizon: Actions of a window.

        Raises:
            DataError: If there is no step, or lengths do not fit together.
        """
        for o, a in zip(obs, acts, strict=True):
            if len(o) != len(a) + 1:
                raise DataError(f"an episode must have one more obs than acts, got {len(o)} and {len(a)}.")
        if not sum(map(len, acts)):
            raise DataError("episodes must hold a step, got none: collect some.")
        first = np.cumsum([0, *map(len, obs)])
        rows, chunks = [], []
        for start, act in zip(first, acts, strict=False):
            steps = np.arange(len(act))[:, None]
            rows.append(start + (steps + np.arange(1 - past, 1)).clip(0))
            chunks.append(act[(steps + np.arange(horizon)).clip(max=len(act) - 1)])
        return cls(
            torch.as_tensor(np.concatenate(obs), dtype=torch.float32),
            torch.as_tensor(np.concatenate(rows)),
            torch.as_tensor(np.concatenate(chunks), dtype=torch.float32),
        )

    def __len__(self) -> int:
        return len(self.rows)


def clone_chunks(
    policy: DiffusionPolicy,
    windows: Windows,
    *,
    steps: int,
    batch_size: int = 256,
    lr: float = 3e-4,
    blur: float = 0.05,
    price: float = 0.0,
    seed: int = 0,
    stops: Stops | None = None,
    about: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> float:
    """Fit a diffusion policy to demonstrations; the weights that are kept are a running average.

    Args:
        policy: Changed in place, and left in evaluation mode.
        windows: Of the demonstrations, as long as the policy's own.
        steps: Gradient steps.
        batch_size: Windows a step.
        lr: Learning rate, falling to zero along a cosine.
        blur: Standard deviation of the noise added to observations, so that few demonstrations are not memorised.
        price: Added to the loss for every object whose gate is open (``worldrl.objects.gated``); 0 leaves all open.
        seed: Of batches and noise.
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
    policy.train()
    averaged = AveragedModel(policy, avg_fn=warm_average)
    gates, weights = policy.gates(), list(policy.parameters())
    groups = [{"params": weights}] if gates is None else gates.parameter_groups(weights)
    if gates is not None:
        gates.gate.requires_grad_(price > 0)
    optimizer = torch.optim.AdamW(groups, lr=lr, weight_decay=1e-2, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)

    def take(step: int) -> float:
        index = torch.randint(len(windows), (batch_size,), generator=rng)
        past = windows.seen[windows.rows[index]]
        past = past + blur * torch.randn(past.shape, generator=rng)
        loss = policy.loss(past, windows.chunks[index], generator=rng)
        if not torch.isfinite(loss):
            raise NumericsError(f"the denoising loss is {loss.item()} at step {step}: lower lr or check the data.")
        told = loss.item()
        if gates is not None:
            loss = loss + price * gates.cost()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        averaged.update_parameters(policy)
        return told

    parts = Parts(
        {"policy": policy, "averaged": averaged}, {"optimizer": optimizer}, {"schedule": schedule}, {"rows": rng}
    )
    mean = run_steps(take, steps=steps, parts=parts, stops=stops, about=about, progress=progress)
    policy.load_state_dict(averaged.module.state_dict())
    policy.eval()
    return mean


def warm_average(average: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
    """Return the next running average after ``count`` earlier ones: short at first, then ever longer.

    Source: the power of 3/4 and the limit are those of Diffusion Policy's published code.
    """
    keep = min(0.9999, 1.0 - float(1 + count) ** -0.75)
    return average.lerp(current, 1.0 - keep)
