"""Preconditioning and training target of a denoiser.

Source: Karras et al. 2022, "Elucidating the Design Space of Diffusion-Based Generative Models" (arXiv 2206.00364),
table 1 and equation 7. The letters are the paper's.
"""

from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor


@dataclass(frozen=True)
class Scales:
    """The four factors of the preconditioning, each ``(b,)``."""

    c_in: Tensor
    c_out: Tensor
    c_skip: Tensor
    c_noise: Tensor


@dataclass(frozen=True)
class NoiseSchedule:
    """How much noise there is, in training and in sampling.

    Attributes:
        sigma_data: Standard deviation of what is denoised.
        p_mean: Mean of the log of sigma in training.
        p_std: Standard deviation of the log of sigma in training.
        sigma_min: Lowest sigma of sampling.
        sigma_max: Highest sigma of sampling.
        rho: Bends the steps between them towards the low end.

    Source: the defaults are DIAMOND's (arXiv 2405.12399); World4RL does not publish its own.
    """

    sigma_data: float = 0.5
    p_mean: float = -0.4
    p_std: float = 1.2
    sigma_min: float = 0.002
    sigma_max: float = 5.0
    rho: float = 7.0

    def scales(self, sigma: Tensor) -> Scales:
        """Return the preconditioning of noise levels ``(b,)`` (table 1, "network and preconditioning")."""
        total = (sigma**2 + self.sigma_data**2).sqrt()
        return Scales(
            c_in=1.0 / total,
            c_out=sigma * self.sigma_data / total,
            c_skip=self.sigma_data**2 / total**2,
            c_noise=sigma.clamp_min(1e-20).log() / 4.0,
        )

    def level(self, normal: Tensor) -> Tensor:
        """Return training noise levels ``(b,)``, log-normal, from standard normal numbers (table 1, "training")."""
        return (self.p_mean + self.p_std * normal).exp()

    def steps(self, count: int) -> Tensor:
        """Return the sampling noise levels ``(count + 1,)``, from ``sigma_max`` down to zero (equation 5).

        Raises:
            ValueError: If ``count`` is less than one.
        """
        if count < 1:
            raise ValueError(f"steps must be at least 1, got {count}.")
        ramp = torch.linspace(0.0, 1.0, count) if count > 1 else torch.zeros(1)
        low, high = self.sigma_min ** (1 / self.rho), self.sigma_max ** (1 / self.rho)
        return torch.cat([(high + ramp * (low - high)) ** self.rho, torch.zeros(1)])


def expand(scale: Tensor, like: Tensor) -> Tensor:
    """Give a ``(b,)`` factor as many trailing dimensions as ``like`` has."""
    return rearrange(scale, f"b -> b {' '.join('1' * (like.ndim - 1))}")
