"""Members of the ensemble: who answers, who learns, and how far they are apart."""

import pytest
import torch
from einops import rearrange
from torch import Tensor

from worldrl.diffusion.denoiser import Denoiser
from worldrl.diffusion.edm import NoiseSchedule, expand
from worldrl.diffusion.network import DenoiserNet
from worldrl.diffusion.transformer import TokenDenoiserNet

SHAPE, CODE = (3, 4), 6
SCHEDULE = NoiseSchedule()


class Oracle(DenoiserNet):
    """Knows the clean change of every row for each member, ``(b, m, *o)``, whatever it is shown."""

    def __init__(self, change: Tensor) -> None:
        super().__init__()
        self.change = change

    def look(self, history: Tensor, codes: Tensor) -> None:
        return None

    def answer(self, x: Tensor, c_noise: Tensor, seen: None) -> Tensor:
        s = SCHEDULE.scales((4 * c_noise).exp())
        skipped = rearrange(expand(s.c_skip / s.c_in, x) * x, "b ... -> b 1 ...")
        return (self.change - skipped) / rearrange(expand(s.c_out, x), "b ... -> b 1 ...")


def wrap(net: DenoiserNet, *, scale: float = 1.0) -> Denoiser:
    ones = torch.ones(SHAPE)
    return Denoiser(net, SCHEDULE, drift=None, change_scale=scale * ones, weight=ones)


def given(rows: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return noise, history and action codes."""
    rng = torch.Generator().manual_seed(0)
    shapes = ((rows, *SHAPE), (rows, 2, *SHAPE), (rows, 2, CODE))
    noise, history, codes = (torch.randn(shape, generator=rng) for shape in shapes)
    return noise, history, codes


@pytest.fixture
def untrained() -> Denoiser:
    torch.manual_seed(0)
    return wrap(TokenDenoiserNet(obs_shape=SHAPE, history=2, code_dim=CODE, width=16, depth=1, heads=2, members=3))


@torch.no_grad()
def test_without_noise_every_member_returns_the_input(untrained: Denoiser) -> None:
    x, history, codes = given(4)
    out = untrained(x, torch.full((4,), 1e-6), history, codes)
    torch.testing.assert_close(out, x[:, None].expand(4, 3, *SHAPE), atol=1e-4, rtol=0)


@pytest.mark.parametrize("steps", [1, 3])
def test_each_row_follows_its_own_member_in_the_unit_of_the_change(steps: int) -> None:
    change, (noise, history, codes) = torch.randn(4, 2, *SHAPE), given(4)
    member = torch.tensor([0, 1, 1, 0])
    found, _ = wrap(Oracle(change), scale=0.3).sample(noise, history, codes, member=member, steps=steps)
    torch.testing.assert_close(found, history[:, -1] + 0.3 * change[torch.arange(4), member], atol=1e-4, rtol=0)


@torch.no_grad()
def test_another_member_gives_another_answer(untrained: Denoiser) -> None:
    noise, history, codes = given(4)
    answers = [untrained.sample(noise, history, codes, member=torch.full((4,), i), steps=2)[0] for i in range(2)]
    assert (answers[0] - answers[1]).abs().amax(dim=(1, 2)).min() > 1e-3


@pytest.mark.parametrize(("values", "expected"), [((0.0,), 0.0), ((1.0, 1.0), 0.0), ((0.0, 2.0), 2**0.5)])
def test_how_far_members_are_apart_is_their_unbiased_deviation(values: tuple[float, ...], expected: float) -> None:
    change = torch.stack([torch.full((4, *SHAPE), value) for value in values], dim=1)
    noise, history, codes = given(4)
    _, apart = wrap(Oracle(change)).sample(noise, history, codes, member=torch.zeros(4, dtype=torch.long), steps=1)
    torch.testing.assert_close(apart, torch.full((4,), expected), atol=1e-3, rtol=0)


@pytest.mark.parametrize(("weights", "share"), [([1.0, 0.0], 0.0), ([1.0, 1.0], 0.5), ([0.0, 1.0], 1.0)])
def test_a_member_learns_from_the_rows_it_was_given_only(weights: list[float], share: float) -> None:
    """Member 0 knows the answer, member 1 is off by one, so that all of the loss is of member 1."""
    _, history, codes = given(4)
    change = torch.ones(4, *SHAPE)
    denoiser = wrap(Oracle(torch.stack([change, change + 1.0], dim=1)))

    def loss(member_weight: list[float]) -> float:
        return denoiser.loss(
            history[:, -1] + 1.0,
            history,
            codes,
            member_weight=torch.tensor([member_weight] * 4),
            generator=torch.Generator().manual_seed(0),
        ).item()

    assert loss(weights) == pytest.approx(share * loss([0.0, 1.0]), rel=1e-3, abs=1e-6)
    assert loss([0.0, 1.0]) > 1.0
