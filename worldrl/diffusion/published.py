"""The denoiser of DIAMOND as published, to measure ours against: 64-pixel frames, four levels of 64 channels."""

from itertools import pairwise

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import group_norm, interpolate, scaled_dot_product_attention, silu

from worldrl.diffusion.network import DenoiserNet

CHANNELS, LEVELS, BLOCKS, COND = 64, 4, 2, 256
GROUP, HEAD, EPS = 32, 8, 1e-5
"""Channels of a group of the group norms and of an attention head, and what the norms add to the variance."""


class PublishedDenoiserNet(DenoiserNet):
    """Predict ``F`` of EDM for the next frame with the network that DIAMOND plays Atari with.

    Two residual blocks a level on the way down, three on the way up, each with its skip, and two with attention in the
    middle; past frames come in on channels, noise level and actions through the scale and shift of every norm. With the
    84 numbers of two-hot actions it has 4,411,075 parameters. It is a reference: ``FrameDenoiserNet`` is what to use.

    Args:
        obs_shape: Of one frame ``(c, h, w)``, sides a multiple of 8.
        history: Number ``t`` of past frames and of actions; must divide 256.
        code_dim: Numbers of the action code of one step.

    Source: Alonso et al. 2024, DIAMOND (arXiv 2405.12399), and its published configuration: 4.41 M parameters. There a
        discrete action picks a row of a matrix; here its code is multiplied with one, which for a one-hot is the same.

    Raises:
        ValueError: If a side is no multiple of 8, or ``history`` does not divide 256.
    """

    frequencies: Tensor

    def __init__(self, *, obs_shape: tuple[int, int, int], history: int, code_dim: int) -> None:
        super().__init__()
        channels, *sides = obs_shape
        if any(side % 2 ** (LEVELS - 1) for side in sides) or COND % history:
            raise ValueError(
                f"sides must be multiples of {2 ** (LEVELS - 1)} and history divide {COND}, got {obs_shape} and "
                f"{history}."
            )
        self.register_buffer("frequencies", torch.randn(COND // 2))
        self.embed_codes = nn.Linear(code_dim, COND // history, bias=False)
        self.condition = nn.Sequential(nn.Linear(COND, COND), nn.SiLU(), nn.Linear(COND, COND))
        self.enter = nn.Conv2d((history + 1) * channels, CHANNELS, 3, padding=1)
        self.down = nn.ModuleList(_Block(CHANNELS) for _ in range(LEVELS * BLOCKS))
        self.middle = nn.ModuleList(_Block(CHANNELS, attention=True) for _ in range(2))
        self.up = nn.ModuleList(_Block(2 * CHANNELS) for _ in range(LEVELS * (BLOCKS + 1)))
        self.shrink = nn.ModuleList(nn.Conv2d(CHANNELS, CHANNELS, 3, stride=2, padding=1) for _ in range(LEVELS - 1))
        self.grow = nn.ModuleList(nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1) for _ in range(LEVELS - 1))
        self.norm = nn.GroupNorm(CHANNELS // GROUP, CHANNELS, eps=EPS)
        self.out = nn.Conv2d(CHANNELS, channels, 3, padding=1)
        nn.init.zeros_(self.out.weight)

    def look(self, history: Float[Tensor, "b t c h w"], codes: Float[Tensor, "b t e"]) -> tuple[Tensor, Tensor]:
        """Return past frames on channels ``(b, t c, h, w)`` and the embedded actions ``(b, 256)``."""
        return rearrange(history, "b t c h w -> b (t c) h w"), rearrange(self.embed_codes(codes), "b t e -> b (t e)")

    def answer(
        self, x: Float[Tensor, "b c h w"], c_noise: Float[Tensor, " b"], seen: tuple[Tensor, Tensor]
    ) -> Float[Tensor, "b c h w"]:
        """Return ``F``."""
        past, acts = seen
        angle = 2 * torch.pi * rearrange(c_noise, "b -> b 1") * self.frequencies
        condition = self.condition(torch.cat([angle.cos(), angle.sin()], dim=1) + acts)
        h, skips = self.enter(torch.cat([past, x], dim=1)), list[Tensor]()
        for i, block in enumerate(self.down):
            if i % BLOCKS == 0:
                h = self.shrink[i // BLOCKS - 1](h) if i else h
                skips.append(h)
            h = block(h, condition)
            skips.append(h)
        for block in self.middle:
            h = block(h, condition)
        for i, block in enumerate(self.up):
            if i and i % (BLOCKS + 1) == 0:
                h = self.grow[i // (BLOCKS + 1) - 1](interpolate(h, scale_factor=2.0))
            h = block(torch.cat([h, skips.pop()], dim=1), condition)
        out: Tensor = self.out(silu(self.norm(h)))
        return out


class _Block(nn.Module):
    """Two convolutions behind norms that the condition scales and shifts, and attention over pixels where asked."""

    def __init__(self, inputs: int, *, attention: bool = False) -> None:
        super().__init__()
        self.short = nn.Identity() if inputs == CHANNELS else nn.Conv2d(inputs, CHANNELS, 1)
        self.steer = nn.ModuleList(nn.Linear(COND, 2 * count) for count in (inputs, CHANNELS))
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise((inputs, CHANNELS, CHANNELS)))
        self.attend = _Attention() if attention else nn.Identity()

    def forward(self, h: Tensor, condition: Tensor) -> Tensor:
        kept = self.short(h)
        for steer, conv in zip(self.steer, self.convs, strict=True):
            scale, shift = rearrange(steer(condition), "b (two c) -> two b c 1 1", two=2)
            h = conv(silu(group_norm(h, h.shape[1] // GROUP, eps=EPS) * (1 + scale) + shift))
        out: Tensor = self.attend(h + kept)
        return out


class _Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(CHANNELS // GROUP, CHANNELS, eps=EPS)
        self.qkv, self.merge = nn.Conv2d(CHANNELS, 3 * CHANNELS, 1), nn.Conv2d(CHANNELS, CHANNELS, 1)

    def forward(self, h: Tensor) -> Tensor:
        q, k, v = rearrange(self.qkv(self.norm(h)), "b (three n e) i j -> three b n (i j) e", three=3, e=HEAD)
        seen = rearrange(scaled_dot_product_attention(q, k, v), "b n (i j) e -> b (n e) i j", i=h.shape[2])
        out: Tensor = h + self.merge(seen)
        return out
