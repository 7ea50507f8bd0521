"""``gym.make("worldrl/Imagined-v0", checkpoint=...)``: the environments that a fitted world holds."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from einops import rearrange
from torch import Tensor

from worldrl.envs.imagined import ImaginedEnv, ImaginedVectorEnv
from worldrl.world_model.world import World


def make_env(checkpoint: str | Path, render_mode: str | None = None, **kwargs: Any) -> ImaginedEnv:
    """Make the imagined environment of a world.

    Args:
        checkpoint: The folder that ``worldrl fit`` wrote.
        render_mode: ``"rgb_array"``, or None for no rendering.
        kwargs: Further arguments of ``ImaginedEnv``.

    Raises:
        CheckpointError: If the folder is damaged or not a world.
    """
    world = World.from_pretrained(Path(checkpoint))
    settings: dict[str, Any] = {"horizon": world.horizon, "decode": decode_of(world)} | kwargs
    return ImaginedEnv(world.model, world.starts, render_mode=render_mode, **settings)


def make_vec(
    checkpoint: str | Path, num_envs: int = 1, render_mode: str | None = None, **kwargs: Any
) -> ImaginedVectorEnv:
    """Make the imagined vector environment of a world; arguments as for ``make_env``.

    Raises:
        CheckpointError: If the folder is damaged or not a world.
    """
    world = World.from_pretrained(Path(checkpoint))
    settings: dict[str, Any] = {"horizon": world.horizon, "decode": decode_of(world)} | kwargs
    return ImaginedVectorEnv(world.model, world.starts, num_envs=num_envs, render_mode=render_mode, **settings)


def decode_of(world: World) -> Any:
    """Return what draws the observations of a world, or None where nothing does; frames draw themselves."""
    if len(world.model.obs_shape) == 3:
        return to_pixels
    return None if world.decoder is None else world.decoder.decode


def to_pixels(obs: Tensor) -> npt.NDArray[np.uint8]:
    """Return frames ``(b, h, w, 3)`` uint8 of observations ``(b, 3, h, w)`` in ``[-1, 1]``."""
    pixels = ((obs + 1.0) * 127.5).round().clamp(0, 255).byte()
    return np.asarray(rearrange(pixels, "b c h w -> b h w c").cpu().numpy())
