"""Refinement: PPO inside an imagined environment, and the choice of what to keep without a real step."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from torch import Tensor

from worldrl import signals
from worldrl.agents.figures import Figures
from worldrl.agents.imagination import imagine_run
from worldrl.agents.policy import GaussianPolicy
from worldrl.agents.resuming import Notes, Restorable
from worldrl.agents.sb3 import Sb3VecEnv
from worldrl.agents.stopping import Trust
from worldrl.checkpoint import Checkpoint
from worldrl.resuming import Stops, within
from worldrl.types import Array


@dataclass(frozen=True)
class Trial:
    """How a policy does in imagination, from every start once, without exploring.

    ``success`` and ``halted`` are shares of the episodes, ``length`` the mean number of steps of the successful ones
    (infinite if there are none) and ``agreed`` the share of them that the second classifier confirms; ``lengths`` and
    ``wins`` ``(m,)`` say so for every start.
    """

    success: float
    halted: float
    length: float
    agreed: float
    wins: Array
    lengths: Array

    @property
    def count(self) -> int:
        """Return the number of episodes ``m``."""
        return len(self.wins)


@dataclass(frozen=True)
class Candidate:
    """A checkpoint on the way: its weights, the steps it took, how it did in imagination, and how far it has strayed.

    ``divergence`` is the mean Kullback-Leibler divergence from the cloned policy over the starts, in nats.
    """

    state: dict[str, Tensor]
    steps: int
    trial: Trial
    divergence: float


def try_out(env: VectorEnv[Any, Any, Any], policy: Any, *, seed: int) -> Trial:
    """Let a policy act in imagination without exploring, environment ``i`` from start ``i``.

    Args:
        env: An imagined environment in ``SAME_STEP`` mode, with one environment a start.
        policy: Asked for deterministic actions.
        seed: Of the imagination: candidates that are tried under one seed meet the same chances.
    """
    run = imagine_run(env, policy, seed=seed)
    length = float(run.lengths[run.success].mean()) if run.success.any() else float("inf")
    agreed = float(run.agreed[run.success].mean()) if run.success.any() else 1.0
    return Trial(float(run.success.mean()), float(run.halted.mean()), length, agreed, run.success, run.lengths)


def refine(
    policy: GaussianPolicy,
    env: VectorEnv[Any, Any, Any],
    trial: Callable[[Any], Trial],
    *,
    steps: int,
    anchor: float = 0.05,
    trust: Trust | None = None,
    tighten: float = 1.0,
    warm_up: int = 2,
    every: int = 4,
    seed: int = 0,
    stops: Stops | None = None,
    about: Mapping[str, Any] | None = None,
    progress: Callable[[int, Candidate | None], None] | None = None,
    tell: Callable[[int, Mapping[str, float]], None] | None = None,
    **ppo: Any,
) -> list[Candidate]:
    """Refine a cloned policy by PPO in imagination, keeping a candidate now and then.

    Args:
        policy: Where to start; a copy of it is the anchor. Changed in place, and left in evaluation mode.
        env: An imagined environment in ``SAME_STEP`` mode, to learn in.
        trial: Tries a policy out in imagination.
        steps: Imagined steps to learn from.
        anchor: Weight of the divergence from the cloned policy.
        trust: Says when to stop before ``steps``; None to go on to the end.
        tighten: By how much the anchor's weight is multiplied whenever a candidate is not believed, and divided again,
            down to ``anchor``, whenever one is; 1 for a constant anchor.
        warm_up: Updates at the beginning in which only the critic learns.
        every: Updates between candidates.
        seed: Of policy and environment.
        stops: What to go on from after a stop, and after how many rollouts to keep it; None for neither. ``env`` must
            then be ``Restorable``, and ``trial`` draw its chance from a seed of its own.
        about: What tells this refinement from others, as plain JSON.
        progress: Called before each rollout with the steps so far and the candidate, if one was kept.
        tell: Called after each update with the steps so far and its ``figures``, and with every candidate's imagined
            success.
        ppo: Further arguments of stable-baselines3's PPO.

    Returns:
        The candidates in order; the first is the cloned policy itself.

    Raises:
        CheckpointError: If what ``stops`` kept is damaged.
        ConfigError: If it is of a refinement with other options.
        StorageError: If it cannot be kept; what was kept before stays.
        Stopped: If a signal asked for it.
    """
    policy.anchor_to(deepcopy(policy))
    policy.share_gates()
    starts = torch.as_tensor(env.reset(seed=seed)[0])
    keeper = _Keeper(policy, trial, starts, trust or Trust(), warm_up=warm_up, every=every, progress=progress)
    keeper.anchor, keeper.tighten = anchor, tighten
    keeper.figures.tell = tell
    settings = PPO_SETTINGS | ppo
    learner = PPO(_given(policy), Sb3VecEnv(env), ent_coef=anchor, seed=seed, device="cpu", verbose=0, **settings)
    if stops is not None:
        keeper.notes = Notes(stops, about or {}, cast(Restorable, env))
    with nullcontext() if stops is None else signals.patient():
        learner.learn(steps, callback=keeper)
    if not keeper.is_over:
        keeper.keep(learner.num_timesteps)
    policy.set_training_mode(False)
    return keeper.candidates


PPO_SETTINGS: dict[str, Any] = {
    "learning_rate": 3e-4,
    "n_steps": 40,
    "batch_size": 1024,
    "n_epochs": 4,
    "gamma": 0.97,
    "gae_lambda": 0.95,
    "clip_range": 0.2,
    "max_grad_norm": 0.5,
}
"""What PPO is given unless told otherwise (our choice; World4RL publishes none of it)."""


MAX_ANCHOR = 1.0
"""Weight to which an anchor tightens at most (our choice)."""


class _Keeper(BaseCallback):
    """Lets the actor rest while the critic warms up, and keeps candidates."""

    def __init__(
        self,
        policy: GaussianPolicy,
        trial: Callable[[Any], Trial],
        starts: Tensor,
        trust: Trust,
        *,
        warm_up: int,
        every: int,
        progress: Callable[[int, Candidate | None], None] | None,
    ) -> None:
        super().__init__()
        self.actor, self.trial, self.starts, self.trust = policy, trial, starts, trust
        self.anchor, self.tighten, self.is_over = 0.0, 1.0, False
        self.warm_up, self.every, self.report = warm_up, every, progress
        self.candidates: list[Candidate] = []
        self.rollouts, self.notes, self.figures = 0, cast(Notes | None, None), Figures(policy)

    def _on_training_start(self) -> None:
        kept = None if self.notes is None else self.notes.recall(self.model)
        if kept is not None:
            self.num_timesteps, self.rollouts = self.model.num_timesteps, int(kept.config["rollouts"])
            self.candidates = restored(kept)

    def _on_rollout_start(self) -> None:
        self.figures.end(self.model, self.num_timesteps)
        if self.notes is not None:
            self.notes.take(self.model, rollouts=self.rollouts, candidates=packed(self.candidates))
        for parameter in self.actor.actor_parameters():
            parameter.requires_grad_(self.rollouts >= self.warm_up)
        trained = self.rollouts - self.warm_up
        candidate = self.keep(self.num_timesteps) if trained % self.every == 0 and trained >= 0 else None
        if candidate is not None and trained > 0:
            self._heed(candidate)
        if self.report is not None:
            self.report(self.num_timesteps, candidate)
        self.rollouts += 1

    def _on_step(self) -> bool:
        if self.notes is not None:
            self.notes.grant()
        self.figures.add(self.locals["rewards"])
        return not self.is_over

    def _on_training_end(self) -> None:
        self.figures.end(self.model, self.num_timesteps)

    def _heed(self, candidate: Candidate) -> None:
        """Tighten or loosen the anchor, and see whether to stop."""
        factor = 1.0 / self.tighten if self.trust.holds(candidate) else self.tighten
        self.model.ent_coef = float(np.clip(self.model.ent_coef * factor, self.anchor, MAX_ANCHOR))  # type: ignore[attr-defined]
        self.is_over = self.trust.is_over(self.candidates)

    def keep(self, steps: int) -> Candidate:
        """Keep the policy as it is now, and how it does in imagination."""
        self.actor.set_training_mode(False)
        trial = self.trial(self.actor)
        state = {name: tensor.detach().clone() for name, tensor in self.actor.state_dict().items()}
        with torch.no_grad():
            divergence = float(self.actor.divergence(self.starts).mean())
        self.candidates.append(Candidate(state, steps, trial, divergence))
        if self.figures.tell is not None:
            self.figures.tell(steps, {"imagined success": trial.success})
        return self.candidates[-1]


def packed(candidates: Sequence[Candidate]) -> dict[str, Tensor]:
    """Return candidates as tensors."""
    tensors = dict[str, Tensor]()
    for i, one in enumerate(candidates):
        trial = one.trial
        figures = [float(one.steps), one.divergence, trial.success, trial.halted, trial.length, trial.agreed]
        tensors |= {f"candidate/{i}/state.{name}": tensor for name, tensor in one.state.items()}
        tensors[f"candidate/{i}/figures"] = torch.tensor(figures, dtype=torch.float64)
        tensors |= {
            f"candidate/{i}/wins": torch.tensor(trial.wins),
            f"candidate/{i}/lengths": torch.tensor(trial.lengths),
        }
    return tensors


def restored(kept: Checkpoint) -> list[Candidate]:
    """Return the candidates of a refinement that goes on."""
    candidates = list[Candidate]()
    while one := within(kept.tensors, f"candidate/{len(candidates)}/"):
        steps, divergence, success, halted, length, agreed = one["figures"].tolist()
        trial = Trial(success, halted, length, agreed, one["wins"].numpy(), one["lengths"].numpy())
        candidates.append(Candidate(within(one, "state."), int(steps), trial, divergence))
    return candidates


def _given(policy: GaussianPolicy) -> Any:
    """Return a policy class that hands over an existing policy, with an optimiser of its own, to stable-baselines3."""

    def build(observation_space: Any, action_space: Any, lr_schedule: Any, **_: Any) -> GaussianPolicy:
        policy.optimizer = torch.optim.Adam(policy.parameters(), lr=lr_schedule(1), eps=1e-5)
        return policy

    return build
