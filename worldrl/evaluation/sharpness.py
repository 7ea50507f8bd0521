"""How sharp a decoder draws what a world model imagines, beside what was recorded at the same moment."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from einops import rearrange
from torch import Tensor

from worldrl.encoders.thumbnails import shrink, to_frames
from worldrl.evaluation.pictures import decibels, squared_error
from worldrl.evaluation.recorded import imagined_segments, segment_places
from worldrl.evaluation.stlpips import is_installed, load_stlpips
from worldrl.types import Array, WorldModel
from worldrl.world_model.tokens import Tokens
from worldrl.world_model.visual import Pairs

HORIZON = 16
"""Imagined steps that a decoder is tuned and measured on."""
LATE = 4
"""Of them, the last ones, where imagination has strayed furthest."""


@dataclass(frozen=True)
class Sharpness:
    """How a decoder draws.

    Attributes:
        clean_psnr: Decibels of recorded observations drawn again.
        psnr: Decibels of imagined observations, over all steps.
        st_lpips: ST-LPIPS of imagined observations, over all steps, lower is better; None without its weights.
        late_st_lpips: The same over the last four of 16 steps.
    """

    clean_psnr: float
    psnr: float
    st_lpips: float | None
    late_st_lpips: float | None


@torch.no_grad()
def imagined_pairs(
    model: WorldModel, tokens: Tokens, frames: Sequence[npt.NDArray[np.uint8]], *, horizon: int = HORIZON, seed: int = 0
) -> Pairs | None:
    """Imagine segments of recorded episodes under their recorded actions, beside what was recorded.

    Args:
        model: The world model.
        tokens: Recorded episodes.
        frames: Of each of them ``(t_i + 1, h, w, 3)`` uint8.
        horizon: Steps of a segment.
        seed: Of the imagination.

    Returns:
        ``n = segments * horizon`` moments, a segment's one after the other; None where no episode is long enough.
    """
    cut = imagined_segments(model, tokens, horizon=horizon, seed=seed)
    if cut is None:
        return None
    obs, dreams = cut
    shown = [np.asarray(frames[i][at + 1 : at + 1 + horizon]) for i, at in segment_places(tokens, horizon=horizon)]
    real, imagined = (rearrange(part, "b t k d -> (b t) k d") for part in (obs[:, model.history :], dreams))
    return Pairs(real, imagined, np.concatenate(shown))


def sharpness(decode: Callable[[Tensor], npt.NDArray[np.uint8]], pairs: Pairs, *, horizon: int = HORIZON) -> Sharpness:
    """Measure a decoder on held-out moments, at the size that it draws.

    Args:
        decode: Returns frames ``(n, s, s, 3)`` uint8 of observations.
        pairs: Of episodes that nothing was fitted to, in segments of ``horizon``.
        horizon: Steps of a segment.
    """
    clean, dreams = decode(pairs.real), decode(pairs.imagined)
    shown = to_frames(shrink(pairs.frames, clean.shape[1]))
    distance: Array | None = load_stlpips().distance(shown, dreams) if is_installed() else None
    late = None if distance is None else rearrange(distance, "(b t) -> b t", t=horizon)[:, -LATE:]
    return Sharpness(
        clean_psnr=float(decibels(squared_error(shown, clean).mean())),
        psnr=float(decibels(squared_error(shown, dreams).mean())),
        st_lpips=None if distance is None else float(distance.mean()),
        late_st_lpips=None if late is None else float(late.mean()),
    )
