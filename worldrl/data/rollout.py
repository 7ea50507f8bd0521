"""The one loop in which policies meet environments: for recording, for evaluation, for statistics.

Every episode depends on its seed alone: it does not matter how many environments run side by side, nor which of them
takes which seed, as long as environment and actor draw all their randomness from the seed they were begun with.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, cast, overload, runtime_checkable

import gymnasium as gym
import numpy as np

from worldrl.data.episode import check_episode
from worldrl.errors import DataError, NumericsError
from worldrl.types import Array, Episode, SimulatedEnv

Observation = dict[str, Array]
AnyEnv = gym.Env[Any, Any]
Act = Callable[[list[Observation], list[AnyEnv], Array], Array]


@runtime_checkable
class Actor(Protocol):
    """Whoever acts in several environments at once, and keeps what it must remember by slot."""

    def begin(self, slot: int, env: AnyEnv, seed: int) -> None:
        """Forget the last episode of ``slot``; ``env`` has just been reset with ``seed``."""
        ...

    def act(self, observations: list[Observation], envs: list[AnyEnv], slots: Array) -> Array:
        """Return the actions ``(b, a)`` for ``b`` observations in the environments of ``slots`` ``(b,)``."""
        ...


@dataclass(frozen=True)
class Outcome:
    """How an episode went: whether it ever succeeded, its steps, and its return, the sum of rewards."""

    seed: int
    success: bool
    length: int
    ret: float


@overload
def roll_out(
    envs: Sequence[AnyEnv],
    act: Actor | Act,
    *,
    seeds: Sequence[int],
    record: Literal[True],
    policy: str = ...,
    beyond: int = ...,
    on_episode: Callable[[Any], None] | None = ...,
    progress: Callable[[int, int], None] | None = ...,
) -> list[Episode]: ...


@overload
def roll_out(
    envs: Sequence[AnyEnv],
    act: Actor | Act,
    *,
    seeds: Sequence[int],
    record: Literal[False],
    policy: str = ...,
    beyond: int = ...,
    on_episode: Callable[[Any], None] | None = ...,
    progress: Callable[[int, int], None] | None = ...,
) -> list[Outcome]: ...


def roll_out(
    envs: Sequence[AnyEnv],
    act: Actor | Act,
    *,
    seeds: Sequence[int],
    record: bool,
    policy: str = "policy",
    beyond: int = 0,
    on_episode: Callable[[Any], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Episode] | list[Outcome]:
    """Run one episode for every seed, in as many slots as there are environments.

    Args:
        envs: Environments of this package, each built once; observations are ``{"image", "proprio"}``.
        act: An actor, or a function from observations, environments and slots to actions ``(b, a)``, asked once a
            tick for all running slots.
        seeds: One episode each; the results are in this order.
        record: Whether to keep whole episodes, with labels and simulator states, rather than outcomes.
        policy: The name recorded for whoever acts.
        beyond: Decisions that an episode goes on after its first success, if the environment does not end it there.
        on_episode: Called with each result as it is finished.
        progress: Called with the number of finished episodes and of all.

    Raises:
        ValueError: If there is no environment.
        DataError: If actions have the wrong shape or leave the action space, or a recorded episode is not sound.
        NumericsError: If an action or a reward is not finite.
    """
    if not envs:
        raise ValueError("envs must hold at least 1 environment, got 0.")
    results: dict[int, Any] = {}
    for run in _finished(envs, act if isinstance(act, Actor) else _Function(act), seeds, record, beyond):
        results[run.index] = result = run.episode(policy) if record else run.outcome()
        if on_episode is not None:
            on_episode(result)
        if progress is not None:
            progress(len(results), len(seeds))
    return [results[index] for index in range(len(seeds))]


def _finished(
    envs: Sequence[AnyEnv], actor: Actor, seeds: Sequence[int], record: bool, beyond: int
) -> "Iterator[_Run]":
    """Yield the runs of all seeds as they finish; a slot that becomes free takes the next seed."""
    waiting = list(enumerate(seeds))[::-1]
    free = list(range(len(envs)))[::-1]
    running: list[_Run] = []
    while waiting or running:
        while waiting and free:
            slot = free.pop()
            running.append(_Run(envs[slot], slot, *waiting.pop(), record=record))
            actor.begin(slot, envs[slot], running[-1].seed)
        for run, act in zip(running, _ask(actor, running), strict=True):
            run.step(act, beyond=beyond)
        for run in [run for run in running if run.is_over]:
            yield run
            running.remove(run)
            free.append(run.slot)


class _Function:
    """A function that acts and remembers nothing."""

    def __init__(self, function: Act) -> None:
        self.act = function

    def begin(self, slot: int, env: AnyEnv, seed: int) -> None:
        """Do nothing."""


class _Run:
    """One running episode and, if it is recorded, all that was seen of it."""

    def __init__(self, env: AnyEnv, slot: int, index: int, seed: int, *, record: bool) -> None:
        self.env, self.slot, self.index, self.seed, self.record = env, slot, index, int(seed), record
        self.sim = cast(SimulatedEnv, env.unwrapped)
        self.seen: dict[str, list[Any]] = {name: [] for name in ("frames", "labels", "proprio", "states")}
        self.acts: list[Array] = []
        self.rews: list[float] = []
        self.success: list[bool] = []
        self.end = self.trunc = self.is_over = False
        self.obs, info = env.reset(seed=self.seed)
        self._see(info)
        if record:
            self.fields = {name: np.array(array) for name, array in self.sim.fields().items()}
            self.params = dict(self.sim.params())

    def step(self, act: Array, *, beyond: int) -> None:
        """Take one action."""
        self.obs, reward, end, trunc, info = self.env.step(act)
        rew = float(reward)
        if not math.isfinite(rew):
            raise NumericsError(f"reward must be finite, got {rew} (seed {self.seed}, step {len(self.acts)}).")
        self.acts.append(act)
        self.rews.append(rew)
        self.end, self.trunc = bool(end), bool(trunc)
        self._see(info)
        past = len(self.success) - 1 - self.success.index(True) if True in self.success else -1
        self.is_over = self.end or self.trunc or past >= beyond

    def outcome(self) -> Outcome:
        """Return how it went."""
        return Outcome(self.seed, any(self.success), len(self.acts), sum(self.rews))

    def episode(self, policy: str) -> Episode:
        """Return all of it, checked."""
        episode = Episode(
            frames=np.stack(self.seen["frames"]),
            labels=np.stack(self.seen["labels"]),
            proprio=np.stack(self.seen["proprio"]).astype(np.float32),
            acts=np.stack(self.acts),
            rews=np.array(self.rews, dtype=np.float32),
            success=np.array(self.success, dtype=np.bool_),
            states=np.stack(self.seen["states"]).astype(np.float64),
            end=self.end,
            trunc=self.trunc,
            seed=self.seed,
            policy=policy,
            fields=self.fields,
            params=self.params,
        )
        check_episode(episode)
        return episode

    def _see(self, info: dict[str, Any]) -> None:
        if "success" not in info:
            raise DataError(f"info must hold 'success' after reset and step, got {sorted(info)} (seed {self.seed}).")
        self.success.append(bool(info["success"]))
        if self.record:
            views = (self.obs["image"], self.sim.labels(), self.obs["proprio"], self.sim.state())
            for name, view in zip(self.seen, views, strict=True):
                self.seen[name].append(np.array(view))


def _ask(actor: Actor, running: list[_Run]) -> Array:
    """Ask for one action ``(b, a)`` a running slot, and check each."""
    slots = np.array([run.slot for run in running], dtype=np.int64)
    asked = actor.act([run.obs for run in running], [run.env for run in running], slots)
    if isinstance(running[0].env.action_space, gym.spaces.Discrete):
        return _discrete(np.array(asked), running)
    acts = np.array(asked, dtype=np.float32)
    space = cast(gym.spaces.Box, running[0].env.action_space)
    if acts.shape != (len(running), *space.shape):
        raise DataError(f"actions must be {(len(running), *space.shape)}, got {acts.shape}: that is another policy's.")
    for run, act in zip(running, acts, strict=True):
        where = f"(seed {run.seed}, step {len(run.acts)})"
        if not np.isfinite(act).all():
            raise NumericsError(f"action must be finite, got {act.tolist()} {where}.")
        if (act < space.low).any() or (act > space.high).any():
            raise DataError(f"action must lie in the action space, got {act.tolist()} {where}: clip it in the policy.")
    return acts


def _discrete(acts: Array, running: list[_Run]) -> Array:
    """Return actions ``(b,)`` once each is one of those there are."""
    space = cast(gym.spaces.Discrete, running[0].env.action_space)
    if acts.shape != (len(running),) or not np.issubdtype(acts.dtype, np.integer):
        raise DataError(
            f"actions must be {len(running)} integers, got {acts.dtype} {acts.shape}: that is no discrete one."
        )
    for run, act in zip(running, acts, strict=True):
        if not space.contains(act):
            where = f"(seed {run.seed}, step {len(run.acts)})"
            raise DataError(f"action must be one of 0 to {space.n - 1}, got {act} {where}.")
    return acts
