"""Actor and critic: returns by hand, and that they learn what pays."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from worldrl.agents.actor_critic import ActorCritic, lambda_returns


def test_lambda_returns_are_those_worked_out_by_hand() -> None:
    rews, discounts = torch.tensor([[1.0, 2.0]]), torch.tensor([[0.5, 0.5]])
    values = torch.tensor([[0.0, 4.0, 8.0]])
    assert lambda_returns(rews, discounts, values, 1.0).tolist() == [[1 + 0.5 * (2 + 0.5 * 8), 2 + 0.5 * 8]]
    assert lambda_returns(rews, discounts, values, 0.0).tolist() == [[1 + 0.5 * 4, 2 + 0.5 * 8]]


def test_nothing_counts_after_an_end() -> None:
    found = lambda_returns(torch.tensor([[1.0, 50.0]]), torch.tensor([[0.0, 0.9]]), torch.full((1, 3), 9.0), 0.9)
    assert found[0, 0].item() == 1.0


def pays(agent: ActorCritic, acts: Tensor) -> Tensor:
    """The second action pays, or 0.5 does where actions are numbers."""
    return acts[:, 1] if agent.discrete else 1.0 - (acts[:, 0] - 0.5).abs()


@pytest.mark.parametrize("discrete", [True, False])
def test_it_learns_what_pays(discrete: bool) -> None:
    torch.manual_seed(0)
    agent, rng = (
        ActorCritic(state_dim=3, acts=3, discrete=discrete, width=32, depth=1),
        torch.Generator().manual_seed(0),
    )
    optimizer = torch.optim.Adam([p for p in agent.parameters() if p.requires_grad], lr=3e-3)
    states = torch.zeros(64, 3)
    for _ in range(300):
        acts = agent.act(states, rng=rng)
        rews = pays(agent, acts)[:, None]
        loss, _ = agent.loss(torch.stack([states, states], dim=1), acts[:, None], rews, torch.zeros(64, 1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        agent.follow()
    assert pays(agent, agent.act(states, deterministic=True)).mean() > 0.9


def test_the_gradient_of_the_actor_does_not_reach_the_critic() -> None:
    agent = ActorCritic(state_dim=2, acts=2, discrete=True, width=8, depth=1)
    states, acts = torch.randn(4, 3, 2), torch.eye(2)[torch.zeros(4, 2, dtype=torch.long)]
    loss, parts = agent.loss(states, acts, torch.zeros(4, 2), torch.ones(4, 2))
    loss.backward()
    assert all(p.grad is None for p in agent.slow_critic.parameters())
    assert set(parts) == {"actor", "critic", "entropy", "return"}


def test_it_is_the_same_after_saving(tmp_path: Path) -> None:
    agent = ActorCritic(state_dim=3, acts=2, discrete=False, width=8, depth=1)
    agent.save_pretrained(tmp_path / "agent")
    states = torch.randn(5, 3)
    again = ActorCritic.from_pretrained(tmp_path / "agent")
    assert torch.equal(again.act(states, deterministic=True), agent.act(states, deterministic=True))
