"""Diffusion Policy: chunks of actions, denoised from noise given the last observations, of which the start is taken."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler
from diffusers.models.embeddings import Timesteps
from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import mse_loss, silu

from worldrl import checkpoint
from worldrl.agents.extractors import TokenExtractor, make_extractor
from worldrl.agents.policy import Origin
from worldrl.errors import ConfigError
from worldrl.objects.gated import GatedTokens
from worldrl.types import Array

TIME = 64
"""Numbers that say how noisy a chunk is."""


@dataclass
class Memory:
    """What a running episode remembers: the source of its noise, its last observations, and actions not yet taken."""

    rng: np.random.Generator
    past: list[Array]
    plan: list[Array]


class DiffusionPolicy(nn.Module):
    """Actions by denoising: several ways of doing a task stay several, where a Gaussian would take their middle.

    It sees the last ``past`` observations, plans ``horizon`` actions from now on, takes the first ``execute`` of them
    and plans again. Noise schedule and sampler are diffusers' (squared cosine, noise prediction, DDIM); the network is
    a residual MLP where the paper has a 1-D U-Net or a transformer (our choice: a chunk is a few dozen numbers).

    Source: Chi et al. 2023 (arXiv 2303.04137), section 2; 100 noise steps in training and 10 in sampling are its
    real-world setting.

    Args:
        obs_shape: Tokens ``(k, d)`` or frames ``(c, h, w)``.
        act_dim: Numbers of an action.
        horizon: Actions planned.
        execute: Actions taken of each plan.
        past: Observations looked at, the current one included.
        noise_steps: Noise levels in training.
        sample_steps: Network evaluations a plan.
        width: Of the network.
        depth: Residual blocks of the network.
        proprio: How many numbers of proprioception it is shown, the first ones; 0 for all, and for frames.

    Raises:
        ConfigError: If a number is less than one, more are executed than planned, more steps sampled than trained, or
            there are not as many numbers of proprioception.
    """

    def __init__(
        self,
        obs_shape: tuple[int, ...],
        act_dim: int,
        *,
        horizon: int = 8,
        execute: int = 4,
        past: int = 2,
        noise_steps: int = 100,
        sample_steps: int = 10,
        width: int = 256,
        depth: int = 3,
        proprio: int = 0,
    ) -> None:
        if not 1 <= execute <= horizon or past < 1:
            raise ConfigError(f"execute must be in [1, horizon] and past 1 or more, got {execute}, {horizon}, {past}.")
        if not 1 <= sample_steps <= noise_steps:
            raise ConfigError(f"sample_steps must be in [1, {noise_steps}], got {sample_steps}.")
        super().__init__()
        self.obs_shape, self.act_dim, self.horizon, self.execute, self.past = obs_shape, act_dim, horizon, execute, past
        self.noise_steps, self.sample_steps, self.width, self.depth = noise_steps, sample_steps, width, depth
        self.proprio = proprio
        self.extractor = make_extractor(obs_shape, proprio=proprio)
        self.net = ChunkNet(horizon * act_dim, past * self.extractor.features_dim, width=width, depth=depth)
        self.scheduler = noise_scheduler(noise_steps, sample_steps)

    def gates(self) -> GatedTokens | None:
        """Return the gates that it reads objects through; None where it reads frames."""
        return self.extractor.gated if isinstance(self.extractor, TokenExtractor) else None

    def loss(self, past: Tensor, chunks: Tensor, *, generator: torch.Generator) -> Tensor:
        """Return the mean squared error of the predicted noise (equation 5).

        Args:
            past: Observations ``(b, t, *o)``, newest last.
            chunks: The actions ``(b, h, a)`` in ``[-1, 1]`` from the newest observation on.
            generator: Of noise and noise levels.
        """
        chunk = rearrange(chunks, "b h a -> b (h a)")
        noise = torch.randn(chunk.shape, generator=generator)
        levels = torch.randint(self.noise_steps, (len(chunk),), generator=generator)
        noisy = self.scheduler.add_noise(chunk, noise, levels)
        return mse_loss(self.net(noisy, levels, self.condition(past)), noise)

    def condition(self, past: Tensor) -> Tensor:
        """Return what steers the network, of observations ``(b, t, *o)``."""
        features: Tensor = self.extractor(past.flatten(0, 1))
        return rearrange(features, "(b t) w -> b (t w)", t=self.past)

    @torch.no_grad()
    def plan(self, past: Tensor, noise: Tensor) -> Tensor:
        """Return plans ``(b, h, a)`` in ``[-1, 1]`` for observations ``(b, t, *o)``, from standard normal ``noise``."""
        condition, chunk = self.condition(past), rearrange(noise, "b h a -> b (h a)")
        for level in self.scheduler.timesteps:
            predicted = self.net(chunk, level.expand(len(chunk)), condition)
            chunk = self.scheduler.step(predicted, level, chunk).prev_sample
        return rearrange(chunk, "b (h a) -> b h a", h=self.horizon)

    def begin(self, seed: int) -> Memory:
        """Return the memory with which an episode starts; the noise of its plans comes from ``seed``."""
        return Memory(np.random.default_rng([seed, 3]), [], [])

    def act(self, obs: Array, memories: Sequence[Memory], *, deterministic: bool = True) -> Array:
        """Return the next actions ``(b, a)`` for ``obs`` ``(b, *o)``, planning where a memory has no plan left.

        ``deterministic`` changes nothing: a plan is always a sample, and the same for the same seed.
        """
        for seen, memory in zip(obs, memories, strict=True):
            memory.past = [*(memory.past or [seen.copy()] * self.past), seen.copy()][-self.past :]
        idle = [memory for memory in memories if not memory.plan]
        if idle:
            past = torch.as_tensor(np.stack([np.stack(memory.past) for memory in idle]), dtype=torch.float32)
            noise = np.stack([memory.rng.standard_normal((self.horizon, self.act_dim)) for memory in idle])
            plans = self.plan(past, torch.as_tensor(noise, dtype=torch.float32)).numpy()
            for memory, plan in zip(idle, plans, strict=True):
                memory.plan = list(plan[: self.execute])
        return np.stack([memory.plan.pop(0) for memory in memories])

    def predict(
        self,
        observation: Any,
        state: tuple[Memory, ...] | None = None,
        episode_start: Array | None = None,
        deterministic: bool = False,
    ) -> tuple[Array, tuple[Memory, ...]]:
        """Act in ``b`` episodes side by side, as stable-baselines3's recurrent policies do.

        Args:
            observation: ``(b, *o)``.
            state: What the last call returned; None where all episodes begin, each with its row for a seed.
            episode_start: ``(b,)``, which episodes have just begun.
            deterministic: Changes nothing.

        Returns:
            The actions ``(b, a)``, and the memories, which the next call changes in place.
        """
        obs = np.asarray(observation)
        memories = tuple(self.begin(row) for row in range(len(obs))) if state is None else state
        for memory, fresh in zip(memories, [] if episode_start is None else episode_start, strict=False):
            if fresh:
                memory.past, memory.plan = [], []
        return self.act(obs, memories), memories

    def save_pretrained(self, path: Path, *, origin: Origin) -> None:
        """Save to a folder, with what it was made for and from.

        Raises:
            StorageError: If it cannot be written.
        """
        names = ("act_dim", "horizon", "execute", "past", "noise_steps", "sample_steps", "width", "depth", "proprio")
        config = {"class": type(self).__name__, "obs_shape": list(self.obs_shape), "origin": asdict(origin)}
        config |= {name: getattr(self, name) for name in names}
        checkpoint.save(path, kind="policy", config=config, tensors=self.state_dict())


def noise_scheduler(noise_steps: int, sample_steps: int) -> Any:
    """Return diffusers' DDIM over ``noise_steps`` levels of noise, ready to sample in ``sample_steps`` of them."""
    scheduler: Any = DDIMScheduler
    made = scheduler(noise_steps, beta_schedule="squaredcos_cap_v2", prediction_type="epsilon", clip_sample=True)
    made.set_timesteps(sample_steps)
    return made


class ChunkNet(nn.Module):
    """Predict the noise in a flattened chunk of actions.

    Residual blocks that the condition scales and shifts (FiLM, Perez et al. 2018, arXiv 1709.07871).

    Args:
        size: Numbers of a chunk.
        condition: Numbers of the condition.
        width: Of the blocks.
        depth: Number of blocks.
    """

    def __init__(self, size: int, condition: int, *, width: int, depth: int) -> None:
        super().__init__()
        self.time = Timesteps(TIME, flip_sin_to_cos=True, downscale_freq_shift=0)
        self.enter, self.leave = nn.Linear(size, width), nn.Linear(width, size)
        self.mix = nn.Sequential(nn.Linear(condition + TIME, width), nn.SiLU())
        self.steer = nn.ModuleList(nn.Linear(width, 2 * width) for _ in range(depth))
        self.up = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.down = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.norm = nn.LayerNorm(width, elementwise_affine=False)

    def forward(self, noisy: Tensor, levels: Tensor, condition: Tensor) -> Tensor:
        """Return the noise in ``noisy`` ``(b, n)`` of levels ``(b,)`` under the condition ``(b, c)``."""
        mixed = self.mix(torch.cat([condition, self.time(levels)], dim=-1))
        h = self.enter(noisy)
        for steer, up, down in zip(self.steer, self.up, self.down, strict=True):
            scale, shift = steer(mixed).chunk(2, dim=-1)
            h = h + down(silu(up(self.norm(h)) * (1 + scale) + shift))
        noise: Tensor = self.leave(h)
        return noise
