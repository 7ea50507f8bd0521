"""Real and imagined films, compared frame by frame and as crowds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from worldrl.evaluation.frechet import clip_features, frame_features, frechet_distance
from worldrl.evaluation.pictures import decibels, squared_error, ssim
from worldrl.evaluation.stlpips import is_installed, load_stlpips
from worldrl.types import Array, FrozenEncoder


@dataclass(frozen=True)
class Likeness:
    """How alike films are: means over films at each step ``(t,)``, for the longest ``t``, and distances of crowds.

    Attributes:
        psnr: Decibels, of the mean squared error at each step; infinite where nothing differs.
        ssim: In ``[-1, 1]``, 1 where nothing differs.
        st_lpips: 0 where nothing differs; None without the weights of ST-LPIPS.
        frechet_frames: Over the encoder's features of single frames; None without an encoder, or of one frame.
        frechet_clips: Over those of clips of eight frames and their changes; None without an encoder, or of fewer than
            two clips.
    """

    psnr: Array
    ssim: Array
    st_lpips: Array | None
    frechet_frames: float | None
    frechet_clips: float | None


def compare_films(real: Sequence[Array], shown: Sequence[Array], *, encoder: FrozenEncoder | None = None) -> Likeness:
    """Compare films of one size; each counts at the steps that it has.

    Args:
        real: Of each film, ``(t_i, h, w, 3)`` uint8.
        shown: The same films as imagination, or something else, shows them.
        encoder: Whose features the Frechet distances are taken over.

    Raises:
        ValueError: If there are no films, or the two sides have not the same shapes.
    """
    if not real or [film.shape for film in real] != [film.shape for film in shown]:
        shapes = [[film.shape for film in side] for side in (real, shown)]
        raise ValueError(f"shown must have the shapes of real, of at least 1 film, got {shapes[1]} for {shapes[0]}.")
    frames, clips = (None, None) if encoder is None else _crowds(real, shown, encoder)
    return Likeness(
        psnr=decibels(_by_step(squared_error, real, shown)),
        ssim=_by_step(ssim, real, shown),
        st_lpips=_by_step(load_stlpips().distance, real, shown) if is_installed() else None,
        frechet_frames=frames,
        frechet_clips=clips,
    )


def _by_step(measure: Callable[[Array, Array], Array], real: Sequence[Array], shown: Sequence[Array]) -> Array:
    values = np.full((len(real), max(map(len, real))), np.nan)
    for row, left, right in zip(values, real, shown, strict=True):
        row[: len(left)] = measure(left, right)
    return np.asarray(np.nanmean(values, axis=0))


def _crowds(real: Sequence[Array], shown: Sequence[Array], encoder: FrozenEncoder) -> tuple[float | None, float | None]:
    """Return the Frechet distances of frames and of clips."""
    films = [[frame_features(encoder, film) for film in side] for side in (real, shown)]
    frames = [np.concatenate(side) for side in films]
    clips = [np.concatenate([clip_features(film) for film in side]) for side in films]
    between_frames, between_clips = (
        frechet_distance(first, second) if len(first) > 1 else None for first, second in (frames, clips)
    )
    return between_frames, between_clips
