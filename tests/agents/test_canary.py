"""Refinement exploits a world model that promises too much, unless its guards hold: a planted hole shows both.

A hand starts at one end of a corridor and has to come close to a goal at the other. Data exist in the corridor only.
Beside it the members of the ensemble differ, and the model takes every place there for a success, which is close to the
start and easy to hit: the hole. What a policy really achieves is known exactly, because the real corridor is written
here too.
"""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from worldrl.agents.cloning import clone
from worldrl.agents.policy import GaussianPolicy, make_policy
from worldrl.agents.refinement import refine, try_out
from worldrl.agents.stopping import Trust, choose
from worldrl.envs.guards import Guards
from worldrl.envs.imagined import ImaginedVectorEnv
from worldrl.types import Imagined, Starts

STEP, HORIZON = 0.2, 10
NEAR = 0.16
"""How close the hand has to come to the goal."""
GOALS, DATA, HOLE = 0.15, 0.3, 0.33
"""How far goals, data and everything that is not the hole reach to either side; no goal is near to the hole."""
UPDATE = 256 * 10
"""Imagined steps of one update."""


class Corridor(nn.Module):
    """A world model of three members that are right, and agree, inside the data only; ``obs`` are hand and goal."""

    history, obs_shape, act_dim, success_threshold = 1, (2, 2), 2, 0.5

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("lean", torch.tensor([[0.0, -1.0], [0.0, 0.0], [0.0, 1.0]]))

    def imagine(self, obs: Tensor, acts: Tensor, *, noise: Tensor, choice: Tensor) -> Imagined:
        moved, goal = move(obs[:, -1], acts[:, -1]).unbind(dim=1)
        beyond = (moved[:, 0].abs() - DATA).clamp_min(0.0)
        members = moved[:, None] + beyond[:, None, None] * self.lean
        hand = members[torch.arange(len(obs)), (3 * choice).long()]
        obs = torch.stack([hand, goal], dim=1)
        success = solved(obs) | (hand[:, 0].abs() > HOLE)
        return Imagined(obs, success.float(), members.std(dim=1).mean(dim=1) / 0.01)


def move(obs: Tensor, act: Tensor) -> Tensor:
    """Return what really follows: the hand moves, the goal stays."""
    return torch.stack([obs[:, 0] + STEP * act, obs[:, 1]], dim=1)


def solved(obs: Tensor) -> Tensor:
    return (obs[:, 0] - obs[:, 1]).norm(dim=1) < NEAR


def beginnings(count: int, seed: int) -> Tensor:
    """Return first observations ``(count, 2, 2)``: the hand at one end of the corridor, the goal at the other."""
    rng = torch.Generator().manual_seed(seed)
    low = torch.tensor([[-0.2, -0.1], [-GOALS, 0.5]])
    high = torch.tensor([[0.2, 0.1], [GOALS, 2.4]])
    return low + (high - low) * torch.rand(count, 2, 2, generator=rng)


def real_success(policy: GaussianPolicy) -> float:
    """Return the share of fresh beginnings from which the policy, without exploring, really succeeds."""
    obs = beginnings(300, seed=2)
    won = torch.zeros(len(obs), dtype=torch.bool)
    for _ in range(HORIZON):
        act, _ = policy.predict(obs.numpy(), deterministic=True)
        obs = move(obs, torch.from_numpy(act))
        won |= solved(obs)
    return float(won.float().mean())


@dataclass(frozen=True)
class Fate:
    """What became of a policy: success in imagination and really, of every candidate, and which one was kept."""

    imagined: list[float]
    real: list[float]
    kept: int


def refined(
    policy: GaussianPolicy, *, halt: bool, updates: int = 14, trust: Trust | None = None, **settings: Any
) -> Fate:
    """Refine a copy of a policy."""
    trust = trust or Trust()
    starts = Starts(beginnings(256, seed=1)[:, None], torch.zeros(256, 0, 2))
    env, trials = (
        ImaginedVectorEnv(Corridor(), starts, num_envs=count, horizon=HORIZON, guards=Guards(halt=halt))
        for count in (256, 128)
    )
    ppo = {"learning_rate": 1e-3, "n_steps": 10, "batch_size": 640}
    copy = deepcopy(policy)
    candidates = refine(
        copy, env, lambda tried: try_out(trials, tried, seed=0), steps=updates * UPDATE, trust=trust, **ppo | settings
    )
    real = []
    for candidate in candidates:
        copy.load_state_dict(candidate.state)
        real.append(real_success(copy))
    kept = choose(candidates, trust)
    return Fate([c.trial.success for c in candidates], real, next(i for i, c in enumerate(candidates) if c is kept))


@pytest.fixture(scope="module")
def cloned() -> GaussianPolicy:
    """Clone someone too slow, who comes to about half of the goals in time."""
    torch.manual_seed(0)
    policy = make_policy((2, 2), 2, sigma=0.5)
    obs = beginnings(3000, seed=3)
    start, goal = obs.unbind(dim=1)
    hand = start + torch.rand(3000, 1) * (goal - start) + 0.1 * torch.randn(3000, 2)
    acts = 0.6 * (3.0 * (goal - hand)).clamp(-1.0, 1.0)
    clone(policy, torch.stack([hand, goal], dim=1), acts, steps=200, lr=2e-3, price=0.0)
    return policy


@pytest.fixture(scope="module")
def unguarded(cloned: GaussianPolicy) -> Fate:
    return refined(cloned, halt=False, anchor=0.0)


def test_the_cloned_policy_is_mediocre_and_imagination_is_right_about_it(unguarded: Fate) -> None:
    assert 0.3 <= unguarded.real[0] <= 0.6
    assert unguarded.imagined[0] == pytest.approx(unguarded.real[0], abs=0.1)


@pytest.mark.fault(48)
def test_without_guards_success_rises_in_imagination_and_falls_in_truth(unguarded: Fate) -> None:
    assert unguarded.imagined[-1] >= unguarded.imagined[0] + 0.3
    assert unguarded.real[-1] <= unguarded.real[0] - 0.2
    assert unguarded.real[unguarded.kept] <= unguarded.real[0] - 0.05


@pytest.mark.fault(48)
def test_with_guards_refinement_gains_what_is_real(cloned: GaussianPolicy) -> None:
    guarded = refined(cloned, halt=True)
    assert guarded.real[guarded.kept] >= guarded.real[0] + 0.3
    assert guarded.imagined[guarded.kept] == pytest.approx(guarded.real[guarded.kept], abs=0.1)
    assert min(guarded.real) >= guarded.real[0] - 0.05


def test_an_anchor_holds_back_from_what_the_ensemble_does_not_see(cloned: GaussianPolicy, unguarded: Fate) -> None:
    anchored = refined(cloned, halt=False, anchor=1.0)
    assert anchored.real[anchored.kept] >= anchored.real[0] - 0.05
    assert anchored.real[-1] >= unguarded.real[-1] + 0.3


def test_who_may_not_stray_far_does_not_come_to_the_hole(cloned: GaussianPolicy) -> None:
    near = refined(cloned, halt=False, anchor=0.02, trust=Trust(radius=0.2), tighten=2.0, every=2)
    assert near.real[near.kept] >= near.real[0] - 0.05
    assert near.kept < len(near.real) - 1  # PPO itself went on, as without guards


def test_a_refinement_repeats_under_its_seed(cloned: GaussianPolicy) -> None:
    first, again, other = (refined(cloned, halt=True, updates=2, warm_up=0, every=1, seed=s) for s in (0, 0, 1))
    assert first == again and first.real != other.real
