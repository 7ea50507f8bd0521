"""How an agent that was trained in the imagination of a world model acts: it reads what it sees as the model does."""

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Discrete
from torch import Tensor

from worldrl.agents.actor_critic import ActorCritic
from worldrl.agents.observing import check_objects, observe
from worldrl.types import Array


@dataclass
class _Memory:
    """The last steps of one episode, and its chance."""

    rng: torch.Generator
    tokens: deque[Tensor]
    frames: deque[Tensor]
    acts: deque[Tensor]


class DreamingActor:
    """An actor behind a world model and an observation pipeline.

    Args:
        model: Reads what was seen and done: ``context``, ``observe`` and ``state`` of ``worldrl.storm.model``.
        agent: Chooses.
        pipeline: Called with frames, proprioception and labels.
        shrink: Makes frames ``(b, 3, 64, 64)`` uint8 of what the environment shows; None where they are not looked at.
        window: Steps that it looks back at most.
        deterministic: Whether to take the best action rather than a sample.
    """

    def __init__(
        self, model: Any, agent: ActorCritic, pipeline: Any, *, shrink: Any, window: int, deterministic: bool
    ) -> None:
        self.model, self.agent, self.pipeline, self.shrink = model, agent, pipeline, shrink
        self.window, self.deterministic = window, deterministic
        self.seen: dict[int, dict[str, Array]] = {}
        self._memories: dict[int, _Memory] = {}

    def begin(self, slot: int, env: Any, seed: int) -> None:
        """Start an episode in a slot; all chance in it comes from ``seed``.

        Raises:
            CheckpointError: If the environment labels other objects than the pipeline was fitted on.
        """
        check_objects(self.pipeline, env)
        rng = torch.Generator().manual_seed(seed)
        # One action fewer than observations: the one that follows the last is yet to be chosen.
        lengths = (self.window, self.window, self.window - 1)
        self._memories[slot] = _Memory(rng, *(deque(maxlen=length) for length in lengths))

    def act(self, observations: list[Any], envs: list[Any], slots: Array) -> Array:
        """Return actions ``(b, a)`` in ``[-1, 1]``, or ``(b,)`` integers where they are discrete.

        What was seen and done is left in ``seen`` by slot, as a replay buffer takes it.
        """
        tokens = observe(self.pipeline, observations, envs)
        frames = None if self.shrink is None else self.shrink(np.stack([obs["image"] for obs in observations]))
        acts = []
        for i, slot in enumerate(slots):
            seen = {"tokens": tokens[i]} | ({} if frames is None else {"frames": frames[i]})
            act = self._one(self._memories[int(slot)], seen)
            self.seen[int(slot)] = seen | {"acts": act}
            acts.append(act)
        if isinstance(envs[0].action_space, Discrete):
            return np.array([int(act.argmax()) for act in acts])
        return np.stack(acts)

    @torch.no_grad()
    def _one(self, memory: _Memory, seen: dict[str, Array]) -> Array:
        memory.tokens.append(torch.from_numpy(seen["tokens"]))
        if "frames" in seen:
            memory.frames.append(torch.from_numpy(seen["frames"]))
        blank = torch.zeros(self.agent.acts)
        context = self.model.context(
            torch.stack([*memory.tokens])[None],
            torch.stack([*memory.frames])[None] if memory.frames else None,
            torch.stack([*memory.acts, blank])[None],
        )
        latents, hidden, _ = self.model.observe(context, rng=memory.rng, certain=self.deterministic)
        state = self.model.state(latents, hidden)
        act = self.agent.act(state, deterministic=self.deterministic, rng=memory.rng)[0].clamp(-1.0, 1.0)
        memory.acts.append(act)
        return np.asarray(act.numpy())
