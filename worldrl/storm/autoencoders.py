"""From object tokens and frames to the logits of categorical latents, and back."""

import torch
from einops import rearrange
from einops.layers.torch import Rearrange
from jaxtyping import Float
from torch import Tensor, nn

from worldrl.networks import mlp

SIDE = 64
"""Pixels of the frames that are read and drawn."""
COARSE = 4
"""Side of the last feature map of a frame."""


class TokenCoder(nn.Module):
    """Read and write object tokens: one network for all objects, told which object it is at.

    Args:
        tokens: ``(k, d)``.
        latents: Variables and classes ``(g, c)`` of a token.
        hidden: Width of the two hidden layers.
    """

    which: Tensor

    def __init__(self, *, tokens: tuple[int, int], latents: tuple[int, int], hidden: int) -> None:
        super().__init__()
        k, d = tokens
        groups, classes = latents
        self.latents = latents
        self.register_buffer("which", torch.eye(k))
        self.reader = mlp([d + k, hidden, hidden], last=groups * classes)
        self.writer = mlp([groups * classes + k, hidden, hidden], last=d)

    def encode(self, tokens: Float[Tensor, "b t k d"]) -> Float[Tensor, "b t k g c"]:
        """Return the logits of the latents."""
        logits: Tensor = self.reader(self._told(tokens))
        return rearrange(logits, "b t k (g c) -> b t k g c", g=self.latents[0])

    def decode(self, latents: Float[Tensor, "b t k n"]) -> Float[Tensor, "b t k d"]:
        """Return the tokens that latents mean."""
        tokens: Tensor = self.writer(self._told(latents))
        return tokens

    def _told(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.which.expand(*x.shape[:-1], -1)], dim=-1)


class FrameCoder(nn.Module):
    """Read and write frames of 64 pixels through four convolutions of stride two.

    Args:
        latents: Variables and classes ``(g, c)`` of a frame.
        channels: Of the first feature map; each further one has twice as many.
    """

    def __init__(self, *, latents: tuple[int, int], channels: int) -> None:
        super().__init__()
        widths = [channels * 2**i for i in range(4)]
        size, (groups, classes) = widths[-1] * COARSE**2, latents
        self.latents = latents
        down: list[nn.Module] = []
        for below, above in zip([3, *widths[:-1]], widths, strict=True):
            down += [nn.Conv2d(below, above, 4, stride=2, padding=1, bias=False), nn.GroupNorm(1, above), nn.SiLU()]
        self.reader = nn.Sequential(*down, nn.Flatten(), nn.Linear(size, groups * classes))
        up: list[nn.Module] = [
            nn.Linear(groups * classes, size),
            Rearrange("b (c h w) -> b c h w", h=COARSE, w=COARSE),
        ]
        for below, above in zip(widths[::-1], widths[-2::-1], strict=False):
            up += [nn.GroupNorm(1, below), nn.SiLU(), nn.ConvTranspose2d(below, above, 4, stride=2, padding=1)]
        up += [nn.GroupNorm(1, channels), nn.SiLU(), nn.ConvTranspose2d(channels, 3, 4, stride=2, padding=1)]
        self.writer = nn.Sequential(*up)

    def encode(self, frames: Float[Tensor, "b t ch h w"]) -> Float[Tensor, "b t 1 g c"]:
        """Return the logits of the latents of frames in ``[0, 1]``."""
        b = frames.shape[0]
        logits: Tensor = self.reader(rearrange(frames, "b t ch h w -> (b t) ch h w") - 0.5)
        return rearrange(logits, "(b t) (g c) -> b t 1 g c", b=b, g=self.latents[0])

    def decode(self, latents: Float[Tensor, "b t n"]) -> Float[Tensor, "b t ch h w"]:
        """Return the frames that latents mean."""
        b = latents.shape[0]
        drawn: Tensor = self.writer(rearrange(latents, "b t n -> (b t) n"))
        return rearrange(drawn, "(b t) ch h w -> b t ch h w", b=b) + 0.5
