"""Actor and critic that learn from imagined steps: discrete or continuous actions, returns of any scale."""

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Categorical, Normal
from torch.nn.functional import one_hot

from worldrl import checkpoint, symlog
from worldrl.errors import CheckpointError
from worldrl.networks import mlp

RANGE = (0.05, 0.95)
"""Quantiles of the returns between which their scale is measured."""
SLOWNESS = 0.98
"""Share that the slow critic, and the scale of returns, keep of themselves at every update."""
STD = (0.1, 1.0)
"""Between which the standard deviation of continuous actions lies."""


class ActorCritic(nn.Module):
    """An actor and a critic over states ``(b, s)`` of a world model.

    Source: OC-STORM (arXiv 2501.16443) and its released configuration: lambda returns, advantages scaled by the 5 to 95
    per cent range of the returns, a critic over symlog places with a slow copy. One update is made of each imagined
    batch, so that the released code's importance ratio would always be one and is left out. The normal distribution of
    continuous actions is DreamerV3's (arXiv 2301.04104); the code of the paper's continuous runs was not released. The
    gradient through the world model, DreamerV2's for continuous actions, was tried and learnt no faster.

    Args:
        state_dim: ``s``.
        acts: Numbers of an action: of a one-hot vector where actions are discrete.
        discrete: Whether they are.
        width: Of the hidden layers.
        depth: Hidden layers.
        gamma: Discount.
        lam: Weight of longer returns.
        entropy: Weight of the entropy of actions.
    """

    def __init__(
        self,
        *,
        state_dim: int,
        acts: int,
        discrete: bool,
        width: int = 512,
        depth: int = 3,
        gamma: float = 0.985,
        lam: float = 0.95,
        entropy: float = 1e-3,
    ) -> None:
        super().__init__()
        self.args: dict[str, Any] = {
            "state_dim": state_dim, "acts": acts, "discrete": discrete, "width": width, "depth": depth,
            "gamma": gamma, "lam": lam, "entropy": entropy,
        }  # fmt: skip
        self.discrete, self.acts = discrete, acts
        self.gamma, self.lam, self.entropy = gamma, lam, entropy
        sizes = [state_dim, *[width] * depth]
        self.actor = mlp(sizes, last=acts if discrete else 2 * acts, from_zero=True)
        self.critic = mlp(sizes, last=symlog.BINS, from_zero=True)
        self.slow_critic = mlp(sizes, last=symlog.BINS, from_zero=True)
        self.slow_critic.load_state_dict(self.critic.state_dict())
        self.slow_critic.requires_grad_(False)
        self.register_buffer("scale", torch.zeros(()))

    scale: Tensor

    def policy(self, states: Float[Tensor, "... s"]) -> Categorical | Normal:
        """Return the distribution of actions, one for each number of an action where they are continuous."""
        out = self.actor(states)
        if self.discrete:
            return Categorical(logits=out)
        mean, spread = out.chunk(2, dim=-1)
        return Normal(mean.tanh(), STD[0] + (STD[1] - STD[0]) * (spread + 2.0).sigmoid())

    @torch.no_grad()
    def act(
        self, states: Float[Tensor, "b s"], *, deterministic: bool = False, rng: torch.Generator | None = None
    ) -> Float[Tensor, "b a"]:
        """Return actions: one-hot vectors, or numbers that are yet to be clipped to ``[-1, 1]``."""
        policy = self.policy(states)
        if isinstance(policy, Categorical):
            logits = policy.logits
            if not deterministic:
                chance = torch.rand(logits.shape, generator=rng, device=logits.device).clamp_min(1e-20)
                logits = logits - (-chance.log()).log()
            return one_hot(logits.argmax(dim=-1), self.acts).float()
        noise = torch.randn(policy.mean.shape, generator=rng, device=states.device)
        act: Tensor = policy.mean if deterministic else policy.mean + policy.stddev * noise
        return act

    def loss(
        self,
        states: Float[Tensor, "b h1 s"],
        acts: Float[Tensor, "b h a"],
        rews: Float[Tensor, "b h"],
        goes_on: Float[Tensor, "b h"],
    ) -> tuple[Tensor, dict[str, float]]:
        """Return what training minimises on imagined steps, and its parts.

        Args:
            states: One more than actions: the last is only valued.
            acts: As they were taken.
            rews: What each brought.
            goes_on: The probability that the episode goes on after it.
        """
        with torch.no_grad():
            values = symlog.decode(self.critic(states))
            rets = lambda_returns(rews, goes_on * self.gamma, values, self.lam)
            alive = torch.cat([torch.ones_like(goes_on[:, :1]), goes_on[:, :-1]], dim=1).cumprod(dim=1)
            slow = symlog.decode(self.slow_critic(states[:, :-1]))
            advantages = (rets - values[:, :-1]) / self._rescale(rets)
        policy = self.policy(states[:, :-1])
        log_prob, entropy = self._judge(policy, acts)
        actor = -(alive * (log_prob * advantages + self.entropy * entropy)).mean()
        logits = self.critic(states[:, :-1])
        critic = (alive * (symlog.two_hot_loss(logits, rets) + symlog.two_hot_loss(logits, slow))).mean()
        told = {"actor": actor, "critic": critic, "entropy": entropy.mean(), "return": rets[:, 0].mean()}
        return actor + critic, {name: float(one.detach()) for name, one in told.items()}

    @torch.no_grad()
    def follow(self) -> None:
        """Let the slow critic follow the critic."""
        for slow, fast in zip(self.slow_critic.parameters(), self.critic.parameters(), strict=True):
            slow.lerp_(fast, 1.0 - SLOWNESS)

    def _judge(self, policy: Categorical | Normal, acts: Tensor) -> tuple[Tensor, Tensor]:
        """Return the log-probability of actions, and the entropy, in each step."""
        judged: Any = policy
        if self.discrete:
            return judged.log_prob(acts.argmax(dim=-1)), judged.entropy()
        return judged.log_prob(acts).sum(dim=-1), judged.entropy().sum(dim=-1)

    def _rescale(self, rets: Tensor) -> Tensor:
        """Return the scale of the returns, one at least, and let it follow those of now."""
        low, high = (torch.quantile(rets, q) for q in RANGE)
        first = self.scale == 0
        self.scale.copy_(torch.where(first, high - low, self.scale.lerp(high - low, 1.0 - SLOWNESS)))
        return self.scale.clamp_min(1.0)

    def save_pretrained(self, path: Path) -> None:
        """Save to a folder.

        Raises:
            StorageError: If it cannot be written.
        """
        config = {"class": type(self).__name__} | self.args
        checkpoint.save(path, kind="actor_critic", config=config, tensors=self.state_dict())

    @classmethod
    def from_pretrained(cls, path: Path) -> "ActorCritic":
        """Load from a folder.

        Raises:
            CheckpointError: If the folder is damaged or not an actor and critic.
        """
        saved = checkpoint.load(path, kind="actor_critic")
        config = dict(saved.config)
        with checkpoint.described(path, "an actor and critic"):
            if config.pop("class") != cls.__name__:
                raise CheckpointError(f"{path} must hold an {cls.__name__}: it was written by another class.")
            agent = cls(**config)
        checkpoint.load_state(agent, saved.tensors, path=path)
        return agent.eval()


def lambda_returns(
    rews: Float[Tensor, "b h"], discounts: Float[Tensor, "b h"], values: Float[Tensor, "b h1"], lam: float
) -> Float[Tensor, "b h"]:
    """Return the lambda returns of each step (DreamerV3, arXiv 2301.04104, eq. 7).

    Args:
        rews: What each step brought.
        discounts: Of what comes after each step; zero where the episode is over.
        values: Of the states, the last included.
        lam: 0 looks one step ahead, 1 to the horizon.
    """
    following, rets = values[:, -1], []
    for t in reversed(range(rews.shape[1])):
        following = rews[:, t] + discounts[:, t] * ((1.0 - lam) * values[:, t + 1] + lam * following)
        rets.append(following)
    return torch.stack(rets[::-1], dim=1)
