"""What an observation pipeline is fitted with: prototypes, the tokenizer, directions of looks, and scale."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from worldrl.encoders.tokenizer import FrameTokenizer, check_tokens
from worldrl.encoders.tokenizer_fit import fit_tokenizer
from worldrl.errors import ConfigError, DataError
from worldrl.objects import NUMBERS, Annotations, Prototypes
from worldrl.types import FrozenEncoder

MASKS = ("simulator", "few_shot", "none", "no_objects")
LOOK_SCALE = 0.3
"""Standard deviation of the first number of an object's look, where those of geometry have one (our choice)."""
VISUAL_SCALE = 0.1
"""Standard deviation of the numbers of visual tokens (our choice)."""
LEAST_LOOK = 1e-2
"""Spread of looks, in units of the features, that counts as one at least: looks that are all alike are not noise."""
OF_TOKENIZER = "tokenizer."
"""What the names of the tokenizer's weights begin with, among the tensors."""


def chosen(names: tuple[str, ...], objects: tuple[str, ...]) -> tuple[str, ...]:
    """Return the named objects; all where none is named."""
    if unknown := [name for name in names if name not in objects]:
        raise ConfigError(f"names must be among {', '.join(objects)}, got '{unknown[0]}'.")
    return names or objects


def check_kinds(
    masks: str, encoder: FrozenEncoder | None, annotations: Annotations | None, visual: int, slots: int
) -> None:
    """Refuse kinds of tokens that do not exist or do not go together."""
    if masks not in MASKS:
        raise ConfigError(f"masks must be one of {', '.join(MASKS)}, got '{masks}'.")
    if masks == "none" and encoder is None:
        raise ConfigError("masks 'none' needs a frozen encoder, got none: choose one, or masks=simulator.")
    if (masks == "few_shot") != (annotations is not None):
        raise ConfigError("masks 'few_shot' and annotations go together: give both or neither.")
    if visual:
        check_tokens(visual)
    if masks == "no_objects" and (encoder is not None or slots):
        raise ConfigError(
            f"masks 'no_objects' needs no encoder and no slots, "
            f"got encoder {'none' if encoder is None else encoder.name} and slots={slots}."
        )


def fit_visual(frames: npt.NDArray[np.uint8], tokens: int, steps: int, seed: int) -> dict[str, Tensor]:
    """Fit a tokenizer and return its weights; its first ones are drawn apart from everybody else's randomness."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tokenizer = FrameTokenizer(tokens=tokens)
    fit_tokenizer(tokenizer, frames, steps=steps, seed=seed)
    return {OF_TOKENIZER + name: tensor for name, tensor in tokenizer.state_dict().items()}


def fit_prototypes(frames: npt.NDArray[np.uint8], encoder: FrozenEncoder, groups: int, seed: int) -> dict[str, Tensor]:
    """Fit prototypes to the patches of some of the frames."""
    chosen = np.random.default_rng(seed).permutation(len(frames))[:512]
    with torch.no_grad():
        patches = encoder(np.ascontiguousarray(frames[np.sort(chosen)])).patches
    return Prototypes.fit(patches, groups, seed=seed).tensors()


def fit_pca(tokens: Tensor, components: int) -> dict[str, Tensor]:
    """Fit one PCA to the looks of all visible objects; scaled so that the first component has unit variance."""
    seen = tokens[..., NUMBERS.index("visible")] > 0
    looks = tokens[seen][:, len(NUMBERS) :]
    if len(looks) <= components:
        raise DataError(
            f"objects must be seen more than {components} times to fit their looks, got {len(looks)} times."
        )
    mean = looks.mean(dim=0)
    _, values, directions = torch.linalg.svd(looks - mean, full_matrices=False)
    first = values[0] / max(1, len(looks) - 1) ** 0.5
    return {"pca_mean": mean, "pca": directions[:components].T.contiguous() / first.clamp_min(LEAST_LOOK)}


def fit_scale(tokens: Tensor, *, looks: slice | None, visual: int = 0) -> dict[str, Tensor]:
    """Standardise each number of each token; what hardly moves keeps a floor, so that noise does not become a signal.

    The look keeps the proportions the PCA gave it, as later components are small because they say little, and is made
    smaller than geometry as a whole; ``looks`` says which tokens have one. The last ``visual`` tokens, whose many
    numbers tell every recorded frame from every other, are made smaller still: at full size a clone learns its few
    demonstrations by heart from them and looks at no object any more.
    """
    mean, std = tokens.mean(dim=0), tokens.std(dim=0).clamp_min(0.02)
    if looks is not None:
        mean[looks, len(NUMBERS) :], std[looks, len(NUMBERS) :] = 0.0, 1.0 / LOOK_SCALE
    std[len(std) - visual :] /= VISUAL_SCALE
    return {"mean": mean, "std": std}
