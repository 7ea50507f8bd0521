"""A refinement that goes on after a stop: what it is made of between two rollouts, as plain tensors and numbers."""

import random
from collections.abc import Mapping
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor

from worldrl import checkpoint, resuming, signals
from worldrl.checkpoint import Checkpoint
from worldrl.resuming import Parts, Stops, within
from worldrl.types import Array


class Restorable(Protocol):
    """An environment whose state can be taken and put back, as plain tensors."""

    def state(self) -> dict[str, Tensor]: ...  # noqa: D102

    def restore(self, state: Mapping[str, Tensor]) -> None: ...  # noqa: D102


class Notes:
    """Notes where a refinement is at the beginning of every rollout, and keeps that now and then.

    A refinement that goes on from there ends as one that was never stopped, bit for bit on the same machine: weights,
    optimiser, strength of the anchor, steps, candidates, environments, and the generators of torch, numpy and Python.
    What stable-baselines3 logs (means over the last hundred episodes, seconds) begins anew.

    Args:
        stops: Where it is kept, and after how many rollouts each time.
        about: What tells this refinement from others, as plain JSON.
        env: What it learns in.
    """

    def __init__(self, stops: Stops, about: Mapping[str, Any], env: Restorable) -> None:
        self.stops, self.about, self.env = stops, about, env
        self._tensors, self._numbers = dict[str, Tensor](), dict[str, Any]()
        self._last = 0

    def recall(self, learner: Any) -> Checkpoint | None:
        """Make a learner, its environment and all chance what they were when they were kept; None if they were not.

        Raises:
            CheckpointError: If what was kept is damaged.
            ConfigError: If it is of a refinement with other options.
        """
        kept = resuming.find(self.stops.folder, self.about)
        if kept is None:
            return None
        _parts(learner).restore(kept)
        with checkpoint.described(kept.path, "this refinement"):
            self._last = int(kept.config["rollouts"])
            learner.num_timesteps, learner._n_updates = int(kept.config["steps"]), int(kept.config["updates"])
            learner.ent_coef = float(kept.config["anchor"])
            learner._last_obs = kept.tensors["last_obs"].numpy()
            learner._last_episode_starts = kept.tensors["begins"].numpy()
            self.env.restore(within(kept.tensors, "env."))
            self.stops.curves.restore(kept.config.get("curves", {}))
            _set_chance(kept.tensors, kept.config)
        self.stops.tell(f"found {self.stops.folder.name}, goes on after {learner.num_timesteps} imagined steps")
        return kept

    def take(self, learner: Any, *, rollouts: int, candidates: dict[str, Tensor]) -> None:
        """Note where a refinement is before its next rollout, and keep it if it is time.

        Args:
            learner: As it is after its last update.
            rollouts: Done so far.
            candidates: All that were kept so far.
        """
        tensors = _parts(learner).tensors() | {f"env.{name}": tensor for name, tensor in self.env.state().items()}
        tensors |= {"last_obs": torch.tensor(learner._last_obs), "begins": torch.tensor(learner._last_episode_starts)}
        chance, numbers = _chance()
        self._tensors = {name: tensor.detach().clone() for name, tensor in (tensors | chance).items()} | candidates
        self._numbers = numbers | _parts(learner).numbers() | {
            "rollouts": rollouts, "steps": learner.num_timesteps, "updates": learner._n_updates,
            "anchor": float(learner.ent_coef), "curves": self.stops.curves.state(),
        }  # fmt: skip
        if rollouts - self._last >= self.stops.every:
            self._keep()

    def grant(self) -> None:
        """Keep the last notes and stop, if a signal asked for it; what came after them is done again later.

        Raises:
            Stopped: If so.
        """
        if signals.stopping():
            self._keep()
            signals.grant()

    def _keep(self) -> None:
        resuming.keep(self.stops.folder, self.about, self._numbers, self._tensors)
        self._last = self._numbers["rollouts"]


def _parts(learner: Any) -> Parts:
    return Parts({"policy": learner.policy}, {"optimizer": learner.policy.optimizer})


def _chance() -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the state of the generators that stable-baselines3 draws from: torch's, numpy's and Python's."""
    _, keys, place, has_gauss, gauss = cast(tuple[str, Array, int, int, float], np.random.get_state())
    version, numbers, normal = random.getstate()
    tensors = {"torch": torch.get_rng_state(), "numpy": torch.tensor(keys.astype(np.int64))}
    tensors["python"] = torch.tensor(numbers)
    told = {"numpy": [int(place), int(has_gauss), float(gauss)], "python": [version, normal]}
    return {f"chance.{name}": tensor for name, tensor in tensors.items()}, told


def _set_chance(tensors: Mapping[str, Tensor], told: Mapping[str, Any]) -> None:
    place, has_gauss, gauss = told["numpy"]
    version, normal = told["python"]
    keys = tensors["chance.numpy"].numpy().astype(np.uint32)
    np.random.set_state(("MT19937", keys, place, has_gauss, gauss))
    random.setstate((version, tuple(tensors["chance.python"].tolist()), normal))
    torch.set_rng_state(tensors["chance.torch"].clone())
