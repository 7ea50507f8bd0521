"""What draws the observations of a world that was fitted, for people to look at."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from worldrl.recipes.fit_figures import share
from worldrl.recipes.telling import say

DRAWN = 120
"""Episodes that a decoder of object tokens learns from, at most (our choice)."""


def visual_decoder(pipeline: Any) -> Any:
    """Return the decoder of a pipeline's visual tokens."""
    from worldrl.world_model.visual import VisualDecoder

    return VisualDecoder.of(
        pipeline.tokenizer, obs_shape=pipeline.shape, scale=pipeline.scale(), places=pipeline.places()
    )


def token_decoder(
    tokens: Any,
    dataset: Any,
    train: Sequence[int],
    *,
    places: Any,
    steps: int,
    seed: int,
    stops: Any,
    progress: Callable[[int, float], None],
) -> Any:
    """Return a decoder of object tokens, learned from some of the episodes.

    Args:
        tokens: The episodes as they are observed.
        dataset: The same, with their frames.
        train: Which of them it may learn from.
        places: What it is told of the layout of an observation.
        steps: Gradient steps.
        seed: Of its weights, and of which episodes it learns from.
        stops: Where the training is kept; None for nowhere.
        progress: Called with step and loss.
    """
    import torch

    from worldrl.world_model.decoder import TokenDecoder, fit_decoder

    chosen = np.random.default_rng(seed).permutation(train)[:DRAWN]
    torch.manual_seed(seed)
    decoder = TokenDecoder(obs_shape=tokens.obs[0].shape[1:])
    decoder.know(*places)
    obs = np.concatenate([tokens.obs[i] for i in chosen])
    frames = np.concatenate([np.asarray(dataset[int(i)].frames) for i in chosen])
    fit_decoder(decoder, obs, frames, steps=steps, seed=seed, stops=stops, progress=progress)
    return decoder


def sharpen(
    decoder: Any,
    *,
    seen: Any,
    unseen: Any,
    steps: int,
    preserve: float,
    likeness: Any,
    seed: int,
    progress: Callable[[int, float], None],
) -> dict[str, Any] | None:
    """Tune the decoder of visual tokens on imagined ones; say how sharp it draws held-out episodes before and after.

    The tokenizer has seen the frames of these episodes too, which flatters ``before``; ``worldrl sharpen`` measures on
    episodes that nobody has seen.

    Args:
        decoder: The decoder, tuned in place.
        seen: Imagined tokens and true frames to learn from; None where there are none.
        unseen: Those to measure on; None where there are none.
        steps: Gradient steps; 0 leaves it as it is.
        preserve: Share of the tokens that stay as recorded.
        likeness: How far two frames are apart to the eye.
        seed: Of the batches.
        progress: Called with step and loss.

    Returns:
        ``before`` and ``after`` as ``Sharpness`` tells them; None where held-out episodes or those of training are too
        short to be imagined.
    """
    from worldrl.evaluation.sharpness import sharpness
    from worldrl.world_model.visual import tune_decoder

    if unseen is None or seen is None:
        return None
    before = sharpness(decoder.decode, unseen)
    if steps:
        tune_decoder(decoder, seen, steps=steps, preserve=preserve, seed=seed, likeness=likeness, progress=progress)
    after = sharpness(decoder.decode, unseen)
    say(
        f"imagined, ST-LPIPS {share(before.st_lpips)} -> {share(after.st_lpips)}, "
        f"PSNR {before.psnr:.2f} -> {after.psnr:.2f} dB; "
        f"recorded and drawn again, PSNR {before.clean_psnr:.2f} -> {after.clean_psnr:.2f} dB"
    )
    return {"before": asdict(before), "after": asdict(after)}
