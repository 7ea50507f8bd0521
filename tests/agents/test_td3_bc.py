"""TD3+BC finds the exact values of a chain and the few good episodes among many bad ones."""

from copy import deepcopy

import pytest
import torch
from toys import chain, mixed, success

from worldrl.agents.cloning import clone
from worldrl.agents.policy import GaussianPolicy, make_policy
from worldrl.agents.td3_bc import Td3Bc
from worldrl.agents.transitions import learn
from worldrl.errors import ConfigError


def fresh(*obs_shape: int) -> GaussianPolicy:
    torch.manual_seed(0)
    return make_policy(obs_shape, 1)


def test_the_values_of_a_chain_are_powers_of_the_discount() -> None:
    learner, steps = Td3Bc(fresh(2, 4), gamma=0.5, lr=3e-3, tau=0.05), chain()
    learn(learner, steps, steps=400, batch_size=60)
    row = steps.at(torch.arange(3))
    with torch.no_grad():
        for critic in learner.critics(row.obs, row.acts):
            torch.testing.assert_close(critic, torch.tensor([0.25, 0.5, 1.0]), atol=0.03, rtol=0.0)


def test_it_finds_the_few_good_episodes_where_cloning_takes_the_mean() -> None:
    steps, cloned, policy = mixed(), fresh(2, 2), fresh(2, 2)
    clone(cloned, steps.seen[steps.rows], steps.acts, steps=200, batch_size=64, price=0.0)
    learn(Td3Bc(policy, alpha=10.0, gamma=0.8, lr=3e-3, tau=0.05), steps, steps=200, batch_size=64)
    assert success(cloned) < 0.3
    assert success(policy) > 0.9


def test_the_cloning_term_alone_pulls_a_mean_back_that_has_left_the_range() -> None:
    policy = fresh(2, 4)
    with torch.no_grad():
        policy.action_net.bias.fill_(2.0)
    learner = Td3Bc(policy, alpha=1e-9)
    learner.actor_loss(chain().at(torch.arange(3))).backward()
    assert policy.action_net.bias.grad is not None and policy.action_net.bias.grad.item() > 0


def test_the_size_of_rewards_changes_nothing_for_the_actor() -> None:
    learner, batch = Td3Bc(fresh(2, 4)), chain().at(torch.arange(3))
    before = learner.actor_loss(batch)
    with torch.no_grad():
        for parameter in learner.critics.first.head[-1].parameters():
            parameter.mul_(10.0)
    torch.testing.assert_close(learner.actor_loss(batch), before)


def test_the_actor_learns_at_every_second_update_and_its_spread_never() -> None:
    policy = fresh(2, 4)
    learner, start = Td3Bc(policy), deepcopy(policy.state_dict())
    learner.update(chain().at(torch.arange(3)))
    assert all(torch.equal(tensor, start[name]) for name, tensor in policy.state_dict().items())
    learner.update(chain().at(torch.arange(3)))
    assert not torch.equal(policy.action_net.weight, start["action_net.weight"])
    assert torch.equal(policy.log_std, start["log_std"])


def test_the_same_seed_gives_the_same_policy_and_another_another() -> None:
    def weights(seed: int) -> torch.Tensor:
        policy = fresh(2, 4)
        torch.manual_seed(seed + 77)  # what others drew before does not matter
        learn(Td3Bc(policy, seed=seed), chain(), steps=6, batch_size=8, seed=seed)
        return policy.action_net.weight

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))


@pytest.mark.parametrize("wrong", [{"alpha": 0.0}, {"lr": 0.0}, {"gamma": 1.0}, {"gamma": -0.1}])
def test_options_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"alpha and lr must be positive and gamma in \[0, 1\)"):
        Td3Bc(fresh(2, 4), **wrong)
