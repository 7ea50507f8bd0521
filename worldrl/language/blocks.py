"""The transformer block of both towers; whoever calls it may put tokens in between two of them."""

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from worldrl.errors import ConfigError


class Attention(nn.Module):
    """Attention of tokens to each other.

    Args:
        width: Of tokens ``d``.
        heads: A divisor of it.
        causal: Whether a token sees only itself and those before it, however many there are.

    Raises:
        ConfigError: If the heads do not divide the width.
    """

    def __init__(self, *, width: int, heads: int, causal: bool) -> None:
        if width % heads:
            raise ConfigError(f"heads must divide the width {width}, got {heads}.")
        super().__init__()
        self.heads, self.causal = heads, causal
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Return what each token gathers."""
        query, key, value = rearrange(self.qkv(tokens), "b n (three h c) -> three b h n c", three=3, h=self.heads)
        seen = F.scaled_dot_product_attention(query, key, value, is_causal=self.causal)
        gathered: Tensor = self.out(rearrange(seen, "b h n c -> b n (h c)"))
        return gathered


class Block(nn.Module):
    """Attention and a perceptron, each after a norm and beside a shortcut.

    Args:
        width: Of tokens ``d``.
        heads: Of attention.
        causal: Whether a token sees only itself and those before it.
    """

    def __init__(self, *, width: int, heads: int, causal: bool = False) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width=width, heads=heads, causal=causal)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Transform tokens; any number of them."""
        tokens = tokens + self.attention(self.norm1(tokens))
        transformed: Tensor = tokens + self.mlp(self.norm2(tokens))
        return transformed
