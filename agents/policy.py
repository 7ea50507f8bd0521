"""The policy: a stable-baselines3 actor-critic over tokens or frames, saved as plain tensors; how policies act."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import Tensor, nn

from worldrl import checkpoint
from worldrl.agents.extractors import TokenExtractor, check_proprio, extractor_class
from worldrl.agents.noise import LastingNoise
from worldrl.agents.observing import check_objects, observe
from worldrl.errors import CheckpointError, ConfigError
from worldrl.objects.gated import GatedTokens
from worldrl.types import Array, Policy


@dataclass(frozen=True)
class Origin:
    """What a policy was made for and from.

    ``pipeline`` is the hash of its observation pipeline; ``real_steps`` and ``imagined_steps`` are how many steps went
    into it, recorded ones included that a world model learned from.
    """

    pipeline: str
    real_steps: int = 0
    imagined_steps: int = 0


class ActingPolicy(Policy, Protocol):
    """A policy that acts in real episodes, each with a memory of its own, and that can be saved."""

    def begin(self, seed: int) -> Any:
        """Return the memory with which an episode starts; all chance in the episode comes from ``seed``."""
        ...

    def act(self, obs: Array, memories: Sequence[Any], *, deterministic: bool) -> Array:
        """Return the actions ``(b, a)`` for ``obs`` ``(b, *o)``, not clipped, and change the memories in place."""
        ...

    def save_pretrained(self, path: Path, *, origin: Origin) -> None:
        """Save to a folder that ``load_policy`` reads."""
        ...


class GaussianPolicy(ActorCriticPolicy):
    """A Gaussian policy with a capped standard deviation, and an anchor to the policy it started from.

    Actor and critic share nothing, so that a critic can learn while the actor rests. With an anchor, what PPO maximises
    as "entropy" is minus the divergence from the anchor: stable-baselines3's ``ent_coef`` is then the strength of the
    anchor, and its training loop stays as it is.

    Args:
        observation_space: Tokens ``(k, d)`` or frames ``(c, h, w)``.
        action_space: ``(a,)`` in ``[-1, 1]``.
        lr_schedule: As stable-baselines3 has it.
        sigma: Standard deviation at the start.
        sigma_cap: Highest standard deviation; None for no cap. World4RL caps at 1 (arXiv 2509.19080).
        proprio: How many numbers of proprioception it is shown, the first ones; 0 for all. A clone that is shown
            velocity and set point repeats its last action and looks away from the objects.

    Raises:
        ConfigError: If a standard deviation is not positive, or there are not that many numbers.
    """

    def __init__(
        self,
        observation_space: spaces.Box,
        action_space: spaces.Box,
        lr_schedule: Any = None,
        *,
        sigma: float = 0.3,
        sigma_cap: float | None = 1.0,
        proprio: int = 0,
        **kwargs: Any,
    ) -> None:
        if not sigma > 0 or not (sigma_cap is None or sigma_cap > 0):
            raise ConfigError(f"sigma and sigma_cap must be positive, got {sigma} and {sigma_cap}.")
        check_proprio(observation_space.shape, proprio)
        self.sigma, self.sigma_cap, self.proprio = sigma, sigma_cap, proprio
        settings: dict[str, Any] = {
            "net_arch": {"pi": [128], "vf": [128]},
            "activation_fn": nn.SiLU,
            "share_features_extractor": False,
            "features_extractor_class": extractor_class(observation_space.shape),
            "features_extractor_kwargs": {"proprio": proprio} if proprio else {},
            "log_std_init": float(np.log(sigma)),
            "normalize_images": False,
        }
        super().__init__(observation_space, action_space, lr_schedule or (lambda _: 3e-4), **settings | kwargs)
        self._anchor: list[GaussianPolicy] = []  # in a list, so that torch does not take it for a part of this policy

    @property
    def obs_shape(self) -> tuple[int, ...]:
        """Tokens ``(k, d)`` or frames ``(c, h, w)``."""
        return tuple(self.observation_space.shape or ())

    @property
    def act_dim(self) -> int:
        """Numbers of an action."""
        return int(np.prod(self.action_space.shape or ()))

    def anchor_to(self, other: "GaussianPolicy") -> None:
        """Pull towards another policy, which is frozen, in every update from now on."""
        other.set_training_mode(False)
        for parameter in other.parameters():
            parameter.requires_grad_(False)
        self._anchor = [other]

    def gates(self) -> GatedTokens | None:
        """Return the gates that the actor reads objects through; None where it reads frames."""
        extractor = self.pi_features_extractor
        return extractor.gated if isinstance(extractor, TokenExtractor) else None

    def share_gates(self) -> None:
        """Let the critic look at what the actor looks at; from now on the gates of both stay as they are."""
        actor, critic = self.pi_features_extractor, self.vf_features_extractor
        if isinstance(actor, TokenExtractor) and isinstance(critic, TokenExtractor):
            critic.gated.gate.data.copy_(actor.gated.gate.data)
            for extractor in (actor, critic):
                extractor.gated.gate.requires_grad_(False)

    def actor_parameters(self) -> list[nn.Parameter]:
        """Return the parameters that decide on actions, without the gates."""
        parts = (self.pi_features_extractor, self.mlp_extractor.policy_net, self.action_net)
        gates = self.gates()
        return [
            self.log_std,
            *(p for part in parts for p in part.parameters() if gates is None or p is not gates.gate),
        ]

    def mean(self, obs: Tensor) -> Tensor:
        """Return the mean action ``(b, a)``, not clipped."""
        features = self.pi_features_extractor(obs)
        mean: Tensor = self.action_net(self.mlp_extractor.forward_actor(features))
        return mean

    def evaluate_actions(self, obs: Any, actions: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return values, log-probabilities and the entropy; with an anchor, minus the divergence in its place."""
        values, log_prob, entropy = super().evaluate_actions(obs, actions)
        return values, log_prob, -self.divergence(obs) if self._anchor else entropy

    def divergence(self, obs: Tensor) -> Tensor:
        """Return the Kullback-Leibler divergence from the anchor ``(b,)``, summed over action dimensions."""
        ours = torch.distributions.Normal(self.mean(obs), self._log_std().exp())
        with torch.no_grad():
            theirs = torch.distributions.Normal(self._anchor[0].mean(obs), self._anchor[0]._log_std().exp())
        return torch.distributions.kl_divergence(ours, theirs).sum(dim=-1)

    def explore(self, sigma: float) -> None:
        """Set the standard deviation of every action dimension.

        Raises:
            ConfigError: If it is not positive.
        """
        if not sigma > 0:
            raise ConfigError(f"sigma must be positive, got {sigma}.")
        with torch.no_grad():
            self.log_std.fill_(float(np.log(sigma)))

    def std(self) -> Array:
        """Return the standard deviation of actions ``(a,)``, capped."""
        return np.asarray(self._log_std().detach().exp().cpu().numpy())

    def begin(self, seed: int) -> np.random.Generator:
        """Return what an episode draws its noise from."""
        return np.random.default_rng([seed, 3])

    def act(self, obs: Array, memories: Sequence[Any], *, deterministic: bool) -> Array:
        """Return the mean actions ``(b, a)`` for ``obs`` ``(b, *o)``, or samples, not clipped."""
        with torch.no_grad():
            acts = self.mean(torch.as_tensor(obs, device=self.device)).cpu().numpy()
        if not deterministic:
            acts = acts + self.std() * np.stack([rng.standard_normal(acts.shape[1]) for rng in memories])
        return np.asarray(acts)

    def _log_std(self) -> Tensor:
        """Return the log of the standard deviation, capped; above the cap its gradient still finds the way back."""
        if self.sigma_cap is None:
            return self.log_std
        return self.log_std - (self.log_std - float(np.log(self.sigma_cap))).clamp_min(0.0).detach()

    def _get_action_dist_from_latent(self, latent_pi: Tensor) -> Distribution:
        return self.action_dist.proba_distribution(self.action_net(latent_pi), self._log_std())

    def save_pretrained(self, path: Path, *, origin: Origin) -> None:
        """Save to a folder, with what it was made for and from.

        Raises:
            StorageError: If it cannot be written.
        """
        config = {
            "class": type(self).__name__,
            "obs_shape": list(self.obs_shape),
            "act_dim": self.act_dim,
            "sigma": self.sigma,
            "sigma_cap": self.sigma_cap,
            "proprio": self.proprio,
            "origin": asdict(origin),
        }
        checkpoint.save(path, kind="policy", config=config, tensors=self.state_dict())


POLICIES = {
    "GaussianPolicy": ("worldrl.agents.policy", "make_policy"),
    "DiffusionPolicy": ("worldrl.agents.diffusion_policy", "DiffusionPolicy"),
}
"""Every class of policy that a folder may hold, with the module and the name of what makes one.

A module is imported only once a folder holds its class: diffusers alone takes seconds.
"""


def load_policy(path: Path) -> tuple[ActingPolicy, Origin]:
    """Load a policy of any class in ``POLICIES``, and what it was made for and from.

    Raises:
        CheckpointError: If the folder is damaged or not a policy.
    """
    saved = checkpoint.load(path, kind="policy")
    with checkpoint.described(path, "a policy"):
        config = dict(saved.config)
        name, origin = config.pop("class"), Origin(**config.pop("origin"))
        if name not in POLICIES:
            raise CheckpointError(f"{path} must hold one of {', '.join(POLICIES)}, got {name!r}: make it again.")
        module, maker = POLICIES[name]
        make = getattr(import_module(module), maker)
        policy = make(tuple(config.pop("obs_shape")), int(config.pop("act_dim")), **config)
    checkpoint.load_state(policy, saved.tensors, path=path)
    policy.eval()
    return policy, origin


def make_policy(obs_shape: tuple[int, ...], act_dim: int, **kwargs: Any) -> GaussianPolicy:
    """Make an untrained policy for tokens ``(k, d)`` or frames ``(c, h, w)``."""
    space = spaces.Box(-np.inf, np.inf, obs_shape, np.float32)
    return GaussianPolicy(space, spaces.Box(-1.0, 1.0, (act_dim,), np.float32), **kwargs)


class PolicyActor:
    """A policy behind an observation pipeline, acting in real environments; all running ones are encoded together.

    Args:
        policy: An ``ActingPolicy`` that speaks the pipeline's observations.
        pipeline: Called with frames, proprioception and labels.
        deterministic: Whether to take the mean action rather than a sample.
    """

    def __init__(self, policy: Any, pipeline: Any, *, deterministic: bool = True) -> None:
        self.policy, self.pipeline, self.deterministic = policy, pipeline, deterministic
        self._memories: dict[int, Any] = {}

    def begin(self, slot: int, env: Any, seed: int) -> None:
        """Start an episode in a slot, with a fresh memory; a sampling policy draws from the episode's seed.

        Raises:
            CheckpointError: If the environment labels other objects than the pipeline was fitted on.
        """
        check_objects(self.pipeline, env)
        self._memories[slot] = self.policy.begin(seed)

    def act(self, observations: list[Any], envs: list[Any], slots: Array) -> Array:
        """Return the actions ``(b, a)`` in ``[-1, 1]``."""
        obs = observe(self.pipeline, observations, envs)
        memories = [self._memories.get(int(slot)) for slot in slots]  # the mean of a Gaussian needs none
        acts = self.policy.act(np.asarray(obs), memories, deterministic=self.deterministic)
        return np.asarray(np.clip(acts, -1.0, 1.0), np.float32)


class DriftingActor(PolicyActor):
    """A policy whose mean actions drift, so that its episodes show what slightly different policies would do.

    Args:
        policy: As in ``PolicyActor``.
        pipeline: As in ``PolicyActor``.
        drift: Standard deviation of the noise.
        persistence: Correlation of the noise of successive decisions (our choice).
    """

    def __init__(self, policy: Any, pipeline: Any, *, drift: float, persistence: float = 0.9) -> None:
        super().__init__(policy, pipeline, deterministic=True)
        self.noise = LastingNoise(sigma=drift, persistence=persistence)

    def begin(self, slot: int, env: Any, seed: int) -> None:
        """Start an episode in a slot; its noise follows from the episode's seed."""
        super().begin(slot, env, seed)
        self.noise.begin(slot, np.random.default_rng(seed), self.policy.act_dim, settled=True)

    def act(self, observations: list[Any], envs: list[Any], slots: Array) -> Array:
        """Return the actions ``(b, a)`` in ``[-1, 1]``."""
        acts = super().act(observations, envs, slots)
        noise = np.stack([self.noise.draw(int(slot)) for slot in slots])
        return np.asarray(np.clip(acts + noise, -1.0, 1.0), np.float32)
