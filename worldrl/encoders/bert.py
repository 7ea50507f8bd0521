"""BERT of six layers and 384 numbers a token, as far as frozen sentence embeddings need it."""

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

VOCABULARY, WIDTH, HEADS, DEPTH, POSITIONS = 30522, 384, 12, 6, 512
NORM_EPS = 1e-12


class PostNormBlock(nn.Module):
    """A transformer block that normalises after adding, as the first ones did.

    Source: Vaswani et al. 2017, section 3.1 (arXiv:1706.03762), with GELU.

    Args:
        width: Feature width ``d``.
        heads: Attention heads; divides ``width``.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm1 = nn.LayerNorm(width, eps=NORM_EPS)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)
        self.norm2 = nn.LayerNorm(width, eps=NORM_EPS)

    def forward(self, tokens: Float[Tensor, "b n d"], *, real: Bool[Tensor, "b n"]) -> Float[Tensor, "b n d"]:
        """Let the tokens ``(b, n, d)`` look at those that are ``real`` ``(b, n)``, then transform each."""
        q, k, v = rearrange(self.qkv(tokens), "b n (three k d) -> three b k n d", three=3, k=self.heads)
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=rearrange(real, "b n -> b 1 1 n"))
        tokens = self.norm1(tokens + self.out(rearrange(seen, "b k n d -> b n (k d)")))
        changed: Tensor = self.norm2(tokens + self.fc2(F.gelu(self.fc1(tokens))))
        return changed


class Bert(nn.Module):
    """Pieces of words to one unit vector a text: a transformer, then the mean over the real tokens.

    A new instance has random weights, drawn as BERT's are. That every token is of the first segment is part of the
    positions: there are no pairs of texts here.

    Source: Devlin et al. 2019 (arXiv:1810.04805); Wang et al. 2020 (arXiv:2002.10957) for this size; Reimers and
    Gurevych 2019, section 3 (arXiv:1908.10084) for the mean.

    Args:
        vocabulary: Number of pieces that there are.
    """

    width = WIDTH

    def __init__(self, vocabulary: int = VOCABULARY) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, WIDTH)
        self.positions = nn.Parameter(torch.empty(POSITIONS, WIDTH))
        self.norm = nn.LayerNorm(WIDTH, eps=NORM_EPS)
        self.blocks = nn.ModuleList(PostNormBlock(WIDTH, HEADS) for _ in range(DEPTH))
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                nn.init.normal_(parameter, std=0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, pieces: Int[Tensor, "b n"], *, real: Bool[Tensor, "b n"]) -> Float[Tensor, "b d"]:
        """Return one unit vector a text ``(b, d)``.

        Args:
            pieces: Numbers of the pieces ``(b, n)``, at most 512 a text; anything where a text is over.
            real: Where a text is not over ``(b, n)``.
        """
        tokens = self.norm(self.words(pieces) + self.positions[: pieces.shape[1]])
        for block in self.blocks:
            tokens = block(tokens, real=real)
        weight = rearrange(real.to(tokens.dtype), "b n -> b n 1")
        return F.normalize((weight * tokens).sum(dim=1) / weight.sum(dim=1), dim=-1)
