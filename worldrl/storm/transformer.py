"""The dynamics: attention across the tokens of a step, then over the past of each token, with a cache."""

from dataclasses import dataclass, field

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from worldrl.errors import ConfigError


@dataclass
class Cache:
    """What imagination has computed of the past: keys and values of each layer, and which episode each step is of.

    ``keys`` and ``values`` ``(b, k, heads, t, e)``, one a layer; ``episodes`` ``(b, t)``.
    """

    keys: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)
    episodes: Tensor | None = None

    @property
    def length(self) -> int:
        """Steps that are remembered."""
        return 0 if self.episodes is None else self.episodes.shape[1]


class SpatialTemporal(nn.Module):
    """Turn the latents of ``k`` tokens and the actions of ``t`` steps into hidden states ``(b, t, k, w)``.

    The action is concatenated to every token. Each layer lets the tokens of a step look at each other, then each token
    at its own past; no step sees one of another episode. With a cache, only new steps are computed.

    Source: OC-STORM (arXiv 2501.16443, section 3.2). Learned positions of time and token, and a feed-forward network
    after both kinds of attention, are our choice.

    Args:
        latents: Numbers of the latents of each of the ``k`` tokens of a step.
        acts: Numbers of an action.
        width: Of the hidden states ``w``.
        depth: Layers.
        heads: Attention heads; must divide ``width``.
        max_length: Steps at most.
        dropout: Of attention and feed-forward networks, in training.

    Raises:
        ConfigError: If ``heads`` does not divide ``width``.
    """

    def __init__(
        self,
        *,
        latents: tuple[int, ...],
        acts: int,
        width: int,
        depth: int,
        heads: int,
        max_length: int,
        dropout: float,
    ) -> None:
        super().__init__()
        if width % heads:
            raise ConfigError(f"width must be a multiple of heads, got {width} and {heads}.")
        self.max_length = max_length
        self.stems = nn.ModuleList(
            nn.Sequential(
                nn.Linear(latent + acts, width, bias=False), nn.LayerNorm(width), nn.SiLU(), nn.Linear(width, width)
            )
            for latent in sorted(set(latents))
        )
        self._stem = [sorted(set(latents)).index(latent) for latent in latents]
        self.time = nn.Parameter(0.02 * torch.randn(max_length, width))
        self.token = nn.Parameter(0.02 * torch.randn(len(latents), width))
        self.spatial = nn.ModuleList(Layer(width, heads, dropout) for _ in range(depth))
        self.temporal = nn.ModuleList(Layer(width, heads, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(
        self,
        latents: list[Float[Tensor, "b t n"]],
        acts: Float[Tensor, "b t a"],
        episodes: Int[Tensor, "b t"],
        cache: Cache | None = None,
    ) -> Float[Tensor, "b t k w"]:
        """Return the hidden states.

        Args:
            latents: Of each token.
            acts: The action taken in each step.
            episodes: A number for each step, the same for steps of one episode.
            cache: What is remembered of earlier steps; the new ones are added to it.

        Raises:
            ConfigError: If there are more steps than ``max_length``.
        """
        begin = 0 if cache is None else cache.length
        end = begin + acts.shape[1]
        if end > self.max_length:
            raise ConfigError(f"a sequence must have at most {self.max_length} steps, got {end}: raise max_length.")
        h = torch.stack(
            [self.stems[i](torch.cat([z, acts], dim=-1)) for i, z in zip(self._stem, latents, strict=True)], dim=2
        )
        h = h + self.time[begin:end, None] + self.token
        past = episodes if cache is None or cache.episodes is None else torch.cat([cache.episodes, episodes], dim=1)
        if cache is not None:
            cache.episodes = past
        mask = _visible(episodes, past)
        for i, (spatial, temporal) in enumerate(zip(self.spatial, self.temporal, strict=True)):
            h = spatial(h)
            h = rearrange(h, "b t k w -> b k t w")
            h = rearrange(temporal(h, mask=mask, cache=cache, index=i), "b k t w -> b t k w")
        out: Tensor = self.norm(h)
        return out


class Layer(nn.Module):
    """Attention along the next to last axis and a feed-forward network, both behind a layer norm."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.chance = heads, dropout
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.merge = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.feed = nn.Sequential(
            nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width), nn.Dropout(dropout)
        )

    def forward(
        self, h: Tensor, *, mask: Bool[Tensor, "b s t"] | None = None, cache: Cache | None = None, index: int = 0
    ) -> Tensor:
        """Refine ``h`` ``(b, x, s, w)``: every ``s`` looks along its axis, as far as the mask lets it."""
        q, k, v = rearrange(self.qkv(self.before(h)), "b x s (three n e) -> three b x n s e", three=3, n=self.heads)
        if cache is not None:
            k, v = _remember(cache, index, k, v)
        seen = None if mask is None else rearrange(mask, "b s t -> b 1 1 s t")
        out = scaled_dot_product_attention(q, k, v, attn_mask=seen, dropout_p=self.chance if self.training else 0.0)
        h = h + self.merge(rearrange(out, "b x n s e -> b x s (n e)"))
        refined: Tensor = h + self.feed(self.between(h))
        return refined


def _remember(cache: Cache, index: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Add the keys and values of new steps to those of a layer, and return them all."""
    if index == len(cache.keys):
        cache.keys.append(k)
        cache.values.append(v)
    else:
        cache.keys[index] = torch.cat([cache.keys[index], k], dim=-2)
        cache.values[index] = torch.cat([cache.values[index], v], dim=-2)
    return cache.keys[index], cache.values[index]


def _visible(episodes: Int[Tensor, "b s"], past: Int[Tensor, "b t"]) -> Bool[Tensor, "b s t"]:
    """Return which steps each new step may look at: earlier ones and itself, of its own episode."""
    steps, total = episodes.shape[1], past.shape[1]
    before = torch.ones(steps, total, dtype=torch.bool, device=past.device).tril(total - steps)
    return before & (rearrange(episodes, "b s -> b s 1") == rearrange(past, "b t -> b 1 t"))
