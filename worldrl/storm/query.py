"""What is said of a whole step: a learned query that looks at all of its tokens."""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from worldrl.networks import mlp


class Query(nn.Module):
    """A learned query that attends to all tokens of a step, and a network over what it finds: reward and termination.

    Args:
        width: Of the hidden states.
        heads: Attention heads.
        outputs: Numbers ``o`` to predict; they start at zero.
    """

    def __init__(self, width: int, heads: int, *, outputs: int) -> None:
        super().__init__()
        self.query = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.attend = nn.MultiheadAttention(width, heads, batch_first=True)
        self.head = mlp([width, width], last=outputs, from_zero=True)

    def forward(self, hidden: Float[Tensor, "b t k w"]) -> Float[Tensor, "b t o"]:
        """Return the prediction for every step."""
        b = hidden.shape[0]
        tokens = rearrange(hidden, "b t k w -> (b t) k w")
        found, _ = self.attend(self.query.expand(len(tokens), -1, -1), tokens, tokens, need_weights=False)
        out: Tensor = rearrange(self.head(found[:, 0]), "(b t) o -> b t o", b=b)
        return out
