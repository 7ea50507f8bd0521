"""Transition, success and disagreement behind one interface."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from worldrl import checkpoint
from worldrl.diffusion.actions import ActionCode, make_code
from worldrl.diffusion.denoiser import Denoiser
from worldrl.diffusion.drift import LinearDrift
from worldrl.diffusion.edm import NoiseSchedule
from worldrl.diffusion.network import DenoiserNet
from worldrl.errors import CheckpointError, ConfigError
from worldrl.types import Imagined
from worldrl.world_model.success import FrameSuccess, TokenSuccess
from worldrl.world_model.support import Support

TOKEN_SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"width": 32, "depth": 1, "heads": 2, "members": 2},
    "small": {"width": 64, "depth": 2, "heads": 4, "members": 3},
    "medium": {"width": 128, "depth": 3, "heads": 4, "members": 3},
    "base": {"width": 256, "depth": 4, "heads": 8, "members": 5},
}
"""Shapes of the token transformer by name."""
FLAT_SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"backbone": "flat", "width": 32, "depth": 1, "members": 2},
    "small": {"backbone": "flat", "width": 256, "depth": 2, "members": 3},
    "medium": {"backbone": "flat", "width": 512, "depth": 2, "members": 5},
    "base": {"backbone": "flat", "width": 1024, "depth": 3, "members": 5},
}
"""Shapes of the flat network over tokens by name."""
FRAME_SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"channels": (32, 64), "blocks": 1, "unshuffle": 4, "members": 2},
    "small": {"channels": (64, 96), "blocks": 1, "unshuffle": 4, "members": 2},
    "medium": {"channels": (96, 128), "blocks": 2, "unshuffle": 4, "members": 3},
    "base": {"channels": (128, 256, 512, 1024), "blocks": 2, "unshuffle": 1, "attention": True, "cond": 2048},
    "published": {"backbone": "published"},
}
"""Shapes of the frame U-Net by name; ``base`` has that of World4RL's network, too large for a CPU, and ``published`` is
DIAMOND's for Atari, to compare with."""
SAMPLERS = ("euler", "distilled")
"""How a step of imagination may be sampled."""
THRESHOLDS = ("success_threshold", "audit_threshold", "halt_threshold", "support_threshold")
RESIDUAL_SCHEDULE = {"p_mean": 1.6, "sigma_max": 10.0}
"""Noise levels.

What is left after the drift is small nearly always and large where something is touched. Sampling must start where
noise hides the large ones too: from a lower level, a start that does not show a thing moving says that it stands, and
what is pulled lags behind. Training looks where sampling starts (our choice: over 5 open-loop steps of coffee-pull, 22
held-out episodes, the error of the mug is 0.33 of that of no change with these levels, 0.42 with 0 and 2).
"""


class DiffusionWorldModel(nn.Module):
    """A diffusion world model over tokens ``(k, d)`` or frames ``(c, h, w)``, with its success classifier.

    It predicts the next observation from the last ``history`` observations and actions, by few-step denoising, each
    row by one member of the ensemble; how far the members are apart tells where the data ends.

    Args:
        obs_shape: ``(k, d)`` for tokens, ``(c, h, w)`` for frames.
        act_dim: Action dimensions ``a``.
        pipeline: Hash of the observation pipeline it is made for; empty for frames without one.
        history: Past observations ``t``.
        steps: Sampling steps of a step of imagination, each a network evaluation.
        sampler: How it samples, a name in ``SAMPLERS``: by so many Euler steps, or as a network that was taught to
            reach in one evaluation what its teacher reaches in ``steps`` (``worldrl.world_model.distil``).
        net: Arguments of the network: of ``TokenDenoiserNet``, of ``FlatDenoiserNet`` where its ``backbone`` is
            ``flat``, or of ``FrameDenoiserNet``.
        schedule: Arguments of ``NoiseSchedule``.
        action_code: Form in which actions reach the denoiser, a name in ``ACTION_CODES``.
        tasks: How many tasks share the network; where several, it is told which by a one-hot beside the action codes.
        task: Which of them this model is of.

    Attributes:
        success_threshold: Probability from which an imagined observation counts as a success; calibrated in fitting.
        audit_threshold: The same for the second classifier, which learns from other episodes and audits the first.
        halt_threshold: Disagreement from which an imagined episode has left the data; calibrated in fitting.
        support_threshold: Distance from everything recorded from which it has, likewise.

    Raises:
        ConfigError: If the shape is neither tokens nor frames, or there is no such action code or sampler.
    """

    def __init__(
        self,
        *,
        obs_shape: tuple[int, ...],
        act_dim: int,
        pipeline: str = "",
        history: int = 4,
        steps: int = 2,
        sampler: str = "euler",
        net: dict[str, Any] | None = None,
        schedule: dict[str, float] | None = None,
        action_code: str = "two_hot",
        tasks: int = 1,
        task: int = 0,
    ) -> None:
        super().__init__()
        if not 0 <= task < tasks:
            raise ConfigError(f"task must be in [0, {tasks}), got {task}.")
        if sampler not in SAMPLERS:
            raise ConfigError(f"sampler must be one of {', '.join(SAMPLERS)}, got '{sampler}'.")
        self.tasks, self.task, self.sampler = tasks, task, sampler
        self.obs_shape, self.act_dim, self.pipeline, self.history, self.steps = (
            obs_shape,
            act_dim,
            pipeline,
            history,
            steps,
        )
        self.net_args = dict(network(obs_shape) if net is None else net)
        self.schedule_args = dict(RESIDUAL_SCHEDULE if schedule is None else schedule)
        self.action_code: ActionCode = make_code(action_code, act_dim)
        code_dim = self.action_code.dim + (tasks if tasks > 1 else 0)
        backbone, self.members = _backbone(obs_shape, history, code_dim, self.net_args)
        ones = torch.ones(obs_shape)
        self.denoiser = Denoiser(
            backbone,
            NoiseSchedule(**self.schedule_args),
            drift=_drift(obs_shape, history, code_dim),
            change_scale=ones,
            weight=ones.clone(),
        )
        self.success, self.audit = _success(obs_shape), _success(obs_shape)
        self.support = Support(obs_shape)
        self.success_threshold = self.audit_threshold = 0.5
        self.halt_threshold = self.support_threshold = float("inf")
        self._audits = True

    @property
    def evaluations(self) -> int:
        """Return the network evaluations a step of imagination."""
        return self.steps if self.sampler == "euler" else 1

    @torch.no_grad()
    def imagine(self, obs: Tensor, acts: Tensor, *, noise: Tensor, choice: Tensor) -> Imagined:
        """Imagine one step; see ``worldrl.types.WorldModel``."""
        member = (choice * self.members).long().clamp_max(self.members - 1)
        codes = self.codes(acts)
        following, apart = self.denoiser.sample(noise, obs, codes, member=member, steps=self.evaluations)
        agreed = (self.audit(following).sigmoid() >= self.audit_threshold).float() if self._audits else None
        return Imagined(following, self.success(following).sigmoid(), apart / self.halt_threshold, agreed=agreed)

    @torch.no_grad()
    def departure(self, obs: Tensor) -> Tensor:
        """Return how far observations are from the recorded ones; see ``worldrl.types.Supported``."""
        away: Tensor = self.support(obs) / self.support_threshold
        return away

    def codes(self, acts: Float[Tensor, "... a"]) -> Float[Tensor, "... c"]:
        """Return what the denoiser is told of actions, and of the task where there are several."""
        codes = self.action_code(acts)
        if self.tasks == 1:
            return codes
        which = torch.zeros(self.tasks, device=codes.device, dtype=codes.dtype)
        which[self.task] = 1.0
        return torch.cat([codes, which.expand(*codes.shape[:-1], -1)], dim=-1)

    def thresholds(self) -> dict[str, float]:
        """Return what was calibrated: from where something counts as success, agreement, disagreement, departure."""
        return {name: float(getattr(self, name)) for name in THRESHOLDS}

    def freeze(self) -> "DiffusionWorldModel":
        """Put every part in evaluation mode and forbid gradients; how a model goes into an imagined environment.

        An audit with the weights of the success classifier, as it is where none was fitted, is asked no more.
        """
        heads = self.success.state_dict(), self.audit.state_dict()
        self._audits = any(not torch.equal(value, heads[1][name]) for name, value in heads[0].items())
        for parameter in self.parameters():
            parameter.requires_grad_(False)
        return self.eval()

    def hash(self) -> str:
        """Identify all weights and thresholds, so that refinement can prove it changed none."""
        others = torch.tensor([*self.thresholds().values(), self.evaluations], dtype=torch.float64)
        return checkpoint.hash_tensors(self.state_dict() | {"thresholds": others})

    def config(self) -> dict[str, Any]:
        """Return what it is built from again, as plain JSON."""
        return {
            "class": type(self).__name__,
            "obs_shape": list(self.obs_shape),
            "act_dim": self.act_dim,
            "pipeline": self.pipeline,
            "history": self.history,
            "steps": self.steps,
            "sampler": self.sampler,
            "net": self.net_args,
            "schedule": self.schedule_args,
            "action_code": self.action_code.name,
            "tasks": self.tasks,
            "task": self.task,
            "thresholds": {name: None if x == float("inf") else x for name, x in self.thresholds().items()},
        }

    def save_pretrained(self, path: Path) -> None:
        """Save to a folder.

        Raises:
            StorageError: If it cannot be written.
        """
        checkpoint.save(path, kind="world_model", config=self.config(), tensors=self.state_dict())

    @classmethod
    def from_pretrained(cls, path: Path) -> "DiffusionWorldModel":
        """Load from a folder, frozen.

        Raises:
            CheckpointError: If the folder is damaged or not a world model.
        """
        saved = checkpoint.load(path, kind="world_model")
        config = dict(saved.config)
        with checkpoint.described(path, "a world model"):
            if config.pop("class") != cls.__name__:
                raise CheckpointError(f"{path} must hold a {cls.__name__}: it was written by another class.")
            thresholds = config.pop("thresholds")
            model = cls(**config | {"obs_shape": tuple(config["obs_shape"])})
            for name in THRESHOLDS:
                setattr(model, name, float("inf") if thresholds[name] is None else float(thresholds[name]))
        checkpoint.load_state(model, saved.tensors, path=path)
        return model.freeze()


def network(obs_shape: tuple[int, ...], *, backbone: str = "transformer", size: str = "small") -> dict[str, Any]:
    """Return the arguments of a network of a named shape, for tokens ``(k, d)`` or frames ``(c, h, w)``.

    Args:
        obs_shape: Of one observation.
        backbone: What reads tokens, a name in ``BACKBONES``; frames are read by a U-Net.
        size: Name of the shape.

    Raises:
        ConfigError: If there is none of that name for such observations.
    """
    sizes = BACKBONES[backbone] if len(obs_shape) == 2 else FRAME_SIZES
    if size not in sizes:
        raise ConfigError(f"size must be one of {', '.join(sizes)} for observations {obs_shape}, got '{size}'.")
    return sizes[size]


BACKBONES = {"transformer": TOKEN_SIZES, "flat": FLAT_SIZES}
"""What may read tokens, and its shapes by name."""


class WholeMembers(DenoiserNet):
    """An ensemble of whole networks; their answers are stacked after the batch."""

    def __init__(self, nets: Sequence[DenoiserNet]) -> None:
        super().__init__()
        self.nets = nn.ModuleList(nets)

    def look(self, history: Tensor, codes: Tensor) -> list[Any]:
        """Return what every member looked at."""
        return [net.look(history, codes) for net in self._each()]

    def answer(self, x: Tensor, c_noise: Tensor, seen: list[Any]) -> Tensor:
        """Return every member's answer ``(b, m, *o)`` for one noise level."""
        return torch.stack([net.answer(x, c_noise, own) for net, own in zip(self._each(), seen, strict=True)], dim=1)

    def _each(self) -> list[DenoiserNet]:
        return cast(list[DenoiserNet], list(self.nets))


def _backbone(obs_shape: tuple[int, ...], history: int, code_dim: int, args: dict[str, Any]) -> tuple[DenoiserNet, int]:
    """Build the network for tokens or frames, and say how many members answer."""
    if len(obs_shape) == 2:
        from worldrl.diffusion.mlp import FlatDenoiserNet
        from worldrl.diffusion.transformer import TokenDenoiserNet

        (k, d), rest = obs_shape, {name: value for name, value in args.items() if name != "backbone"}
        kind = FlatDenoiserNet if args.get("backbone") == "flat" else TokenDenoiserNet
        return kind(obs_shape=(k, d), history=history, code_dim=code_dim, **rest), int(args["members"])
    if len(obs_shape) == 3:
        from worldrl.diffusion.published import PublishedDenoiserNet
        from worldrl.diffusion.unet import FrameDenoiserNet

        members = int(args.get("members", 1))
        rest = {name: value for name, value in args.items() if name not in ("backbone", "members")}
        (c, h, w), whole = obs_shape, PublishedDenoiserNet if args.get("backbone") == "published" else FrameDenoiserNet
        nets = [whole(obs_shape=(c, h, w), history=history, code_dim=code_dim, **rest) for _ in range(members)]
        return WholeMembers(nets), members
    raise ConfigError(f"obs_shape must be (k, d) for tokens or (c, h, w) for frames, got {obs_shape}.")


def _drift(obs_shape: tuple[int, ...], history: int, code_dim: int) -> nn.Module | None:
    if len(obs_shape) != 2:
        return None
    return LinearDrift(obs_shape=(obs_shape[0], obs_shape[1]), history=history, code_dim=code_dim)


def _success(obs_shape: tuple[int, ...]) -> nn.Module:
    if len(obs_shape) == 2:
        return TokenSuccess(obs_shape=(obs_shape[0], obs_shape[1]))
    return FrameSuccess(obs_shape=(obs_shape[0], obs_shape[1], obs_shape[2]))
