"""Draw the visual tokens of an observation, and teach whoever draws them what a world model imagines."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from worldrl import checkpoint
from worldrl.encoders.thumbnails import shrink, to_frames
from worldrl.encoders.tokenizer import CHUNK, NUMBERS, FrameDecoder, FrameTokenizer
from worldrl.encoders.tokenizer_fit import emphasis
from worldrl.errors import NumericsError
from worldrl.world_model.decoder import TokenDecoder

STRENGTH = 30.0
"""What a pixel weighs more in tuning that differs from the mean frame by all of its range (our choice).

Against an absolute error a decoder that is not sure draws a thing or leaves it out, and this weight says when it draws.
On held-out episodes of Push, others than those of docs/results/sharpen.md, one seed, 600 steps take ST-LPIPS of
imagined frames from 0.261 to 0.063 with 30 and to 0.067 with 10. (From recorded latents alone, 0.086; with objects
mixed as visual tokens are, 0.088; with an adversary and without the painting of objects, 0.276 and worse.)
"""


class VisualDecoder(nn.Module):
    """Draw observations ``(b, k, d)``: a frame of their last ``v`` tokens, and over it what the others say.

    The frame is drawn by the decoder that the tokenizer came with. Hand and objects are painted by ``TokenDecoder``,
    which says nothing until ``tune_decoder`` has taught it: an object's token says in two numbers where it is, and a
    world model keeps knowing that when the latent of the frame, in which it is spread over many, has gone blurred (our
    choice).

    Args:
        obs_shape: ``(k, d)``.
        visual: Visual tokens ``v``.
        width: Of the decoder of frames.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, *, obs_shape: tuple[int, int], visual: int, width: int) -> None:
        super().__init__()
        self.obs_shape, self.visual = obs_shape, visual
        self.draw = FrameDecoder(tokens=visual, width=width)
        self.paint = TokenDecoder(obs_shape=(obs_shape[0] - visual, obs_shape[1])).silence()
        self.register_buffer("mean", torch.zeros(visual, NUMBERS))
        self.register_buffer("std", torch.ones(visual, NUMBERS))

    @classmethod
    def of(
        cls,
        tokenizer: FrameTokenizer,
        *,
        obs_shape: tuple[int, int],
        scale: tuple[Tensor, Tensor],
        places: tuple[Tensor, Tensor],
    ) -> "VisualDecoder":
        """Make one with a copy of a tokenizer's decoder.

        Args:
            tokenizer: What made the visual tokens.
            obs_shape: ``(k, d)``.
            scale: How they were standardised: what was subtracted, what they were divided by then ``(v, 32)``.
            places: The same for the centroids of objects ``(k - v - 1, 2)``.
        """
        decoder = cls(obs_shape=obs_shape, visual=tokenizer.tokens, width=tokenizer.width)
        decoder.draw.load_state_dict(tokenizer.decoder.state_dict())
        decoder.mean.copy_(scale[0])
        decoder.std.copy_(scale[1])
        decoder.paint.know(*places)
        return decoder.requires_grad_(False).eval()

    def forward(self, obs: Float[Tensor, "b k d"]) -> Float[Tensor, "b 3 h w"]:
        """Return pixels in ``[0, 1]``, a little beyond at most."""
        frame = self.draw(self.mean + self.std * obs[:, -self.visual :, :NUMBERS])
        pixels: Tensor = frame + self.paint(obs[:, : -self.visual])
        return pixels

    @torch.no_grad()
    def decode(self, obs: Tensor) -> npt.NDArray[np.uint8]:
        """Return frames ``(b, 64, 64, 3)`` uint8 of observations ``(b, k, d)``."""
        return np.concatenate([to_frames(self(part)) for part in torch.split(obs, CHUNK)])

    def save_pretrained(self, path: Path) -> None:
        """Save to a folder.

        Raises:
            StorageError: If it cannot be written.
        """
        config: dict[str, Any] = {"obs_shape": list(self.obs_shape), "visual": self.visual, "width": self.draw.width}
        checkpoint.save(path, kind="decoder", config=config, tensors=self.state_dict())

    @classmethod
    def from_pretrained(cls, path: Path) -> "VisualDecoder":
        """Load from a folder, frozen.

        Raises:
            CheckpointError: If the folder is damaged or not a decoder of visual tokens.
        """
        saved = checkpoint.load(path, kind="decoder")
        with checkpoint.described(path, "a decoder of visual tokens"):
            k, d = saved.config["obs_shape"]
            visual, width = int(saved.config["visual"]), int(saved.config["width"])
            decoder = cls(obs_shape=(int(k), int(d)), visual=visual, width=width)
        checkpoint.load_state(decoder, saved.tensors, path=path)
        return decoder.requires_grad_(False).eval()


@dataclass(frozen=True)
class Pairs:
    """What was recorded and what was imagined of the same moments.

    ``real`` and ``imagined`` ``(n, k, d)``, ``frames`` ``(n, h, w, 3)`` uint8 as recorded.
    """

    real: Tensor
    imagined: Tensor
    frames: npt.NDArray[np.uint8]


def tune_decoder(
    decoder: VisualDecoder,
    pairs: Pairs,
    *,
    steps: int,
    preserve: float = 0.5,
    batch_size: int = 32,
    lr: float = 2e-3,
    likeness: Callable[[Tensor, Tensor], Tensor] | None = None,
    weight: float = 0.1,
    seed: int = 0,
    progress: Callable[[int, float], None] | None = None,
) -> None:
    """Teach a decoder to draw recorded frames from latents that are in part imagined.

    What a world model imagines lies beside what the encoder makes, and a decoder that never saw it draws ghosts. Each
    row of a batch mixes the visual tokens of the two, and the target is the recorded frame; the encoder, and with it
    the space in which policy and world model live, is left alone. Hand and objects stay as recorded: an imagined block
    lies elsewhere than in the target, and a decoder that is shown both learns to draw neither.

    Args:
        decoder: Changed in place, and left frozen.
        pairs: Of training episodes.
        steps: Gradient steps.
        preserve: Preservation ratio sigma: the share of the visual tokens that are as recorded.
        batch_size: Frames a step.
        lr: Learning rate, falling to zero along a cosine.
        likeness: Distance of drawn and recorded pixels, as ``FrameTokenizer.apart``, that counts beside their absolute
            error; None for that alone.
        weight: Of this distance.
        seed: Of batches and mixtures.
        progress: Called with the step and the loss.

    Source: post-training of RobusTok (Qiu et al. 2025, arXiv 2509.12474): encoder frozen, decoder tuned on latents that
        mix ground truth and generator by a ratio sigma, without which a generated latent has no frame to be compared
        with. There an autoregressive generator is teacher-forced by the true tokens; here the world model is forced by
        the recorded actions, so that what it imagines is paired with what was recorded (our choice). No adversary: the
        loss is the absolute error of pixels, since the squared one smears what is not sure as specks over all places
        where it may be, and how far apart pictures are to the encoder.

    Raises:
        NumericsError: If the loss is not finite.
    """
    rng, mixing = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    targets = torch.cat([shrink(pairs.frames[i : i + CHUNK]) for i in range(0, len(pairs.frames), CHUNK)])
    mean = targets.mean(dim=0)
    decoder.requires_grad_(True)
    optimizer = torch.optim.Adam(decoder.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        rows = rng.integers(0, len(targets), batch_size)
        kept = torch.rand(batch_size, pairs.real.shape[1], generator=mixing) < preserve
        kept[:, : -decoder.visual] = True
        mixed = torch.where(rearrange(kept, "b k -> b k 1"), pairs.real[rows], pairs.imagined[rows])
        drawn, target = decoder(mixed), targets[rows]
        loss = (emphasis(target, mean, STRENGTH) * (drawn - target).abs()).mean()
        if likeness is not None:
            loss = loss + weight * likeness(drawn, target)
        if not torch.isfinite(loss):
            raise NumericsError(f"the loss of the decoder is {loss.item()} at step {step}: lower lr.")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if progress is not None:
            progress(step + 1, loss.item())
    decoder.requires_grad_(False).eval()
