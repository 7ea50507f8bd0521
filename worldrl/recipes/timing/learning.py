"""Rows of what learning waits for: encoders, windows of episodes, and gradient steps of world models."""

from typing import Any

import numpy as np

from worldrl.recipes.timing.rate import Row, timed

LENGTH = 50
"""Transitions of the made-up episodes."""


def encoding(name: str, *, side: int, batch: int, seconds: float) -> Row:
    """Time a frozen encoder on ``batch`` frames of ``side`` patches along each side."""
    from worldrl.encoders import load_encoder

    encoder = load_encoder(name, random_init=True)  # weights are not needed to know how fast it is
    size = side * encoder.patch
    frames = np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), dtype=np.uint8)
    return timed(
        lambda: encoder(frames), group="encoder", name=f"{name} at {size} px", unit="images", seconds=seconds,
        batch=batch,
    )  # fmt: skip


def sampler(obs_shape: tuple[int, ...], transitions: int, *, history: int) -> Any:
    """Return windows over made-up episodes with as many transitions, all in memory."""
    from worldrl.data.segments import SegmentSampler

    rng, count = np.random.default_rng(0), transitions // LENGTH
    obs = rng.standard_normal((count, LENGTH + 1, *obs_shape), dtype=np.float32)
    acts = rng.uniform(-1, 1, (count, LENGTH, 4)).astype(np.float32)
    return SegmentSampler(list(obs), list(acts), list(np.zeros((count, LENGTH + 1), bool)), history=history, seed=0)


def loading(obs_shape: tuple[int, ...], transitions: int, *, batch: int, history: int, seconds: float) -> Row:
    """Time the drawing of batches of windows."""
    windows = sampler(obs_shape, transitions, history=history)
    moved = 4 * batch * (history + 1) * int(np.prod(obs_shape))
    return timed(
        lambda: windows.sample(batch), group="data", name=f"windows of {transitions:,} transitions", unit="windows",
        seconds=seconds, batch=batch, moved=moved,
    )  # fmt: skip


def training(model: Any, *, group: str, name: str, batch: int, seconds: float) -> Row:
    """Time gradient steps of a world model's denoiser on windows that are drawn anew for each."""
    import torch

    windows, rng = sampler(tuple(model.obs_shape), 20 * LENGTH, history=model.history), torch.Generator().manual_seed(0)
    model.requires_grad_(True).train()
    optimizer = torch.optim.AdamW(model.denoiser.net.parameters(), lr=1e-4)

    def step() -> None:
        drawn = windows.sample(batch)
        weight = torch.ones(batch, model.members)
        loss = model.denoiser.loss(
            drawn.obs[:, -1], drawn.obs[:, :-1], model.codes(drawn.acts), member_weight=weight, generator=rng
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    parameters = sum(p.numel() for p in model.denoiser.net.parameters())
    return timed(step, group=group, name=name, unit="samples", seconds=seconds, batch=batch, parameters=parameters)
