"""One update of world model and agent from what was lived through."""

from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor, nn

from worldrl.checkpoint import Checkpoint
from worldrl.data.buffer import ReplayBuffer, Window
from worldrl.errors import NumericsError
from worldrl.resuming import Parts
from worldrl.storm.model import StormWorldModel
from worldrl.storm.steps import Steps

MODEL_CLIP, AGENT_CLIP = 1000.0, 100.0
"""Largest norms of the gradients (the released configuration's)."""


class Agent(Protocol):
    """An actor and critic over the states of a world model; see ``worldrl.agents.actor_critic``."""

    def act(self, states: Tensor, *, deterministic: bool = False, rng: torch.Generator | None = None) -> Tensor:
        """Return actions for states ``(b, s)``."""
        ...

    def loss(self, states: Tensor, acts: Tensor, rews: Tensor, goes_on: Tensor) -> tuple[Tensor, dict[str, float]]:
        """Return what training minimises on imagined steps, and its parts."""
        ...

    def follow(self) -> None:
        """Let what is slow follow."""
        ...

    def parameters(self) -> Any:
        """Return what is trained."""
        ...


class Learner:
    """Train a world model on recorded steps, and an agent on steps imagined from there.

    Args:
        model: Changed in place.
        agent: Changed in place.
        batch_size: Windows of an update of the model.
        length: Steps of a window.
        model_lr: Learning rate of the model.
        agent_lr: Learning rate of the agent.
        starts: Imagined episodes of an update of the agent.
        context: Recorded steps before imagination.
        horizon: Imagined steps.
        seed: Of batches and draws.
    """

    def __init__(
        self,
        model: StormWorldModel,
        agent: Agent,
        *,
        batch_size: int,
        length: int,
        model_lr: float,
        agent_lr: float,
        starts: int,
        context: int,
        horizon: int,
        seed: int,
    ) -> None:
        self.model, self.agent = model, agent
        self.batch_size, self.length = batch_size, length
        self.starts, self.context, self.horizon = starts, context, horizon
        self.imagined_steps = 0
        self._model_optimizer = torch.optim.Adam(model.parameters(), lr=model_lr)
        self._agent_optimizer = torch.optim.Adam([p for p in agent.parameters() if p.requires_grad], lr=agent_lr)
        self._rng, self._chance = np.random.default_rng(seed), torch.Generator().manual_seed(seed)

    def fit(self, buffer: ReplayBuffer) -> dict[str, float]:
        """Update the world model and return its losses.

        Raises:
            NumericsError: If its loss is not finite.
        """
        self.model.train()
        loss, parts = self.model.loss(
            steps_of(buffer.sample(self.batch_size, self.length, rng=self._rng)), rng=self._chance
        )
        _descend(loss, self._model_optimizer, self.model, MODEL_CLIP)
        self.model.eval()
        return parts

    def refine(self, buffer: ReplayBuffer) -> dict[str, float]:
        """Update the agent on imagined steps and return its losses.

        Raises:
            NumericsError: If its loss is not finite.
        """
        context = steps_of(buffer.sample(self.starts, self.context, rng=self._rng))
        dream = self.model.dream(
            context, lambda states: self.agent.act(states, rng=self._chance), horizon=self.horizon, rng=self._chance
        )
        self.imagined_steps += dream.rews.numel()
        loss, parts = self.agent.loss(dream.states, dream.acts, dream.rews, dream.goes_on)
        _descend(loss, self._agent_optimizer, self.agent, AGENT_CLIP)
        self.agent.follow()
        return parts

    def parts(self) -> Parts:
        """Return all that an update changes, but for ``numbers``."""
        modules, agent = {"model": self.model}, cast(nn.Module, self.agent)
        optimizers = {"model": self._model_optimizer, "agent": self._agent_optimizer}
        return Parts(modules | {"agent": agent}, optimizers, generators={"draws": self._chance})

    def numbers(self) -> dict[str, Any]:
        """Return the rest of it, as plain JSON."""
        rows = dict(self._rng.bit_generator.state)
        return self.parts().numbers() | {"imagined_steps": self.imagined_steps, "rows": rows}

    def restore(self, kept: Checkpoint) -> None:
        """Make everything what it was.

        Raises:
            CheckpointError: If what was kept does not fit.
        """
        self.parts().restore(kept)
        self._rng.bit_generator.state = kept.config["rows"]
        self.imagined_steps = int(kept.config["imagined_steps"])


def steps_of(window: Window) -> Steps:
    """Return windows as tensors; frames in ``[0, 1]``."""
    return Steps(
        tokens=torch.from_numpy(window.tokens),
        frames=None if window.frames is None else torch.from_numpy(window.frames).float() / 255,
        acts=torch.from_numpy(window.acts),
        rews=torch.from_numpy(window.rews),
        ends=torch.from_numpy(window.ends).float(),
        episodes=torch.from_numpy(window.episodes),
    )


def _descend(loss: Tensor, optimizer: torch.optim.Optimizer, module: Any, clip: float) -> None:
    if not torch.isfinite(loss):
        raise NumericsError(f"the loss must be finite, got {loss.item()}: lower the learning rate.")
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(module.parameters(), clip)
    optimizer.step()
