"""Fewer tokens than patches: the rest of a frame as one token, or patches that are alike merged."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from einops import rearrange, repeat
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from worldrl.errors import ConfigError
from worldrl.types import Features, FrozenEncoder


@dataclass(frozen=True)
class TokenSet:
    """A set of tokens that stands for all patches of a frame.

    ``tokens`` ``(b, n, d)``; ``sizes`` ``(b, n)`` how many patches each stands for; ``owner`` ``(b, p)`` which token
    stands for a patch. A token is the mean of its patches.
    """

    tokens: Tensor
    sizes: Tensor
    owner: Tensor

    def spread(self) -> Float[Tensor, "b p d"]:
        """Give every patch its token: what a reader of the patch grid sees ``(b, p, d)``."""
        return self.tokens.gather(1, repeat(self.owner, "b p -> b p d", d=self.tokens.shape[2]))


class FewerTokens:
    """A frozen encoder whose patches share tokens.

    Called, it is an encoder like any other: each patch has its token's features on the whole grid, so that objects
    can be pooled from it. ``token_set`` returns the tokens themselves, for readers of sets.

    Args:
        encoder: Who encodes.
        keep: Tokens that stand for one patch each, those that stand out most; the other patches share one more.
        merge: Tokens that patches are merged into. One of both is 0.

    Attributes:
        name: The encoder's name.
        source: What ``load_encoder`` was told.
        width: The encoder's feature width ``d``.
        patch: The encoder's patch size in pixels.
        fingerprint: Hash of the encoder's fingerprint and the settings.

    Raises:
        ConfigError: If not exactly one of ``keep`` and ``merge`` is positive and the other 0.
    """

    def __init__(self, encoder: FrozenEncoder, *, keep: int = 0, merge: int = 0) -> None:
        check_tokens(keep, merge)
        if not keep and not merge:
            raise ConfigError("keep or merge must be positive, got 0 and 0: use the encoder itself.")
        self.encoder, self.keep, self.merge = encoder, keep, merge
        self.name, self.width, self.patch = encoder.name, encoder.width, encoder.patch
        settings = {"keep": keep, "merge": merge}
        self.source: dict[str, Any] = encoder.source | settings
        content = json.dumps({"encoder": encoder.fingerprint} | settings, sort_keys=True)
        self.fingerprint = hashlib.sha256(content.encode()).hexdigest()

    @property
    def device(self) -> torch.device:
        """Where it computes, and where its features are."""
        return torch.device(getattr(self.encoder, "device", "cpu"))

    def __call__(self, frames: npt.NDArray[np.uint8]) -> Features:
        """Encode ``(b, h, w, 3)`` uint8 frames; patches of one token have the same features."""
        features = self.encoder(frames)
        return Features(features.cls, self._reduced(features.patches).spread(), features.grid)

    def token_set(self, frames: npt.NDArray[np.uint8]) -> TokenSet:
        """Encode ``(b, h, w, 3)`` uint8 frames into sets of tokens."""
        return self._reduced(self.encoder(frames).patches)

    def _reduced(self, patches: Tensor) -> TokenSet:
        return keep_salient(patches, self.keep) if self.keep else merge_alike(patches, self.merge)


def check_tokens(keep: int, merge: int) -> None:
    """Refuse settings of ``FewerTokens`` that cannot be; both may be 0, for every patch its own token.

    Raises:
        ConfigError: If one is negative, or both are given.
    """
    if min(keep, merge) < 0:
        raise ConfigError(f"keep and merge must be 0 or more, got {keep} and {merge}.")
    if keep and merge:
        raise ConfigError(f"keep and merge do not go together, got {keep} and {merge}: set one of them to 0.")


def keep_salient(patches: Float[Tensor, "b p d"], count: int) -> TokenSet:
    """Keep the patches furthest from the frame's mean patch; the others share their mean as the last token.

    That the distance from the mean says what stands out, where most of a frame is table, is our choice: it needs no
    CLS token. That the rest is not thrown away is the fused token of Liang et al. 2022, section 3.2
    (arXiv:2202.07800); readers that want truncation leave the last token out.

    Args:
        patches: Patch features ``(b, p, d)``.
        count: How many to keep; with ``p`` or more, all are kept and there is no rest.

    Returns:
        ``count + 1`` tokens, those that were kept in the order of their patches.
    """
    total = patches.shape[1]
    if count >= total:
        return _alone(patches)
    distance = (patches - patches.mean(dim=1, keepdim=True)).norm(dim=2)
    kept = distance.argsort(dim=1, descending=True, stable=True)[:, :count].sort(dim=1).values
    ranks = repeat(torch.arange(count, device=kept.device), "n -> b n", b=len(kept))
    owner = torch.full(distance.shape, count, device=kept.device).scatter(1, kept, ranks)
    return _mean_of_owned(patches, owner, count + 1)


def merge_alike(patches: Float[Tensor, "b p d"], count: int) -> TokenSet:
    """Merge patches that are alike until ``count`` tokens are left.

    In each round every second token looks for the most similar of the others, and the closest pairs merge; a token's
    weight is the number of its patches. Our choices: at most a quarter of the tokens merge in a round, so that one
    without its like among the others is not forced; and where the paper merges inside the network by its keys, the
    finished features are merged by themselves, which leaves the network as it is.

    Source: Bolya et al. 2023, section 3 (arXiv:2210.09461), bipartite soft matching.

    Args:
        patches: Patch features ``(b, p, d)``.
        count: Tokens to merge into; with ``p`` or more, nothing is merged.
    """
    found = _alone(patches)
    while found.tokens.shape[1] > count:
        left = found.tokens.shape[1]
        step = _partners(found.tokens, min(left - count, max(1, left // 4)))
        owner = step.gather(1, found.owner)
        found = _mean_of_owned(patches, owner, int(step.max()) + 1)
    return found


def _partners(tokens: Float[Tensor, "b n d"], pairs: int) -> Int[Tensor, "b n"]:
    """Return which token each becomes when the closest ``pairs`` of one even and one odd token merge.

    Tokens stay in the order of their patches, so that neighbours can go on to meet.
    """
    even, odd = tokens[:, ::2], tokens[:, 1::2]
    closeness, target = (normalize(even, dim=2) @ normalize(odd, dim=2).mT).max(dim=2)
    order = closeness.argsort(dim=1, descending=True, stable=True)
    stays = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
    stays.scatter_(1, 2 * order[:, :pairs], False)
    partner = repeat(torch.arange(tokens.shape[1], device=tokens.device), "n -> b n", b=len(tokens)).clone()
    partner[:, ::2] = torch.where(stays[:, ::2], partner[:, ::2], 2 * target + 1)
    return (stays.cumsum(dim=1) - 1).gather(1, partner)


def _alone(patches: Float[Tensor, "b p d"]) -> TokenSet:
    """Every patch its own token."""
    batch, total, _ = patches.shape
    owner = repeat(torch.arange(total, device=patches.device), "p -> b p", b=batch)
    return TokenSet(patches, torch.ones_like(owner), owner)


def _mean_of_owned(patches: Float[Tensor, "b p d"], owner: Int[Tensor, "b p"], count: int) -> TokenSet:
    """Return tokens that are the mean of the patches they own."""
    batch, _, width = patches.shape
    sizes = owner.new_zeros(batch, count).scatter_add(1, owner, torch.ones_like(owner))
    sums = patches.new_zeros(batch, count, width)
    sums = sums.scatter_add(1, repeat(owner, "b p -> b p d", d=width), patches)
    return TokenSet(sums / rearrange(sizes, "b n -> b n 1"), sizes, owner)
