"""``gym.make("worldrl/Imagined-v0", checkpoint=...)``: the environments that a fitted world holds."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from einops import rearrange
from torch import Tensor

from worldrl import checkpoint
from worldrl.envs.imagined import ImaginedEnv, ImaginedVectorEnv
from worldrl.storm.imagination import load_imagination
from worldrl.types import Starts, WorldModel
from worldrl.world_model.world import World


def make_env(checkpoint: str | Path, render_mode: str | None = None, **kwargs: Any) -> ImaginedEnv:
    """Make the imagined environment of a world.

    Args:
        checkpoint: The folder that ``worldrl fit`` or ``worldrl train`` wrote.
        render_mode: ``"rgb_array"``, or None for no rendering.
        kwargs: Further arguments of ``ImaginedEnv``.

    Raises:
        CheckpointError: If the folder is damaged or not a world.
    """
    model, starts, settings = _load(Path(checkpoint))
    return ImaginedEnv(model, starts, render_mode=render_mode, **settings | kwargs)


def make_vec(
    checkpoint: str | Path, num_envs: int = 1, render_mode: str | None = None, **kwargs: Any
) -> ImaginedVectorEnv:
    """Make the imagined vector environment of a world; arguments as for ``make_env``.

    Raises:
        CheckpointError: If the folder is damaged or not a world.
    """
    model, starts, settings = _load(Path(checkpoint))
    return ImaginedVectorEnv(model, starts, num_envs=num_envs, render_mode=render_mode, **settings | kwargs)


def _load(path: Path) -> tuple[WorldModel, Starts, dict[str, Any]]:
    """Return the world model of a folder, where its episodes start, and horizon and decoder."""
    if checkpoint.read_json(path / "model" / "manifest.json").get("kind") == "storm":
        imagination, starts, horizon = load_imagination(path)
        return imagination, starts, {"horizon": horizon, "decode": imagination.decoder()}
    world = World.from_pretrained(path)
    return world.model, world.starts, {"horizon": world.horizon, "decode": decode_of(world)}


def decode_of(world: World) -> Any:
    """Return what draws the observations of a world, or None where nothing does; frames draw themselves."""
    if len(world.model.obs_shape) == 3:
        return to_pixels
    return None if world.decoder is None else world.decoder.decode


def to_pixels(obs: Tensor) -> npt.NDArray[np.uint8]:
    """Return frames ``(b, h, w, 3)`` uint8 of observations ``(b, 3, h, w)`` in ``[-1, 1]``."""
    pixels = ((obs + 1.0) * 127.5).round().clamp(0, 255).byte()
    return np.asarray(rearrange(pixels, "b c h w -> b h w c").cpu().numpy())
