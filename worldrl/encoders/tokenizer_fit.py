"""How a frame tokenizer is fitted: it draws frames again, part of them from latents of which some were exchanged."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from worldrl.encoders.thumbnails import shrink
from worldrl.encoders.tokenizer import CHUNK, FrameTokenizer, to_tokens
from worldrl.errors import NumericsError
from worldrl.resuming import Parts, run_steps

PROPORTION, STRENGTH = 0.1, 4
"""Share beta of the frames that are perturbed, and how many nearest latents delta one is drawn from.

A batch of 32 frames has 31 candidates a place, so that 4 are the nearest eighth; RobusTok takes 200 to 360 of 4096.
"""
RATE, UNTIL = 0.9, 0.75
"""Share alpha of a frame's cells that are perturbed at first; it falls linearly to none at this share of the steps."""
EMPHASIS = 10.0
"""What a pixel weighs more that differs from the mean frame by all of its range.

What differs is small and is all that matters: without the weight a background without objects is nearly perfect.
"""


def fit_tokenizer(
    tokenizer: FrameTokenizer,
    frames: npt.NDArray[np.uint8],
    *,
    steps: int,
    batch_size: int = 32,
    lr: float = 3e-3,
    seed: int = 0,
    progress: Callable[[int, float], None] | None = None,
) -> float:
    """Train a tokenizer to draw frames again, part of them from perturbed latents, and freeze it.

    A decoder that has only seen what the encoder makes is at a loss with what a world model imagines. So a share of the
    frames is drawn from latents of which some were replaced by similar ones of other frames.

    Args:
        tokenizer: Changed in place, and left frozen.
        frames: ``(n, h, w, 3)`` uint8.
        steps: Gradient steps.
        batch_size: Frames a step.
        lr: Highest learning rate, falling to zero along a cosine.
        seed: Of batches and perturbations.
        progress: Called with the step and the loss.

    Returns:
        The mean loss of the last tenth of the steps.

    Raises:
        NumericsError: If the loss is not finite.
    """
    rng, noise = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    small = torch.cat([(shrink(frames[i : i + CHUNK]) * 255).round().byte() for i in range(0, len(frames), CHUNK)])
    mean = torch.stack([part.float().sum(dim=0) for part in torch.split(small, CHUNK)]).sum(dim=0) / (255 * len(small))
    with torch.no_grad():
        tokenizer.decoder.background.copy_(mean)
    tokenizer.train()
    optimizer = torch.optim.Adam(tokenizer.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, lr, total_steps=steps, pct_start=min(0.3, 50 / steps), cycle_momentum=False
    )

    def take(step: int) -> float:
        target = small[rng.integers(0, len(small), batch_size)].float() / 255
        rate = RATE * max(0.0, 1.0 - step / (UNTIL * steps))
        cells = perturb(tokenizer.encoder(target), rate=rate, generator=noise)
        drawn = tokenizer.decoder(to_tokens(cells, tokenizer.tokens))
        loss = (emphasis(target, mean) * (drawn - target).square()).mean()
        if not torch.isfinite(loss):
            raise NumericsError(f"the loss of the tokenizer is {loss.item()} at step {step}: lower lr.")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        return float(loss.item())

    mean_loss = run_steps(take, steps=steps, parts=Parts({}), progress=progress)
    tokenizer.freeze()
    return mean_loss


def perturb(
    cells: Float[Tensor, "b c r s"],
    *,
    rate: float,
    proportion: float = PROPORTION,
    strength: int = STRENGTH,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "b c r s"]:
    """Replace some cells of some frames by one of the nearest cells of the other frames.

    Args:
        cells: Latents.
        rate: Share alpha of the cells of a perturbed frame that are replaced.
        proportion: Share beta of the frames that are perturbed.
        strength: Number delta of nearest cells that one is drawn from; all others where there are fewer.
        generator: Of the draws.

    Source: the latent perturbation of RobusTok (Qiu et al. 2025, arXiv 2509.12474), which replaces codes by one of
        their nearest in the codebook. Without a codebook, the other frames of the batch stand in for it, at the same
        place, since under a fixed camera what lies elsewhere never lies here; the gradient passes to the replaced cell,
        as if it had been quantised; and alpha falls to zero, so that sharp drawing comes last (our choices).
    """
    b, _, r, s = cells.shape
    if rate == 0 or b < 2:
        return cells
    chosen = torch.rand(b, 1, 1, generator=generator) < proportion
    chosen = chosen & (torch.rand(b, r, s, generator=generator) < rate)
    places = rearrange(cells.detach(), "b c r s -> (r s) b c")
    apart = torch.cdist(places, places)
    apart.diagonal(dim1=1, dim2=2).fill_(torch.inf)
    nearest = apart.topk(min(strength, b - 1), largest=False).indices
    drawn = torch.randint(nearest.shape[2], (r * s, b, 1), generator=generator)
    others = nearest.gather(2, drawn).expand(-1, -1, places.shape[2])
    replaced = rearrange(places.gather(1, others), "(r s) b c -> b c r s", r=r)
    return cells + (replaced - cells.detach()) * rearrange(chosen, "b r s -> b 1 r s")


def emphasis(
    target: Float[Tensor, "b 3 h w"], mean: Float[Tensor, "3 h w"], strength: float = EMPHASIS
) -> Float[Tensor, "b 1 h w"]:
    """Return what each pixel weighs in an error: more, by ``strength``, where it differs from the mean frame."""
    return 1.0 + strength * (target - mean).abs().amax(dim=1, keepdim=True)
