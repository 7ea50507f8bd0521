"""The policy caps its noise, is pulled to its anchor, and acts the same alone and in company."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from worldrl.agents.cloning import clone
from worldrl.agents.policy import GaussianPolicy, Origin, PolicyActor, load_policy, make_policy
from worldrl.errors import ConfigError, DataError

SHAPE = (3, 4)


@pytest.fixture
def policy() -> GaussianPolicy:
    torch.manual_seed(0)
    return make_policy(SHAPE, 2, sigma=0.3, sigma_cap=0.5)


def test_the_standard_deviation_never_passes_its_cap(policy: GaussianPolicy) -> None:
    with torch.no_grad():
        policy.log_std.fill_(3.0)
    distribution = policy.get_distribution(torch.randn(5, *SHAPE))
    torch.testing.assert_close(distribution.distribution.stddev, torch.full((5, 2), 0.5))


def test_with_an_anchor_the_entropy_is_minus_the_divergence(policy: GaussianPolicy) -> None:
    torch.manual_seed(1)
    anchor, obs = make_policy(SHAPE, 2, sigma=0.3, sigma_cap=0.5), torch.randn(6, *SHAPE)
    *_, plain = policy.evaluate_actions(obs, torch.zeros(6, 2))
    policy.anchor_to(anchor)
    *_, entropy = policy.evaluate_actions(obs, torch.zeros(6, 2))
    by_hand = ((policy.mean(obs) - anchor.mean(obs)).square() / (2 * 0.3**2)).sum(dim=-1)
    torch.testing.assert_close(entropy, -by_hand, atol=1e-5, rtol=1e-4)
    assert plain is not None and (plain > 0).all()
    assert "_anchor" not in "".join(policy.state_dict())


def test_the_critic_is_no_part_of_the_actor(policy: GaussianPolicy) -> None:
    actor = {id(parameter) for parameter in policy.actor_parameters()}
    critic = [*policy.vf_features_extractor.parameters(), *policy.value_net.parameters()]
    assert not actor & {id(parameter) for parameter in critic}


def test_a_saved_policy_acts_the_same_and_knows_its_origin(policy: GaussianPolicy, tmp_path: Path) -> None:
    policy.save_pretrained(tmp_path / "policy", origin=Origin("abc", 10, 20))
    again, origin = load_policy(tmp_path / "policy")
    obs = np.random.default_rng(0).normal(size=(5, *SHAPE)).astype(np.float32)
    np.testing.assert_array_equal(again.predict(obs, deterministic=True)[0], policy.predict(obs, deterministic=True)[0])
    assert origin == Origin("abc", 10, 20)


class Numbers:
    """A pipeline whose observation is the proprioception, repeated."""

    masks = "none"

    def __call__(self, frames: Any, proprio: Any, labels: Any) -> Any:
        return np.repeat(proprio[:, None], 3, axis=1)


@pytest.mark.parametrize("deterministic", [True, False])
def test_an_actor_does_the_same_alone_and_in_company(policy: GaussianPolicy, deterministic: bool) -> None:
    seen = [{"image": np.zeros((2, 2, 3)), "proprio": np.full(4, i, np.float32)} for i in range(3)]
    envs = [SimpleNamespace(unwrapped=None)] * 3

    def act(slots: list[int]) -> Any:
        actor = PolicyActor(policy, Numbers(), deterministic=deterministic)
        for slot in slots:
            actor.begin(slot, None, seed=slot)
        return actor.act([seen[slot] for slot in slots], [envs[slot] for slot in slots], np.array(slots))

    together = act([0, 1, 2])
    assert together.dtype == np.float32 and (np.abs(together) <= 1).all()
    np.testing.assert_allclose(act([1])[0], together[1], atol=1e-6)


def test_cloning_copies_what_was_done() -> None:
    torch.manual_seed(0)
    obs = torch.randn(400, *SHAPE)
    acts = torch.tanh(obs[:, 1, :2] - obs[:, 0, :2])
    policy = make_policy(SHAPE, 2)
    clone(policy, obs, acts, steps=400, price=0.05)
    done, _ = policy.predict(obs.numpy(), deterministic=True)
    assert np.abs(done - acts.numpy()).mean() < 0.25 * acts.abs().mean()
    gates = policy.gates()
    assert gates is not None and gates.gate[0] > gates.gate[1]


def test_nothing_cannot_be_cloned(policy: GaussianPolicy) -> None:
    with pytest.raises(DataError, match="equally many and not none, got 0 and 0"):
        clone(policy, torch.zeros(0, *SHAPE), torch.zeros(0, 2))


def test_a_standard_deviation_above_its_cap_finds_the_way_back() -> None:
    policy = make_policy(SHAPE, 2, sigma=0.3, sigma_cap=1.0)
    policy.log_std.data.fill_(1.0)
    torch.testing.assert_close(torch.as_tensor(policy.std()), torch.ones(2))
    policy.get_distribution(torch.zeros(1, *SHAPE)).distribution.stddev.sum().backward()
    assert policy.log_std.grad is not None and (policy.log_std.grad > 0).all()


def test_it_is_shown_only_the_first_numbers_of_proprioception_and_stays_so(tmp_path: Path) -> None:
    policy, obs = make_policy(SHAPE, 2, proprio=2), torch.randn(5, *SHAPE)
    policy.save_pretrained(tmp_path / "policy", origin=Origin("p"))
    loaded, _ = load_policy(tmp_path / "policy")
    moved, felt = obs.clone(), obs.clone()
    moved[:, 0, 2:] += 1.0
    felt[:, 0, :2] += 1.0
    torch.testing.assert_close(loaded.mean(moved), policy.mean(obs))
    assert (loaded.mean(felt) - policy.mean(obs)).abs().min() > 0
    with pytest.raises(ConfigError, match="got 5 of"):
        make_policy(SHAPE, 2, proprio=5)


@pytest.mark.parametrize("wrong", [{"sigma": 0.0}, {"sigma": -0.3}, {"sigma_cap": 0.0}])
def test_a_standard_deviation_that_is_not_positive_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="must be positive"):
        make_policy(SHAPE, 2, **wrong)
