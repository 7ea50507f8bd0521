"""Implicit Q-learning: values from recorded actions alone, and a policy that repeats those that did better."""

from copy import deepcopy

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from worldrl.agents.critics import Critic, TwinCritic
from worldrl.agents.policy import GaussianPolicy
from worldrl.agents.transitions import Transitions, descend, follow
from worldrl.errors import ConfigError
from worldrl.resuming import Parts

MOST = 100.0
"""The largest weight of a transition in the regression, as in the paper's own code."""


class Iql:
    """Offline reinforcement learning that never asks what an action nobody took is worth.

    The temperature multiplies advantages counted in steps: divided by ``1 - gamma``, a reward of one at the goal
    becomes the reward of minus one a step for which the paper chose its temperatures. The standard deviation of the
    policy stays as it is, which does not move the mean it learns (both our choice).

    Source: Kostrikov et al. 2021 (arXiv 2110.06169), equations 5 to 7 and algorithm 1.

    Args:
        policy: Changed in place.
        expectile: 0.5 values an observation by the mean of what was done in it, near 1 by the best of it.
        temperature: How much better actions are preferred; 0 clones all of them.
        gamma: Discount.
        lr: Learning rate of actor and critics.
        tau: Share by which the target critics follow at each update.
        seed: Of the critics' weights.

    Raises:
        ConfigError: If ``expectile`` is not in ``(0, 1)``, ``gamma`` not in ``[0, 1)``, ``temperature`` negative or
            ``lr`` not positive.
    """

    def __init__(
        self,
        policy: GaussianPolicy,
        *,
        expectile: float = 0.7,
        temperature: float = 3.0,
        gamma: float = 0.97,
        lr: float = 3e-4,
        tau: float = 0.005,
        seed: int = 0,
    ) -> None:
        if not (0 < expectile < 1 and 0 <= gamma < 1):
            raise ConfigError(f"expectile must be in (0, 1) and gamma in [0, 1), got {expectile} and {gamma}.")
        if not (temperature >= 0 and lr > 0):
            raise ConfigError(f"temperature must be 0 or more and lr positive, got {temperature} and {lr}.")
        self.policy = policy
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.critics = TwinCritic(policy.obs_shape, policy.act_dim)
            self.value = Critic(policy.obs_shape)
        self.target_critics = deepcopy(self.critics)
        self.expectile, self.temperature, self.gamma, self.tau = expectile, temperature, gamma, tau
        self._actor = torch.optim.Adam(
            [p for p in policy.actor_parameters() if p is not policy.log_std], lr, fused=True
        )
        self._critic = torch.optim.Adam(self.critics.parameters(), lr, fused=True)
        self._value = torch.optim.Adam(self.value.parameters(), lr, fused=True)

    def update(self, batch: Transitions) -> float:
        """Let value, actor and critics learn from a batch; return the critics' loss."""
        with torch.no_grad():
            worth = self.target_critics.lower(batch.obs, batch.acts)
        descend(expectile_loss(worth - self.value(batch.obs), self.expectile), self._value)
        descend(self.actor_loss(batch, worth), self._actor)
        loss = descend(self.critic_loss(batch), self._critic)
        follow(self.target_critics, self.critics, self.tau)
        return loss

    def parts(self) -> Parts:
        """Return all that an update changes."""
        modules = {"policy": self.policy, "critics": self.critics, "value": self.value}
        optimizers = {"actor": self._actor, "critic": self._critic, "value-optimizer": self._value}
        return Parts(modules | {"target_critics": self.target_critics}, optimizers)

    def critic_loss(self, batch: Transitions) -> Tensor:
        """Return how far both critics are from one reward and the value after it (equation 6)."""
        with torch.no_grad():
            target = batch.rews + self.gamma * (1.0 - batch.ends) * self.value(batch.next_obs)
        first, second = self.critics(batch.obs, batch.acts)
        return mse_loss(first, target) + mse_loss(second, target)

    def actor_loss(self, batch: Transitions, worth: Tensor) -> Tensor:
        """Return the likelihood of recorded actions of ``worth`` ``(b,)``, weighted by their advantage (equation 7)."""
        with torch.no_grad():
            advantage = (worth - self.value(batch.obs)) / (1.0 - self.gamma)
            weight = (self.temperature * advantage).exp().clamp_max(MOST)
        likely = torch.distributions.Normal(self.policy.mean(batch.obs), self.policy.log_std.detach().exp())
        loss: Tensor = -(weight * likely.log_prob(batch.acts).sum(dim=-1)).mean()  # type: ignore[no-untyped-call]
        return loss


def expectile_loss(error: Tensor, expectile: float) -> Tensor:
    """Return the mean squared error, positive errors weighed by ``expectile``, negative by the rest (equation 5)."""
    weight = torch.where(error > 0, expectile, 1.0 - expectile)
    return (weight * error.square()).mean()
