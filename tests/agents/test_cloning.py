"""Cloning fits the actor, leaves everything else alone, and refuses what it cannot learn from."""

import pytest
import torch
from torch import Tensor

from worldrl.agents.cloning import clone
from worldrl.agents.policy import GaussianPolicy, make_policy
from worldrl.errors import DataError, NumericsError

SHAPE = (3, 4)


@pytest.fixture
def policy() -> GaussianPolicy:
    torch.manual_seed(0)
    return make_policy(SHAPE, 2, sigma=0.3)


def linear(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return observations and the actions of a policy that is linear in the hand and the first object."""
    obs = torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(seed))
    return obs, 0.3 * obs[:, 1, :2] - 0.2 * obs[:, 0, 2:]


def state(policy: GaussianPolicy, *parts: str) -> dict[str, Tensor]:
    return {name: t.clone() for name, t in policy.state_dict().items() if name.startswith(parts)}


def test_a_linear_policy_is_cloned_and_does_as_well_on_fresh_observations(policy: GaussianPolicy) -> None:
    losses: list[float] = []
    last = clone(policy, *linear(1000, 0), steps=400, price=0.01, progress=lambda _, loss: losses.append(loss))
    obs, acts = linear(200, 1)
    with torch.no_grad():
        error = (policy.mean(obs) - acts).square().mean()
    assert error < 0.05 * acts.var()
    assert len(losses) == 400
    assert last == pytest.approx(sum(losses[360:]) / 40)
    assert last < losses[0] - 0.2
    assert not policy.training


def test_the_critic_and_the_standard_deviation_stay_as_they_are(policy: GaussianPolicy) -> None:
    others = ("log_std", "value_net", "mlp_extractor.value_net", "vf_features_extractor.rest")
    before, actor = state(policy, *others), state(policy, "action_net")
    clone(policy, *linear(64, 0), steps=5)
    assert all(torch.equal(tensor, before[name]) for name, tensor in state(policy, *others).items())
    assert not torch.equal(policy.action_net.weight, actor["action_net.weight"])


def test_the_critic_looks_at_what_the_actor_looks_at(policy: GaussianPolicy) -> None:
    clone(policy, *linear(500, 0), steps=300, price=1.0)
    actor, critic = policy.pi_features_extractor.gated.gate, policy.vf_features_extractor.gated.gate
    assert torch.equal(actor, critic)
    assert actor[1] <= 0 < actor[0]


def test_the_same_seed_gives_the_same_clone(policy: GaussianPolicy) -> None:
    torch.manual_seed(0)
    twin = make_policy(SHAPE, 2, sigma=0.3)
    clone(policy, *linear(64, 0), steps=5, seed=3)
    torch.manual_seed(99)
    clone(twin, *linear(64, 0), steps=5, seed=3)
    assert torch.equal(policy.action_net.weight, twin.action_net.weight)
    clone(twin, *linear(64, 0), steps=5, seed=4)
    assert not torch.equal(policy.action_net.weight, twin.action_net.weight)


def test_rows_are_cloned_as_often_as_they_weigh(policy: GaussianPolicy) -> None:
    obs = torch.zeros(40, *SHAPE)
    acts = torch.where(torch.arange(40)[:, None] < 20, 0.5, -0.5).expand(40, 2)
    clone(policy, obs, acts, steps=300, weights=torch.where(torch.arange(40) < 20, 3.0, 1.0), price=0.0)
    assert policy.mean(obs[:1]).detach().numpy() == pytest.approx(0.25, abs=0.05)


def test_a_policy_over_frames_is_cloned_too() -> None:
    torch.manual_seed(0)
    policy = make_policy((3, 16, 16), 1)
    acts = torch.where(torch.arange(32) % 2 == 0, 0.8, -0.8)[:, None]
    obs = acts[:, :, None, None].expand(32, 3, 16, 16)
    first = policy.mean(obs).detach()
    clone(policy, obs, acts, steps=40, batch_size=32)
    assert (policy.mean(obs) - acts).abs().mean() < 0.3 * (first - acts).abs().mean()


@pytest.mark.parametrize(
    ("obs", "acts", "message"),
    [
        (torch.zeros(0, *SHAPE), torch.zeros(0, 2), "equally many and not none, got 0 and 0"),
        (torch.zeros(5, *SHAPE), torch.zeros(4, 2), "equally many and not none, got 5 and 4"),
        (torch.zeros(5, *SHAPE), torch.zeros(5, 1), r"must be \(\(3, 4\), \(2,\)\), got \(\(3, 4\), \(1,\)\)"),
        (torch.zeros(5, 3, 5), torch.zeros(5, 2), r"must be \(\(3, 4\), \(2,\)\), got \(\(3, 5\), \(2,\)\)"),
    ],
)
def test_rows_that_do_not_fit_are_refused(policy: GaussianPolicy, obs: Tensor, acts: Tensor, message: str) -> None:
    before = state(policy, "")
    with pytest.raises(DataError, match=message):
        clone(policy, obs, acts, steps=1)
    assert all(torch.equal(tensor, before[name]) for name, tensor in state(policy, "").items())


@pytest.mark.fault(43)
def test_a_loss_that_is_no_number_stops_it(policy: GaussianPolicy) -> None:
    with pytest.raises(NumericsError, match="the cloning loss is nan at step 0"):
        clone(policy, torch.full((8, *SHAPE), float("nan")), torch.zeros(8, 2), steps=3)
