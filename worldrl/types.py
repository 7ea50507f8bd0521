"""Nouns that cross rooms, as frozen dataclasses and protocols.

Sizes in shapes: ``b`` batch, ``t`` time, ``k`` tokens, ``d`` numbers a token, ``p`` patches, ``a`` action,
``h w`` pixels, ``n`` environments, ``*o`` the shape of one observation (``k d`` for tokens, ``c h w`` for frames).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
from torch import Tensor

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Features:
    """What a frozen encoder says of a batch of frames.

    ``cls`` ``(b, d)`` one vector a frame; ``patches`` ``(b, p, d)`` in row-major order over ``grid`` (rows, columns).
    """

    cls: Tensor
    patches: Tensor
    grid: tuple[int, int]


@dataclass(frozen=True)
class Episode:
    """What happened in one episode of ``t`` steps, so that any moment of it can be restored and replayed.

    Attributes:
        frames: ``(t+1, h, w, 3)`` uint8.
        labels: ``(t+1, h, w)`` uint8; 0 is background, ``i + 1`` the ``i``-th object of the environment.
        proprio: ``(t+1, q)`` float32.
        acts: ``(t, a)`` float32 in ``[-1, 1]``.
        rews: ``(t,)`` float32.
        success: ``(t+1,)`` bool, whether the task is solved in each observation.
        states: ``(t+1, s)`` float64, ``mjSTATE_INTEGRATION`` of each observation.
        fields: The model fields that the reset changed, by name (empty where a task changes none).
        params: The task's own parameters as plain JSON values.
        end: Whether the last step terminated the episode.
        trunc: Whether the last step truncated it.
        seed: The seed it was reset with.
        policy: Who chose the actions: ``expert``, ``noisy_expert``, ``random`` or a policy's name.
    """

    frames: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.uint8]
    proprio: npt.NDArray[np.float32]
    acts: npt.NDArray[np.float32]
    rews: npt.NDArray[np.float32]
    success: npt.NDArray[np.bool_]
    states: npt.NDArray[np.float64]
    end: bool
    trunc: bool
    seed: int
    policy: str
    fields: Mapping[str, Array] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.acts)


@dataclass(frozen=True)
class Starts:
    """Where imagined episodes may start: recorded histories.

    ``obs`` ``(m, t, *o)`` and the ``acts`` ``(m, t-1, a)`` between them.
    """

    obs: Tensor
    acts: Tensor

    def __len__(self) -> int:
        return len(self.obs)


@dataclass(frozen=True)
class Imagined:
    """One imagined step of a batch.

    ``obs`` ``(b, *o)`` the next observation; ``success`` ``(b,)`` the probability that it is a success;
    ``disagreement`` ``(b,)`` how far the ensemble is apart, in units of the halting threshold: above 1 it has left the
    data. From models that have a second classifier, also ``agreed`` ``(b,)``, 1 where it calls it a success too and 0
    where not.
    """

    obs: Tensor
    success: Tensor
    disagreement: Tensor
    agreed: Tensor | None = None


@dataclass(frozen=True)
class ImaginedRun:
    """What a policy did in imagination, once from each of ``m`` starts.

    Attributes:
        acts: ``(m, s, a)`` float32 in ``[-1, 1]``; zero after an episode's end.
        lengths: ``(m,)`` int64, the steps until it succeeded, halted or was truncated; ``s`` is the longest.
        success: ``(m,)`` bool, whether imagination saw a success.
        halted: ``(m,)`` bool, whether it left the data.
        agreed: ``(m,)`` bool, whether a second success classifier confirmed the last step.
    """

    acts: npt.NDArray[np.float32]
    lengths: npt.NDArray[np.int64]
    success: npt.NDArray[np.bool_]
    halted: npt.NDArray[np.bool_]
    agreed: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.acts)


@runtime_checkable
class FrozenEncoder(Protocol):
    """Images to features, with weights that cannot be trained by accident.

    Attributes:
        name: Its name in the registry.
        source: The arguments of ``worldrl.encoders.load_encoder`` that load it again, as plain JSON.
        width: Feature width ``d``.
        patch: Pixels a patch is high and wide; frames must be a multiple of it.
        fingerprint: Hash of weights, preprocessing and layer together.
    """

    name: str
    source: dict[str, Any]
    width: int
    patch: int
    fingerprint: str

    def __call__(self, frames: npt.NDArray[np.uint8]) -> Features:
        """Encode ``(b, h, w, 3)`` uint8 frames."""
        ...


class WorldModel(Protocol):
    """History and action to next observation, success and disagreement.

    ``history`` is the number ``t`` of past observations it looks at; ``success_threshold`` the probability from which
    an imagined observation counts as a success.
    """

    history: int
    obs_shape: tuple[int, ...]
    act_dim: int
    success_threshold: float

    def imagine(self, obs: Tensor, acts: Tensor, *, noise: Tensor, choice: Tensor) -> Imagined:
        """Imagine one step; a pure function of its arguments, row by row.

        Args:
            obs: The last observations ``(b, t, *o)``, newest last.
            acts: The actions ``(b, t, a)``; ``acts[:, -1]`` is the one to be taken now.
            noise: Standard normal ``(b, *o)``, from which the next observation is denoised.
            choice: Uniform in ``[0, 1)`` ``(b,)``, by which each row picks its member of the ensemble.
        """
        ...


@runtime_checkable
class Supported(Protocol):
    """A world model that knows how far an observation is from what was recorded."""

    def departure(self, obs: Tensor) -> Tensor:
        """Return how far observations ``(b, *o)`` are from anything recorded ``(b,)``, in units of the threshold."""
        ...


@runtime_checkable
class Ensemble(Protocol):
    """A world model that says how many ``members`` it has; one alone never disagrees with itself."""

    members: int


class SimulatedEnv(Protocol):
    """What every MuJoCo environment of this package has beyond gymnasium's own interface (``env.unwrapped``).

    ``objects`` names the labelled objects in a fixed order.
    """

    objects: tuple[str, ...]

    def labels(self) -> npt.NDArray[np.uint8]:
        """Return the segmentation of the current view ``(h, w)``: 0 background, ``i + 1`` for ``objects[i]``."""
        ...

    def positions(self) -> npt.NDArray[np.float64]:
        """Return where each of the objects is ``(k, 3)``, in metres."""
        ...

    def state(self) -> npt.NDArray[np.float64]:
        """Return ``mjSTATE_INTEGRATION`` ``(s,)``."""
        ...

    def fields(self) -> dict[str, Array]:
        """Return the model fields that a reset may change, as copies."""
        ...

    def params(self) -> dict[str, Any]:
        """Return the task's own parameters as plain JSON values."""
        ...

    def restore(self, state: Array, fields: Mapping[str, Array], params: Mapping[str, Any]) -> dict[str, Array]:
        """Put the simulator into a recorded moment and return its observation."""
        ...


class Policy(Protocol):
    """Whoever chooses actions; the signature of stable-baselines3, so that every model of theirs is one."""

    def predict(
        self,
        observation: Any,
        state: tuple[Array, ...] | None = None,
        episode_start: Array | None = None,
        deterministic: bool = False,
    ) -> tuple[Array, tuple[Array, ...] | None]:
        """Return the actions ``(b, a)`` for the observations ``(b, *o)``, and the recurrent state if there is one."""
        ...
