"""What world models keep of a picture: frames of Touch, and what each draws of its latents of them."""

from pathlib import Path
from typing import Any

import numpy as np

from worldrl.recipes.objects.grid import Cell
from worldrl.types import Array

COLUMNS, WARM, SCALE = 8, 5, 3
"""Frames in a row, decisions before each, and how much they are enlarged."""


def draw(root: Path, results: Path, *, seed: int) -> Path | None:
    """Write ``objects.png``: frames, below them what is drawn from the frame alone, below that with objects beside it.

    Args:
        root: Run folder of the grid.
        results: Folder of the picture.
        seed: Of the cells whose models draw.

    Returns:
        The file; None where the models are not there.
    """
    import imageio.v3 as iio

    runs = [root / "cells" / Cell("touch", what, seed).name / "run" for what in ("visual", "both")]
    if not all((run / "model").exists() for run in runs):
        return None
    seen = _frames(seed)
    rows = [seen[0], *(_drawn(run, *seen) for run in runs)]
    picture = np.concatenate([np.concatenate(list(row), axis=1) for row in rows])
    file = results / "objects.png"
    iio.imwrite(file, picture.repeat(SCALE, axis=0).repeat(SCALE, axis=1))
    return file


def _frames(seed: int) -> tuple[Array, Array, Array]:
    """Return frames, proprioception and labels of moments that nobody was trained on."""
    from worldrl.agents.experts import RandomActor
    from worldrl.recipes.parts import make_env, seeds_for

    env, actor, moments = make_env("worldrl/Touch-v0", {"size": 64}), RandomActor(), list[tuple[Any, Any]]()
    for episode in seeds_for("evaluation", seed, COLUMNS):
        obs, _ = env.reset(seed=episode)
        actor.begin(0, env, episode)
        for _ in range(WARM):
            obs, *_ = env.step(actor.act([obs], [env], np.zeros(1, np.int64))[0])
        moments.append((obs, env.unwrapped.labels()))
    frames, proprio = (np.stack([obs[name] for obs, _ in moments]) for name in ("image", "proprio"))
    return frames, proprio, np.stack([labels for _, labels in moments])


def _drawn(run: Path, frames: Array, proprio: Array, labels: Array) -> Array:
    """Return what a model draws ``(b, 64, 64, 3)`` uint8 of its likeliest latents of frames."""
    import torch

    from worldrl.encoders.thumbnails import to_frames
    from worldrl.observation import ObservationPipeline
    from worldrl.recipes.training import as_read
    from worldrl.storm.categorical import best, flat
    from worldrl.storm.model import StormWorldModel

    model = StormWorldModel.from_pretrained(run / "model")
    tokens = ObservationPipeline.from_pretrained(run / "observation")(frames, proprio, labels)
    pixels = torch.from_numpy(as_read(frames)).float() / 255
    with torch.no_grad():
        posterior = model.posterior(torch.from_numpy(tokens)[:, None], pixels[:, None])
        _, drawn = model.decode([flat(best(one)) for one in posterior])
    assert drawn is not None
    return to_frames(drawn[:, 0])
