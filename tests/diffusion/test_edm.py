"""The preconditioning keeps its promises, and the noise levels are those of the paper."""

import pytest
import torch
from diffusers import EDMEulerScheduler

from worldrl.diffusion.edm import NoiseSchedule


def test_inputs_and_targets_have_unit_variance() -> None:
    schedule, sigma = NoiseSchedule(), torch.tensor([0.01, 0.3, 2.0, 40.0])
    s = schedule.scales(sigma)
    data = schedule.sigma_data**2
    torch.testing.assert_close(s.c_in**2 * (sigma**2 + data), torch.ones(4))
    target = ((1 - s.c_skip) ** 2 * data + s.c_skip**2 * sigma**2) / s.c_out**2
    torch.testing.assert_close(target, torch.ones(4))


def test_without_noise_the_input_is_the_answer() -> None:
    s = NoiseSchedule().scales(torch.tensor([1e-6]))
    assert s.c_skip.item() == pytest.approx(1.0, abs=1e-6)
    assert s.c_out.item() == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize("count", [2, 3, 8])
def test_steps_are_those_of_diffusers(count: int) -> None:
    theirs = EDMEulerScheduler(sigma_min=0.002, sigma_max=5.0, sigma_data=0.5, rho=7.0)
    theirs.set_timesteps(count)
    torch.testing.assert_close(NoiseSchedule().steps(count), theirs.sigmas.float(), atol=1e-4, rtol=1e-4)


def test_one_step_starts_at_the_top_and_ends_at_zero() -> None:
    assert NoiseSchedule().steps(1).tolist() == pytest.approx([5.0, 0.0])
