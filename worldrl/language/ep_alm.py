"""eP-ALM: one token of each of several encoder layers takes its place in successive layers of a language model."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from worldrl.encoders.frozen import MICRO_BATCH, Encoder
from worldrl.encoders.vit import DinoV2
from worldrl.errors import ConfigError
from worldrl.language.bridges import Shown, Standardised


class InsertedTokens(nn.Module):
    """Put the class token of an encoder's layer before the text in each of the first layers of a language model.

    All go through one linear map. The first is read where a word would be, before the first layer; before the second
    layer the next takes its place, and so on, from the encoder's shallow to its deep layers. After it stands one
    learned vector, the soft token. Nothing else is trained.

    Source: Shukor, Dancette & Cord 2023, section 3 (arXiv:2303.11403), whose release overwrites likewise, in deeper
        layers of a deeper model; that ours begins at the first layer, as it has few, is our choice.

    Args:
        example: Class tokens ``(m, l, d)`` of training pictures, a row a layer.
        width: Of the language model.
        depth: Layers of the language model, at least ``l``.

    Raises:
        ConfigError: If there are more class tokens than layers to read them.
    """

    def __init__(self, example: Float[Tensor, "m l d"], *, width: int, depth: int) -> None:
        if example.ndim != 3 or not 1 <= example.shape[1] <= depth:
            raise ConfigError(
                f"class tokens must be (m, l, d) with l in [1, {depth}], the layers of the language model, "
                f"got {tuple(example.shape)}."
            )
        super().__init__()
        self.length = 2
        self.standardised = nn.ModuleList(Standardised(example[:, layer]) for layer in range(example.shape[1]))
        self.map = nn.Linear(example.shape[2], width)
        self.soft = nn.Parameter(torch.randn(1, 1, width) * width**-0.5)
        nn.init.normal_(self.map.weight, std=(example.shape[2] * width) ** -0.5)
        nn.init.zeros_(self.map.bias)

    def forward(self, features: Float[Tensor, "b l d"]) -> Shown:
        """Return the first class token and the soft token as a prefix, and the other class tokens by layer."""
        rows = torch.stack([standard(features[:, i]) for i, standard in enumerate(self.standardised)], dim=1)
        mapped = self.map(rows)
        prefix = torch.cat([mapped[:, :1], self.soft.expand(len(features), -1, -1)], dim=1)
        return Shown(prefix, {layer: mapped[:, layer : layer + 1] for layer in range(1, mapped.shape[1])})


@torch.no_grad()
def tokens_of_layers(
    encoder: Encoder, frames: npt.NDArray[np.uint8], layers: Sequence[int]
) -> tuple[Float[Tensor, "b l d"], Float[Tensor, "b l d"]]:
    """Return the class token and the mean patch of several blocks, through the final norm, in one pass.

    Where the class token says little of a picture, as that of the packaged DINOv2, the mean patch is the other choice.

    Args:
        encoder: Of the architecture DINOv2.
        frames: ``(b, h, w, 3)`` uint8; sides are multiples of 14 pixels.
        layers: Blocks from one, rising.

    Raises:
        ConfigError: If the encoder has no such blocks.
    """
    backbone = encoder.backbone
    if not isinstance(backbone, DinoV2):
        raise ConfigError(f"class tokens of several layers must be of dinov2_vits14, got {encoder.name}.")
    if not layers or list(layers) != sorted(set(layers)) or not 1 <= layers[0] <= layers[-1] <= backbone.depth:
        raise ConfigError(f"layers must rise within [1, {backbone.depth}], got {list(layers)}.")
    found: list[tuple[Tensor, Tensor]] = []
    for i in range(0, len(frames), MICRO_BATCH):
        tokens, _ = backbone.embed(encoder.preprocess(frames[i : i + MICRO_BATCH]))
        kept: list[Tensor] = []
        for number, block in enumerate(backbone.blocks[: layers[-1]], start=1):
            tokens = block(tokens)
            kept += [tokens] if number in layers else []
        tokens = backbone.norm(rearrange(torch.stack(kept), "l b n d -> b l n d"))
        found.append((tokens[:, :, 0], tokens[:, :, 1:].mean(dim=2)))
    return torch.cat([cls for cls, _ in found]), torch.cat([mean for _, mean in found])
