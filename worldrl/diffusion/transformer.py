"""The token backbone: a small transformer over the tokens of one time step.

Attention runs over the ``k`` tokens of the observation only. The history of a token is stacked on its features, as
DIAMOND stacks frames on channels (arXiv 2405.12399), so the sequence stays ``k`` long whatever the history: on a CPU
that, not depth, decides the speed. Actions and noise level steer every block through adaptive layer norm.
"""

from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import gelu, linear, scaled_dot_product_attention, silu

from worldrl.diffusion.network import DenoiserNet


class TokenDenoiserNet(DenoiserNet):
    """Predict ``F`` of the EDM preconditioning for the tokens of the next observation, once for each ensemble member.

    The members share the trunk and differ in their last two layers (shared trunk: our choice, for speed).

    Args:
        obs_shape: ``(k, d)``.
        history: Past observations ``t``.
        code_dim: Numbers of the action code of one step.
        width: Of the token features.
        depth: Number of blocks.
        heads: Attention heads; must divide ``width``.
        members: Ensemble members ``m``.
    """

    def __init__(
        self,
        *,
        obs_shape: tuple[int, int],
        history: int,
        code_dim: int,
        width: int = 128,
        depth: int = 3,
        heads: int = 4,
        members: int = 3,
    ) -> None:
        super().__init__()
        tokens, features = obs_shape
        self.features = features
        self._config = {"width": width, "depth": depth, "heads": heads, "members": members}
        self.enter = nn.Linear(features * (history + 1), width)
        self.slot = nn.Parameter(0.02 * torch.randn(tokens, width))
        self.act = nn.Linear(history * code_dim, width)
        self.first = nn.Linear(history * code_dim + 2 * NoiseEmbedding.pairs, 2 * width)
        self.second = nn.Linear(2 * width, width)
        self.noise = NoiseEmbedding()
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.heads = MemberHeads(width, features, members)

    def config(self) -> dict[str, Any]:
        """Return what ``__init__`` needs beside the shapes, as plain JSON."""
        return dict(self._config)

    def look(self, history: Float[Tensor, "b t k d"], codes: Float[Tensor, "b t c"]) -> tuple[Tensor, Tensor]:
        """Return what past and actions add to the tokens ``(b, k, w)`` and to the first layer of the condition."""
        acts, past = rearrange(codes, "b t c -> b (t c)"), rearrange(history, "b t k d -> b k (t d)")
        known = linear(past, self.enter.weight[:, self.features :], self.enter.bias) + self.slot
        # Zero-started modulation alone lets actions in too slowly: they are also added to every token.
        known = known + rearrange(self.act(acts), "b w -> b 1 w")
        first = self.first
        return known, linear(acts, first.weight[:, : acts.shape[1]], first.bias)

    def answer(
        self, x: Float[Tensor, "b k d"], c_noise: Float[Tensor, " b"], seen: tuple[Tensor, Tensor]
    ) -> Float[Tensor, "b m k d"]:
        """Return ``F`` of every member."""
        known, steering = seen
        noise = self.noise(c_noise)
        condition = self.second(silu(steering + linear(noise, self.first.weight[:, -noise.shape[1] :])))
        h = known + linear(x, self.enter.weight[:, : self.features])
        for block in self.blocks:
            h = block(h, condition)
        out: Tensor = self.heads(h, condition)
        return out


class NoiseEmbedding(nn.Module):
    """Sines and cosines of the noise level, at frequencies fixed for good."""

    pairs = 16
    frequencies: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("frequencies", 2 ** torch.linspace(-2.0, 4.0, self.pairs))

    def forward(self, c_noise: Float[Tensor, " b"]) -> Float[Tensor, "b e"]:
        """Embed noise levels."""
        angle = rearrange(c_noise, "b -> b 1") * self.frequencies
        return torch.cat([angle.sin(), angle.cos()], dim=-1)


class Block(nn.Module):
    """Attention over tokens and an MLP, both steered by adaptive layer norm with zero start.

    Source: Peebles & Xie 2023, "DiT" (arXiv 2212.09748), adaLN-Zero.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.count = heads
        self.steer = nn.Linear(width, 6 * width)
        nn.init.zeros_(self.steer.weight)
        nn.init.zeros_(self.steer.bias)
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.qkv, self.merge = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, h: Float[Tensor, "b k w"], condition: Float[Tensor, "b w"]) -> Float[Tensor, "b k w"]:
        """Refine the tokens."""
        steer = rearrange(self.steer(condition), "b (s w) -> s b 1 w", s=6)
        h = h + steer[2] * self._attend(self.norm(h) * (1 + steer[0]) + steer[1])
        update: Tensor = self.down(gelu(self.up(self.norm(h) * (1 + steer[3]) + steer[4])))
        refined: Tensor = h + steer[5] * update
        return refined

    def _attend(self, h: Tensor) -> Tensor:
        q, k, v = rearrange(self.qkv(h), "b k (three n e) -> three b n k e", three=3, n=self.count)
        out: Tensor = self.merge(rearrange(scaled_dot_product_attention(q, k, v), "b n k e -> b k (n e)"))
        return out


class MemberHeads(nn.Module):
    """The last two layers, once for each member, computed for all members in one product."""

    def __init__(self, width: int, features: int, members: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.steer = nn.Linear(width, 2 * width)
        self.hidden = nn.Parameter(torch.randn(members, width, width) * width**-0.5)
        self.bias = nn.Parameter(torch.zeros(members, width))
        self.out = nn.Parameter(torch.randn(members, width, features) * 0.1 * width**-0.5)

    def forward(self, h: Float[Tensor, "b k w"], condition: Float[Tensor, "b w"]) -> Float[Tensor, "b m k d"]:
        """Return every member's answer."""
        scale, shift = rearrange(self.steer(condition), "b (s w) -> s b 1 w", s=2)
        h = self.norm(h) * (1 + scale) + shift
        # Members first: both products are then batched over them, and nothing is copied between.
        flat = rearrange(h, "b k w -> (b k) w").expand(len(self.hidden), -1, -1)
        hidden = torch.baddbmm(rearrange(self.bias, "m v -> m 1 v"), flat, self.hidden)
        out: Tensor = torch.bmm(gelu(hidden), self.out)
        return rearrange(out, "m (b k) d -> b m k d", k=h.shape[1])
