"""IQL finds exact values and expectiles, and the few good episodes among many bad ones."""

import numpy as np
import pytest
import torch
from toys import chain, mixed, success

from worldrl.agents.cloning import clone
from worldrl.agents.iql import Iql, expectile_loss
from worldrl.agents.policy import GaussianPolicy, make_policy
from worldrl.agents.transitions import Experience, learn
from worldrl.errors import ConfigError


def fresh(*obs_shape: int) -> GaussianPolicy:
    torch.manual_seed(0)
    return make_policy(obs_shape, 1)


def fork() -> Experience:
    """Record one place from which +1 solves the task and -1 leads to a place where nothing ever happens."""
    start, lost, solved = np.zeros((3, 2, 1), np.float32)
    lost[0], solved[0] = 1.0, -1.0
    right = (np.stack([start, solved]), np.ones((1, 1), np.float32), np.array([False, True]))
    left = (np.stack([start, lost, lost]), -np.ones((2, 1), np.float32), np.zeros(3, bool))
    return Experience.of(*zip(right, left, strict=True))


def test_errors_are_weighed_by_their_sign() -> None:
    error = torch.tensor([2.0, -1.0])
    assert expectile_loss(error, 0.5).item() == pytest.approx((0.5 * 4 + 0.5 * 1) / 2)
    assert expectile_loss(error, 0.9).item() == pytest.approx((0.9 * 4 + 0.1 * 1) / 2)


def test_the_values_of_a_chain_are_powers_of_the_discount() -> None:
    learner, steps = Iql(fresh(2, 4), gamma=0.5, lr=3e-3, tau=0.05), chain()
    learn(learner, steps, steps=300, batch_size=60)
    row, expected = steps.at(torch.arange(3)), torch.tensor([0.25, 0.5, 1.0])
    with torch.no_grad():
        for answer in (*learner.critics(row.obs, row.acts), learner.value(row.obs)):
            torch.testing.assert_close(answer, expected, atol=0.03, rtol=0.0)


@pytest.mark.parametrize("expectile", [0.5, 0.7, 0.9])
def test_where_half_of_the_actions_succeed_the_value_is_the_expectile(expectile: float) -> None:
    # tau (1 - v) = (1 - tau) (v - 0) has the solution v = tau.
    learner = Iql(fresh(2, 1), expectile=expectile, lr=3e-3, tau=0.05)
    learn(learner, fork(), steps=300, batch_size=60)
    with torch.no_grad():
        assert learner.value(torch.zeros(1, 2, 1)).item() == pytest.approx(expectile, abs=0.05)


def test_it_finds_the_few_good_episodes_where_cloning_takes_the_mean() -> None:
    steps, cloned, policy = mixed(), fresh(2, 2), fresh(2, 2)
    clone(cloned, steps.seen[steps.rows], steps.acts, steps=200, batch_size=64, price=0.0)
    learner = Iql(policy, expectile=0.9, temperature=10.0, gamma=0.8, lr=1e-3, tau=0.05)
    learn(learner, steps, steps=400, batch_size=128)
    assert success(cloned) < 0.3
    assert success(policy) > 0.9


def test_at_temperature_zero_it_clones_everything() -> None:
    policy = fresh(2, 1)
    learn(Iql(policy, temperature=0.0, lr=3e-3), fork(), steps=100, batch_size=60)
    with torch.no_grad():
        assert policy.mean(torch.zeros(1, 2, 1)).item() == pytest.approx(0.0, abs=0.15)


def test_the_same_seed_gives_the_same_policy_and_another_another() -> None:
    def weights(seed: int) -> torch.Tensor:
        policy = fresh(2, 4)
        torch.manual_seed(seed + 77)  # what others drew before does not matter
        learn(Iql(policy, seed=seed), chain(), steps=6, batch_size=8, seed=seed)
        return policy.action_net.weight

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"expectile": 1.0}, r"expectile must be in \(0, 1\)"),
        ({"expectile": 0.0}, r"expectile must be in \(0, 1\)"),
        ({"gamma": 1.0}, r"gamma in \[0, 1\)"),
        ({"temperature": -1.0}, "temperature must be 0 or more"),
        ({"lr": 0.0}, "lr positive"),
    ],
)
def test_options_out_of_range_are_refused(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Iql(fresh(2, 4), **wrong)
