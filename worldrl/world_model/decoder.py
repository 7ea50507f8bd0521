"""A small decoder from tokens back to frames, so that what a token model imagines can be looked at.

It takes no part in learning or deciding anything.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pad

from worldrl import checkpoint
from worldrl.encoders.thumbnails import SIZE, shrink, to_frames
from worldrl.encoders.tokenizer_fit import emphasis
from worldrl.resuming import Parts, Progress, Stops, run_steps
from worldrl.types import Array


class TokenDecoder(nn.Module):
    """Draw what tokens describe ``(64, 64)`` pixels.

    Every object paints a 32x32 map of its own around its centroid, which its token holds; proprioception paints around
    a place that is learned. The maps are added to a learned background, and a few convolutions turn the sum into
    pixels.

    Args:
        obs_shape: ``(k, d)``; the first two numbers of an object's token are its centroid, standardised.
        width: Channels.
    """

    grid: Tensor
    centre: Tensor
    spread: Tensor

    def __init__(self, *, obs_shape: tuple[int, int], width: int = 24) -> None:
        super().__init__()
        tokens, features = obs_shape
        self.obs_shape, self.width = obs_shape, width
        axis = torch.linspace(-1.0, 1.0, SIZE // 2)
        self.register_buffer("grid", torch.stack(torch.meshgrid(axis, axis, indexing="ij")[::-1], dim=-1))
        self.register_buffer("centre", torch.zeros(tokens - 1, 2))
        self.register_buffer("spread", torch.ones(tokens - 1, 2))
        self.background = nn.Parameter(torch.zeros(width, SIZE // 2, SIZE // 2))
        self.slot = nn.Parameter(0.1 * torch.randn(tokens, width))
        self.read = nn.Sequential(nn.Linear(features, 2 * width), nn.SiLU())
        self.look = nn.Linear(2 * width, width)
        self.place = nn.Linear(2 * width, 4)
        nn.init.zeros_(self.place.weight)
        nn.init.constant_(self.place.bias[2:], 4.0)
        self.draw = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.PixelShuffle(2),
            nn.SiLU(),
            nn.Conv2d(width // 2, 3, 3, padding=1, bias=False),
        )
        self.grey = nn.Parameter(torch.full((3, 1, 1), 0.5))

    def know(self, centre: Tensor, spread: Tensor) -> None:
        """Say how centroids were standardised: mean and standard deviation ``(k - 1, 2)`` of each object's."""
        self.centre.copy_(centre)
        self.spread.copy_(spread)

    def forward(self, obs: Float[Tensor, "b k d"]) -> Float[Tensor, "b 3 h w"]:
        """Return frames in ``[0, 1]``, a little beyond at most."""
        h = self.read(obs)
        look, place = self.look(h) + self.slot, self.place(h)
        known = pad(self.centre + self.spread * obs[:, 1:, :2], (0, 0, 1, 0))
        away = rearrange(self.grid, "r c two -> 1 1 r c two") - rearrange(
            known + place[..., :2], "b k two -> b k 1 1 two"
        )
        sharp = rearrange(place[..., 2:].clamp(-2.0, 6.0).exp(), "b k two -> b k 1 1 two")
        paint = (-(away.square() * sharp).sum(dim=-1)).exp()
        canvas = torch.einsum("b k r c, b k w -> b w r c", paint, look) + self.background
        frames: Tensor = self.draw(canvas) + self.grey
        return frames

    def silence(self) -> "TokenDecoder":
        """Draw nothing, zero everywhere, until trained: how it is laid over what another decoder draws."""
        for parameter in (self.grey, *self.draw[-1].parameters()):
            nn.init.zeros_(parameter)
        return self

    @torch.no_grad()
    def decode(self, obs: Tensor) -> npt.NDArray[np.uint8]:
        """Return frames ``(b, 64, 64, 3)`` uint8 of tokens ``(b, k, d)``."""
        return to_frames(self(obs))

    def save_pretrained(self, path: Path) -> None:
        """Save to a folder.

        Raises:
            StorageError: If it cannot be written.
        """
        config: dict[str, Any] = {"obs_shape": list(self.obs_shape), "width": self.width}
        checkpoint.save(path, kind="decoder", config=config, tensors=self.state_dict())

    @classmethod
    def from_pretrained(cls, path: Path) -> "TokenDecoder":
        """Load from a folder.

        Raises:
            CheckpointError: If the folder is damaged or not a decoder.
        """
        saved = checkpoint.load(path, kind="decoder")
        with checkpoint.described(path, "a decoder"):
            k, d = saved.config["obs_shape"]
            decoder = cls(obs_shape=(int(k), int(d)), width=int(saved.config["width"]))
        checkpoint.load_state(decoder, saved.tensors, path=path)
        return decoder.eval()


def fit_decoder(
    decoder: TokenDecoder,
    obs: Array,
    frames: npt.NDArray[np.uint8],
    *,
    steps: int,
    batch_size: int = 32,
    lr: float = 3e-3,
    seed: int = 0,
    stops: Stops | None = None,
    progress: Progress | None = None,
) -> float:
    """Train a decoder by the squared error of pixels.

    Args:
        decoder: Changed in place, and left in evaluation mode.
        obs: Tokens ``(n, k, d)``.
        frames: The frames they were made from ``(n, h, w, 3)`` uint8.
        steps: Gradient steps.
        batch_size: Frames a step.
        lr: Learning rate, falling to zero along a cosine.
        seed: Of the batches.
        stops: What to go on from after a stop, and to keep for one; None for neither.
        progress: Called with the step and the loss.

    Returns:
        The mean loss of the last tenth of the steps.

    Raises:
        CheckpointError: If what ``stops`` kept is damaged.
        ConfigError: If it is of a training with other options.
    """
    batches = np.random.default_rng(seed).integers(0, len(obs), (steps, batch_size))
    decoder.train()
    optimizer = torch.optim.Adam(decoder.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)

    def take(step: int) -> float:
        rows = batches[step]
        target = shrink(frames[rows])
        # What differs from the mean frame is small and is all that matters: it weighs ten times as much.
        weight = emphasis(target, target.mean(dim=0), 10.0)
        loss = (weight * (decoder(torch.as_tensor(obs[rows])) - target).square()).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        return float(loss.item())

    parts = Parts({"decoder": decoder}, {"optimizer": optimizer}, {"schedule": schedule})
    about = {"batch_size": batch_size, "lr": lr, "seed": seed, "frames": len(frames)}
    mean = run_steps(take, steps=steps, parts=parts, stops=stops, about=about, progress=progress)
    decoder.eval()
    return mean
