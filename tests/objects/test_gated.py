"""Gates close on what does not matter."""

import torch
from torch import nn

from worldrl.objects.gated import GatedTokens


def test_a_closed_gate_lets_nothing_through() -> None:
    gated, obs = GatedTokens(obs_shape=(3, 4), width=8), torch.randn(2, 3, 4)
    with torch.no_grad():
        gated.gate[1] = -0.1
    moved = obs.clone()
    moved[:, 2] += 1.0
    assert torch.equal(gated(obs), gated(moved))
    moved[:, 1] += 1.0
    assert not torch.equal(gated(obs), gated(moved))


def test_the_price_closes_the_gate_of_what_does_not_help() -> None:
    torch.manual_seed(0)
    obs = torch.randn(256, 3, 2)
    answer = obs[:, 1, 0] - obs[:, 0, 0]  # token 2 says nothing
    gated, rest = GatedTokens(obs_shape=(3, 2), width=16), nn.Sequential(nn.SiLU(), nn.Linear(16, 1))
    optimizer = torch.optim.AdamW(gated.parameter_groups([*gated.parameters(), *rest.parameters()]), lr=1e-2)
    for _ in range(300):
        loss = (rest(gated(obs))[:, 0] - answer).square().mean() + 0.1 * gated.cost()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    decisive, useless = gated.gate.tolist()
    assert decisive > 0.1 and useless <= 0.01
