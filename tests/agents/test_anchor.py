"""What PPO sees of a policy: its capped noise, its anchor, and which parameters decide."""

import numpy as np
import pytest
import torch

from worldrl.agents.policy import GaussianPolicy, make_policy

SHAPE = (3, 4)


def make(seed: int, **changes: float) -> GaussianPolicy:
    torch.manual_seed(seed)
    return make_policy(SHAPE, 2, **changes)


def test_below_its_cap_the_standard_deviation_is_what_it_is_and_without_one_too() -> None:
    obs = torch.zeros(1, *SHAPE)
    torch.testing.assert_close(make(0, sigma=0.2).get_distribution(obs).distribution.stddev, torch.full((1, 2), 0.2))
    free = make_policy(SHAPE, 2, sigma=3.0, sigma_cap=None)
    torch.testing.assert_close(free.get_distribution(obs).distribution.stddev, torch.full((1, 2), 3.0))


def test_the_divergence_is_that_of_two_gaussians_with_other_spreads_as_well() -> None:
    policy, anchor, obs = make(0, sigma=0.2), make(1, sigma=0.4), torch.randn(6, *SHAPE)
    policy.anchor_to(anchor)
    apart = (policy.mean(obs) - anchor.mean(obs)).square()
    by_hand = (np.log(0.4 / 0.2) + (0.2**2 + apart) / (2 * 0.4**2) - 0.5).sum(dim=-1)
    torch.testing.assert_close(policy.divergence(obs), by_hand, atol=1e-5, rtol=1e-4)


def test_a_policy_does_not_diverge_from_its_copy() -> None:
    policy, obs = make(0), torch.randn(6, *SHAPE)
    policy.anchor_to(make(0))
    torch.testing.assert_close(policy.divergence(obs), torch.zeros(6), atol=1e-6, rtol=0)


def test_the_anchor_pulls_the_policy_and_does_not_move_itself() -> None:
    policy, anchor, obs = make(0), make(1), torch.randn(64, *SHAPE)
    torch.nn.init.constant_(anchor.action_net.bias, 0.5)
    policy.anchor_to(anchor)
    kept = {name: tensor.clone() for name, tensor in anchor.state_dict().items()}
    optimizer = torch.optim.Adam(policy.actor_parameters(), lr=1e-2)
    before = policy.divergence(obs).mean().item()
    for _ in range(30):
        *_, entropy = policy.evaluate_actions(obs, torch.zeros(64, 2))
        assert entropy is not None
        optimizer.zero_grad()
        (-entropy.mean()).backward()
        optimizer.step()
    assert policy.divergence(obs).mean() < 0.2 * before
    assert all(torch.equal(tensor, kept[name]) for name, tensor in anchor.state_dict().items())
    assert not any(parameter.requires_grad for parameter in anchor.parameters())


def test_the_value_does_not_move_the_actor_and_the_action_does_not_move_the_critic() -> None:
    policy, obs = make(0), torch.randn(4, *SHAPE)
    policy.share_gates()
    actor = {id(parameter) for parameter in policy.actor_parameters()}
    for wanted, index in ((False, 0), (True, 1)):
        policy.zero_grad()
        policy.evaluate_actions(obs, torch.zeros(4, 2))[index].sum().backward()
        moved = [p for p in policy.parameters() if p.grad is not None and p.grad.abs().max() > 0]
        assert moved and all((id(parameter) in actor) == wanted for parameter in moved)


@pytest.mark.parametrize("shape", [SHAPE, (3, 16, 16)])
def test_it_acts_on_one_observation_and_on_many_within_bounds(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    policy = make_policy(shape, 2, sigma=1.0)
    obs = np.random.default_rng(0).normal(size=(5, *shape)).astype(np.float32)
    many, state = policy.predict(obs)
    assert many.shape == (5, 2) and many.dtype == np.float32 and state is None
    assert (np.abs(many) <= 1).all()
    one, all_of_them = policy.predict(obs[2], deterministic=True)[0], policy.predict(obs, deterministic=True)[0]
    assert one.shape == (2,)
    np.testing.assert_allclose(one, all_of_them[2], atol=1e-6)
