"""The world model of OC-STORM behind the interface that imagined environments step."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from worldrl import checkpoint
from worldrl.storm.autoencoders import SIDE
from worldrl.storm.model import StormWorldModel
from worldrl.storm.steps import Steps
from worldrl.types import Imagined, Starts


class StormImagination:
    """A ``worldrl.types.WorldModel`` made of a ``StormWorldModel``.

    An observation is the tokens ``(k, d)``; where the frame is looked at too, one vector of the tokens and the frame
    after them, in ``[0, 1]``. Each step reads the whole history again, so that it is a function of its arguments. What
    the model foresees as the end of an episode counts as success: in the tasks of this package success, and nothing
    else, ends one. There is one model, so it never disagrees with itself.

    Args:
        model: In evaluation mode.
        history: Past observations that are read.
        success_threshold: Probability of an end from which a step counts as success.

    Attributes:
        pipeline: Hash of the observation pipeline that it is made for.
        members: One.
    """

    members = 1

    def __init__(self, model: StormWorldModel, *, history: int = 4, success_threshold: float = 0.5) -> None:
        self.model, self.history, self.success_threshold = model, history, success_threshold
        k, d = model.tokens
        self.act_dim, self.pipeline = model.acts, model.pipeline
        self.obs_shape: tuple[int, ...] = (k * d + 3 * SIDE**2,) if model.visual else (k, d)
        self._spread = _directions(math.prod(self.obs_shape), sum(model.chances()))

    @torch.no_grad()
    def imagine(self, obs: Tensor, acts: Tensor, *, noise: Tensor, choice: Tensor) -> Imagined:
        """Imagine one step; see ``worldrl.types.WorldModel``."""
        groups = self.model.chances()
        chance = torch.special.ndtr(rearrange(noise, "b ... -> b (...)") @ self._spread.to(noise))
        tokens, frames = self.split(obs)
        # The likeliest latents of what was seen: the noise of a step is one observation long and belongs to what comes.
        steps = replace(self.model.context(tokens, None, acts), frames=frames)
        latents, _, cache = self.model.observe(steps, certain=True)
        parts = chance.split_with_sizes(groups, dim=1)
        following, _, _, end = self.model.advance(
            latents, acts[:, -1:], torch.zeros(len(acts), 1, dtype=torch.long, device=acts.device), cache,
            chance=[rearrange(part, "b g -> b 1 g") for part in parts],
        )  # fmt: skip
        drawn_tokens, drawn_frames = self.model.decode(following)
        out = drawn_tokens[:, 0]
        if drawn_frames is not None:
            out = torch.cat([out.flatten(1), drawn_frames[:, 0].clamp(0.0, 1.0).flatten(1)], dim=1)
        return Imagined(out, end[:, 0], torch.zeros_like(choice))

    def decoder(self) -> Callable[[Tensor], npt.NDArray[np.uint8]] | None:
        """Return what draws observations ``(b, *o)`` as frames ``(b, 64, 64, 3)``; None where no frame is looked at."""
        if not self.model.visual:
            return None

        def draw_frames(obs: Tensor) -> npt.NDArray[np.uint8]:
            pixels = rearrange(obs[:, -3 * SIDE**2 :], "b (c h w) -> b h w c", c=3, h=SIDE)
            return np.asarray((pixels.clamp(0.0, 1.0) * 255).round().byte().cpu().numpy())

        return draw_frames

    def join(self, steps: Steps) -> Float[Tensor, "b t *o"]:
        """Return recorded steps as the observations of this interface."""
        if steps.frames is None:
            return steps.tokens
        return torch.cat([steps.tokens.flatten(2), steps.frames.flatten(2)], dim=2)

    def split(self, obs: Float[Tensor, "b t *o"]) -> tuple[Float[Tensor, "b t k d"], Tensor | None]:
        """Return the tokens of observations, and the frames ``(b, t, 3, 64, 64)`` in ``[0, 1]`` if they are seen."""
        if not self.model.visual:
            return obs, None
        k, d = self.model.tokens
        tokens, frames = obs.split_with_sizes([k * d, 3 * SIDE**2], dim=-1)
        return (
            rearrange(tokens, "b t (k d) -> b t k d", k=k),
            rearrange(frames, "b t (c h w) -> b t c h w", c=3, h=SIDE),
        )


def _directions(inputs: int, outputs: int) -> Float[Tensor, "i o"]:
    """Return fixed directions of length one, which make normal numbers for every draw of the noise of a step.

    A step may take more draws than an observation has numbers: they are then not quite independent, each is normal.
    """
    drawn = torch.randn(min(inputs, 1024), outputs, generator=torch.Generator().manual_seed(0))
    spread = torch.zeros(inputs, outputs)
    spread[: len(drawn)] = drawn / drawn.norm(dim=0)
    return spread


def save_starts(path: Path, imagination: StormImagination, steps: Steps, *, horizon: int) -> None:
    """Save where imagined episodes of a run may start, and after how many steps they are truncated.

    Args:
        path: Run folder; its ``model`` is that of ``imagination``.
        imagination: Says what an observation is.
        steps: Windows of ``imagination.history`` steps; those that cross the end of an episode are left out.
        horizon: Of the real task.

    Raises:
        StorageError: If the folder cannot be written.
    """
    whole = (steps.episodes == steps.episodes[:, :1]).all(dim=1)
    tensors = {"obs": imagination.join(steps)[whole], "acts": steps.acts[whole, :-1]}
    checkpoint.save(path / "starts", kind="starts", config={"horizon": horizon}, tensors=tensors)


def load_imagination(path: Path) -> tuple[StormImagination, Starts, int]:
    """Load the world model of a run behind this interface, its starts and its horizon.

    Raises:
        CheckpointError: If a part is missing or damaged.
    """
    saved = checkpoint.load(path / "starts", kind="starts")
    with checkpoint.described(path / "starts", "the starts of a run"):
        starts, horizon = Starts(saved.tensors["obs"], saved.tensors["acts"]), int(saved.config["horizon"])
        history = starts.obs.shape[1]
    model = StormWorldModel.from_pretrained(path / "model").requires_grad_(False)
    return StormImagination(model, history=history), starts, horizon
