"""How an agent that was trained in the imagination of a world model acts: it reads what it sees as the model does."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
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
class Memory:
    """The last steps of one episode, and its chance."""

    rng: torch.Generator
    tokens: deque[Tensor]
    frames: deque[Tensor]
    acts: deque[Tensor]

    @classmethod
    def fresh(cls, seed: int, *, window: int) -> "Memory":
        """Return that of an episode that begins, all of whose chance comes from ``seed``."""
        # One action fewer than observations: the one that follows the last is yet to be chosen.
        lengths = (window, window, window - 1)
        return cls(torch.Generator().manual_seed(seed), *(deque(maxlen=length) for length in lengths))

    @torch.no_grad()
    def decide(self, model: Any, agent: ActorCritic, seen: Mapping[str, Array], *, deterministic: bool) -> Array:
        """Remember what is seen, and return what an agent then does ``(a,)``, which is remembered too.

        Args:
            model: Reads what was seen and done: ``context``, ``observe`` and ``state`` of ``worldrl.storm.model``.
            agent: Chooses.
            seen: ``tokens`` ``(k, d)``, and ``frames`` ``(3, 64, 64)`` uint8 where they are looked at.
            deterministic: Whether to take the best action rather than a sample.
        """
        self.tokens.append(torch.from_numpy(seen["tokens"]))
        if "frames" in seen:
            self.frames.append(torch.from_numpy(seen["frames"]))
        context = model.context(
            torch.stack([*self.tokens])[None],
            torch.stack([*self.frames])[None] if self.frames else None,
            torch.stack([*self.acts, torch.zeros(agent.acts)])[None],
        )
        latents, hidden, _ = model.observe(context, rng=self.rng, certain=deterministic)
        state = model.state(latents, hidden)
        act = agent.act(state, deterministic=deterministic, rng=self.rng)[0].clamp(-1.0, 1.0)
        self.acts.append(act)
        return np.asarray(act.numpy())


class DreamingPolicy:
    """An agent behind a world model, acting on the observations of that model's imagined environments.

    Args:
        model: As in ``DreamingActor``.
        agent: Chooses.
        split: Takes an observation ``(*o)`` apart into ``tokens``, and ``frames`` where they are looked at.
        window: Steps that it looks back at most.
    """

    def __init__(
        self, model: Any, agent: ActorCritic, *, split: Callable[[Array], Mapping[str, Array]], window: int
    ) -> None:
        self.model, self.agent, self.split, self.window = model, agent, split, window

    def begin(self, seed: int) -> Memory:
        """Return the memory with which an episode starts; all chance in it comes from ``seed``."""
        return Memory.fresh(seed, window=self.window)

    def act(self, obs: Array, memories: Sequence[Memory], *, deterministic: bool) -> Array:
        """Return the actions ``(b, a)`` in ``[-1, 1]``, one-hot where they are discrete, for ``obs`` ``(b, *o)``."""
        return np.stack([
            memory.decide(self.model, self.agent, self.split(one), deterministic=deterministic)
            for one, memory in zip(obs, memories, strict=True)
        ])  # fmt: skip


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
        self._memories: dict[int, Memory] = {}

    def begin(self, slot: int, env: Any, seed: int) -> None:
        """Start an episode in a slot; all chance in it comes from ``seed``.

        Raises:
            CheckpointError: If the environment labels other objects than the pipeline was fitted on.
        """
        check_objects(self.pipeline, env)
        self._memories[slot] = Memory.fresh(seed, window=self.window)

    def act(self, observations: list[Any], envs: list[Any], slots: Array) -> Array:
        """Return actions ``(b, a)`` in ``[-1, 1]``, or ``(b,)`` integers where they are discrete.

        What was seen and done is left in ``seen`` by slot, as a replay buffer takes it.
        """
        tokens = observe(self.pipeline, observations, envs)
        frames = None if self.shrink is None else self.shrink(np.stack([obs["image"] for obs in observations]))
        acts = []
        for i, slot in enumerate(slots):
            seen = {"tokens": tokens[i]} | ({} if frames is None else {"frames": frames[i]})
            memory = self._memories[int(slot)]
            act = memory.decide(self.model, self.agent, seen, deterministic=self.deterministic)
            self.seen[int(slot)] = seen | {"acts": act}
            acts.append(act)
        if isinstance(envs[0].action_space, Discrete):
            return np.array([int(act.argmax()) for act in acts])
        return np.stack(acts)
