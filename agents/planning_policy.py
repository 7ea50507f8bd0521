"""A planner as a policy: it remembers what it saw, did and planned, and plans anew in every step."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from einops import repeat

from worldrl.agents.observing import check_objects, observe
from worldrl.agents.planning import Planner
from worldrl.types import Array


class Memory(NamedTuple):
    """What ``b`` episodes have come to: ``state`` in the signature of stable-baselines3's recurrent policies.

    ``obs`` ``(b, t, *o)`` are the last observations and ``acts`` ``(b, t-1, a)`` the actions between them; ``plan``
    ``(b, h, a)`` is the last plan, zeros before there is one; ``keys`` ``(b, 2)`` are their seeds and steps, from which
    the planner's chance follows.
    """

    obs: Array
    acts: Array
    plan: Array
    keys: Array


class PlanningPolicy:
    """A policy that plans.

    Args:
        planner: Plans from histories.
        device: Where its model is.
    """

    def __init__(self, planner: Planner, *, device: str = "cpu") -> None:
        self.planner, self.device = planner, device

    def begin(self, first: Array, *, seeds: Sequence[int]) -> Memory:
        """Remember episodes that have just begun, padded as recorded ones are (``worldrl.data.segments``).

        Args:
            first: The first observations ``(b, *o)``, which stand in for what was before, with zero actions.
            seeds: Of the episodes.
        """
        model, b = self.planner.model, len(first)
        return Memory(
            obs=repeat(first, "b ... -> b t ...", t=model.history),
            acts=np.zeros((b, model.history - 1, model.act_dim), np.float32),
            plan=np.zeros((b, self.planner.horizon, model.act_dim), np.float32),
            keys=np.array([(seed, 0) for seed in seeds], np.int64),
        )

    def see(self, memory: Memory, newest: Array) -> Memory:
        """Remember the observations ``(b, *o)`` too, and forget the oldest."""
        return memory._replace(obs=np.concatenate([memory.obs, newest[:, None]], axis=1)[:, 1:])

    def choose(self, memory: Memory) -> tuple[Array, Memory]:
        """Plan, and return the first actions ``(b, a)`` with the memory of what was planned and done.

        Raises:
            NumericsError: If what the model imagines is not finite.
        """
        obs, acts, last = (torch.from_numpy(part).to(self.device) for part in memory[:3])
        plan = self.planner.plan(obs, acts, last=last, keys=memory.keys).acts.cpu().numpy()
        acted = np.concatenate([memory.acts, plan[:, :1]], axis=1)[:, 1:]
        return plan[:, 0], memory._replace(acts=acted, plan=plan, keys=memory.keys + np.array([0, 1]))

    def predict(
        self,
        observation: Any,
        state: tuple[Array, ...] | None = None,
        episode_start: Array | None = None,
        deterministic: bool = True,
    ) -> tuple[Array, tuple[Array, ...]]:
        """Return the actions ``(b, a)`` for the newest observations ``(b, *o)``, and the memory for the next call.

        Args:
            observation: The newest observations.
            state: The memory that the last call returned; None at the beginning.
            episode_start: Where episodes have just begun ``(b,)``, whatever ``state`` says; None for nowhere.
            deterministic: Not looked at: chance follows from seeds, and an episode begun here has seed 0.
        """
        newest = np.asarray(observation, np.float32)
        fresh = self.begin(newest, seeds=[0] * len(newest))
        if state is None:
            return self.choose(fresh)
        memory = self.see(Memory(*state), newest)
        if episode_start is not None:
            memory = Memory(*(_where(episode_start, *parts) for parts in zip(fresh, memory, strict=True)))
        return self.choose(memory)


class PlanningActor:
    """A planning policy behind an observation pipeline, acting in real environments; all running ones plan together.

    Args:
        policy: Speaks the pipeline's observations.
        pipeline: Called with frames, proprioception and labels.
    """

    def __init__(self, policy: PlanningPolicy, pipeline: Any) -> None:
        self.policy, self.pipeline = policy, pipeline
        self._begun: dict[int, int] = {}
        self._memories: dict[int, Memory] = {}

    def begin(self, slot: int, env: Any, seed: int) -> None:
        """Start an episode in a slot; the planner's chance follows from the episode's seed.

        Raises:
            CheckpointError: If the environment labels other objects than the pipeline was fitted on.
        """
        check_objects(self.pipeline, env)
        self._begun[slot] = seed

    def act(self, observations: list[Any], envs: list[Any], slots: Array) -> Array:
        """Return the actions ``(b, a)`` in ``[-1, 1]``."""
        obs = np.asarray(observe(self.pipeline, observations, envs), np.float32)
        rows = [self._see(slot, newest[None]) for slot, newest in zip(slots.tolist(), obs, strict=True)]
        acts, memory = self.policy.choose(Memory(*(np.concatenate(parts) for parts in zip(*rows, strict=True))))
        for row, slot in enumerate(slots.tolist()):
            self._memories[slot] = Memory(*(part[row : row + 1] for part in memory))
        return acts

    def _see(self, slot: int, newest: Array) -> Memory:
        """Return the memory of one slot with its newest observation; a seed is waiting where an episode begins."""
        if slot in self._begun:
            return self.policy.begin(newest, seeds=[self._begun.pop(slot)])
        return self.policy.see(self._memories[slot], newest)


def _where(mask: Array, new: Array, old: Array) -> Array:
    """Return the rows of ``new`` where the mask ``(b,)`` is True, of ``old`` elsewhere."""
    return np.stack([a if begins else b for begins, a, b in zip(mask, new, old, strict=True)])
