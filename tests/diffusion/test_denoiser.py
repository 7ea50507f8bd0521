"""A denoiser that knows the answer finds it; one that does not learns it."""

import pytest
import torch
from torch import Tensor, nn

from worldrl.diffusion.actions import two_hot
from worldrl.diffusion.denoiser import Denoiser
from worldrl.diffusion.drift import LinearDrift
from worldrl.diffusion.edm import NoiseSchedule
from worldrl.diffusion.network import DenoiserNet
from worldrl.diffusion.transformer import TokenDenoiserNet

K, D, T, A = 3, 4, 2, 2


class Oracle(DenoiserNet):
    """Answers with the ``F`` of a known clean change, one for each member."""

    def __init__(self, answers: Tensor) -> None:
        super().__init__()
        self.answers, self.schedule = answers, NoiseSchedule()

    def look(self, history: Tensor, codes: Tensor) -> None:
        return None

    def answer(self, x: Tensor, c_noise: Tensor, seen: None) -> Tensor:
        s = self.schedule.scales((4 * c_noise).exp())
        noisy = x / s.c_in.view(-1, 1, 1)
        clean = self.answers.expand(len(x), *self.answers.shape)
        return (clean - (s.c_skip.view(-1, 1, 1) * noisy)[:, None]) / s.c_out.view(-1, 1, 1, 1)


def denoiser(net: DenoiserNet, *, drift: nn.Module | None = None) -> Denoiser:
    ones = torch.ones(K, D)
    return Denoiser(net, NoiseSchedule(), drift=drift, change_scale=2 * ones, weight=ones.clone())


def net(members: int = 2) -> TokenDenoiserNet:
    torch.manual_seed(0)
    return TokenDenoiserNet(obs_shape=(K, D), history=T, code_dim=21 * A, width=16, depth=1, heads=2, members=members)


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_sampling_finds_what_the_network_knows(steps: int) -> None:
    answers = torch.randn(2, K, D)
    history, codes = torch.randn(6, T, K, D), torch.zeros(6, T, 21 * A)
    member = torch.tensor([0, 1, 0, 1, 1, 0])
    found, apart = denoiser(Oracle(answers)).sample(torch.randn(6, K, D), history, codes, member=member, steps=steps)
    torch.testing.assert_close(found, history[:, -1] + 2 * answers[member], atol=2e-2, rtol=0)
    torch.testing.assert_close(apart, answers.var(dim=0).mean().sqrt().expand(6), atol=1e-3, rtol=1e-3)


def test_members_that_agree_are_not_apart() -> None:
    answers = torch.randn(1, K, D).expand(3, K, D)
    zeros = torch.zeros(2, dtype=torch.long)
    model = denoiser(Oracle(answers))
    _, apart = model.sample(torch.randn(2, K, D), torch.zeros(2, T, K, D), torch.zeros(2, T, 42), member=zeros, steps=1)
    torch.testing.assert_close(apart, torch.zeros(2), atol=1e-4, rtol=0)


def test_a_row_does_not_see_the_rest_of_its_batch() -> None:
    model, history, codes = denoiser(net()).eval(), torch.randn(8, T, K, D), two_hot(torch.rand(8, T, A))
    noise, member = torch.randn(8, K, D), torch.arange(8) % 2
    with torch.no_grad():
        all_rows, _ = model.sample(noise, history, codes, member=member, steps=2)
        one_row, _ = model.sample(noise[3:4], history[3:4], codes[3:4], member=member[3:4], steps=2)
    torch.testing.assert_close(all_rows[3:4], one_row, atol=1e-5, rtol=1e-5)


def test_it_learns_one_batch_and_listens_to_actions() -> None:
    model, rng = denoiser(net()), torch.Generator().manual_seed(0)
    history, acts = torch.randn(32, T, K, D), torch.rand(32, T, A) * 2 - 1
    target = history[:, -1] + acts[:, -1].sum(dim=-1).view(-1, 1, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(150):
        loss = model.loss(target, history, two_hot(acts), member_weight=torch.ones(32, 2), generator=rng)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-20:]) < 0.5 * sum(losses[:20])
    with torch.no_grad():
        still = {
            "noise": torch.zeros(32, K, D),
            "history": history,
            "member": torch.zeros(32, dtype=torch.long),
            "steps": 1,
        }
        there, _ = model.sample(codes=two_hot(acts), **still)
        elsewhere, _ = model.sample(codes=two_hot(-acts), **still)
    assert (there - elsewhere).abs().mean() > 0.2


def test_the_drift_finds_a_linear_world() -> None:
    torch.manual_seed(0)
    history, codes = torch.randn(400, T, K, D), two_hot(torch.rand(400, T, A) * 2 - 1)
    change = 0.5 * history[:, -1] - 0.2 * history[:, 0] + codes[:, -1, :D].unsqueeze(1)
    drift = LinearDrift(obs_shape=(K, D), history=T, code_dim=21 * A)
    assert drift(history, codes).abs().max() == 0
    drift.fit(history, codes, change, ridge=1e-3)
    torch.testing.assert_close(drift(history, codes), change, atol=2e-2, rtol=0)
