"""TD3+BC: a policy that climbs a critic's slope and stays near what was recorded."""

from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from worldrl.agents.critics import TwinCritic
from worldrl.agents.policy import GaussianPolicy
from worldrl.agents.transitions import Transitions, descend, follow
from worldrl.errors import ConfigError
from worldrl.resuming import Parts


class Count(nn.Module):
    """A number of updates, kept like weights."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("number", torch.zeros((), dtype=torch.int64))

    number: Tensor

    def count(self) -> int:
        """Count one more and return how many there are."""
        self.number += 1
        return int(self.number)


class Td3Bc:
    """Offline reinforcement learning by TD3 with a behaviour-cloning term.

    The actor is the mean of a ``GaussianPolicy``, so that it saves, loads and acts like every other. Where TD3
    squashes with tanh, the mean is clipped to ``[-1, 1]`` before the critic sees it, as it is when it acts; the cloning
    term sees it unclipped, so that a mean beyond the range finds the way back (our choice). Observations are the
    pipeline's, which has normalised them.

    Source: Fujimoto & Gu 2021 (arXiv 2106.06860), equations 3 to 5; TD3 is Fujimoto et al. 2018 (arXiv 1802.09477).

    Args:
        policy: Changed in place; its standard deviation stays as it is.
        alpha: Weight of the critic against the cloning term.
        gamma: Discount.
        lr: Learning rate of actor and critics.
        tau: Share by which target networks follow at each update.
        smoothing: Standard deviation of the noise on target actions, clipped at two and a half of it.
        delay: Updates of the critics for one of the actor.
        seed: Of the critics' weights and the noise.

    Raises:
        ConfigError: If ``alpha`` or ``lr`` is not positive, or ``gamma`` not in ``[0, 1)``.
    """

    def __init__(
        self,
        policy: GaussianPolicy,
        *,
        alpha: float = 2.5,
        gamma: float = 0.97,
        lr: float = 3e-4,
        tau: float = 0.005,
        smoothing: float = 0.2,
        delay: int = 2,
        seed: int = 0,
    ) -> None:
        if not (alpha > 0 and lr > 0 and 0 <= gamma < 1):
            raise ConfigError(f"alpha and lr must be positive and gamma in [0, 1), got {alpha}, {lr} and {gamma}.")
        self.policy, self.target_policy = policy, deepcopy(policy)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.critics = TwinCritic(policy.obs_shape, policy.act_dim)
        self.target_critics = deepcopy(self.critics)
        self.alpha, self.gamma, self.tau, self.smoothing, self.delay = alpha, gamma, tau, smoothing, delay
        self.rng = torch.Generator().manual_seed(seed)
        self.updates = Count()
        self._actor = torch.optim.Adam(
            [p for p in policy.actor_parameters() if p is not policy.log_std], lr, fused=True
        )
        self._critic = torch.optim.Adam(self.critics.parameters(), lr, fused=True)

    def update(self, batch: Transitions) -> float:
        """Let the critics learn from a batch and, every ``delay`` updates, the actor; return the critics' loss."""
        loss = descend(self.critic_loss(batch), self._critic)
        if self.updates.count() % self.delay == 0:
            descend(self.actor_loss(batch), self._actor)
            follow(self.target_critics, self.critics, self.tau)
            follow(self.target_policy, self.policy, self.tau)
        return loss

    def parts(self) -> Parts:
        """Return all that an update changes."""
        modules = {"policy": self.policy, "target_policy": self.target_policy, "critics": self.critics}
        modules |= {"target_critics": self.target_critics, "updates": self.updates}
        return Parts(modules, {"actor": self._actor, "critic": self._critic}, generators={"noise": self.rng})

    def critic_loss(self, batch: Transitions) -> Tensor:
        """Return how far both critics are from one reward and the lower target critic's answer after it."""
        with torch.no_grad():
            noise = self.smoothing * torch.randn(batch.acts.shape, generator=self.rng)
            noise = noise.clamp(-2.5 * self.smoothing, 2.5 * self.smoothing)
            acts = (self.target_policy.mean(batch.next_obs).clamp(-1.0, 1.0) + noise).clamp(-1.0, 1.0)
            after = self.target_critics.lower(batch.next_obs, acts)
            target = batch.rews + self.gamma * (1.0 - batch.ends) * after
        first, second = self.critics(batch.obs, batch.acts)
        return mse_loss(first, target) + mse_loss(second, target)

    def actor_loss(self, batch: Transitions) -> Tensor:
        """Return minus the first critic's answer, in units of its own mean size, plus the distance from the record."""
        mean = self.policy.mean(batch.obs)
        worth: Tensor = self.critics.first(batch.obs, mean.clamp(-1.0, 1.0))
        scale = self.alpha / worth.detach().abs().mean().clamp_min(1e-6)
        return -scale * worth.mean() + mse_loss(mean, batch.acts)
