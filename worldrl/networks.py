"""The perceptron that world models with categorical latents and their agents are made of."""

from itertools import pairwise

from torch import nn


def mlp(sizes: list[int], *, last: int, from_zero: bool = False) -> nn.Sequential:
    """Return linear layers with layer norm and SiLU between them, and a plain one at the end.

    Args:
        sizes: Inputs, then the width of every hidden layer.
        last: Outputs.
        from_zero: Whether all outputs are zero at first, as those of rewards and values should be.
    """
    layers: list[nn.Module] = []
    for below, above in pairwise(sizes):
        layers += [nn.Linear(below, above, bias=False), nn.LayerNorm(above), nn.SiLU()]
    end = nn.Linear(sizes[-1], last)
    if from_zero:
        nn.init.zeros_(end.weight)
        nn.init.zeros_(end.bias)
    return nn.Sequential(*layers, end)
