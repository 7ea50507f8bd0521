"""The world model of OC-STORM: latents of objects and frame, dynamics, reward and termination, behind one loss."""

from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from worldrl import checkpoint, symlog
from worldrl.errors import CheckpointError, ConfigError
from worldrl.networks import mlp
from worldrl.storm.autoencoders import FrameCoder, TokenCoder
from worldrl.storm.categorical import best, divergence, draw, flat, mix, uniform
from worldrl.storm.query import Query
from worldrl.storm.steps import Dream, Steps
from worldrl.storm.transformer import Cache, SpatialTemporal

SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"width": 32, "depth": 1, "heads": 2, "hidden": 32, "channels": 4,
             "object_latents": (8, 8), "frame_latents": (8, 8)},
    "small": {"width": 128, "depth": 2, "heads": 4, "hidden": 128, "channels": 8,
              "object_latents": (32, 16), "frame_latents": (32, 32)},
    "published": {"width": 256, "depth": 2, "heads": 4, "hidden": 1024, "channels": 32,
                  "object_latents": (16, 16), "frame_latents": (32, 32)},
}  # fmt: skip
"""Shapes of the networks by name; ``published`` is that of the released configuration.

``small`` has twice the published variables an object: what is drawn of a position is half as wrong (mean squared error
0.010 of its variance against 0.020 after 1,200 updates), at the same speed.
"""
FREE_BITS = 1.0
"""Nats of divergence that cost nothing, for each object and for the frame."""
OBJECT_WEIGHT = 1024.0
"""How often the mean squared error of tokens counts.

The published loss sums over the 2,048 numbers of an object. Ours have a few dozen; summed, their error would count so
little that latents forget where things are (our choice).
"""
DYNAMICS, REPRESENTATION = 0.5, 0.1
"""How much it counts that the prior follows the posterior, and the reverse."""


class StormWorldModel(nn.Module):
    """Categorical latents of object tokens and of the frame, and a transformer that says how they go on.

    Token 0 is proprioception, which is read as objects are. Where ``tokens`` has no other, only the frame is looked at
    beside it; where ``visual`` is false, only the tokens are: the three inputs that are compared.

    Source: OC-STORM (arXiv 2501.16443, section 3) and its released configuration. What differs: objects are tokens of
    geometry and pooled frozen features, not the queries of a segmentation network; proprioception is a token of its
    own; actions may be continuous; the small size has a quarter of the channels of frames and twice the variables of
    objects; windows that cross the end of an episode are masked, where the released code lets them run on; positions
    are learned.

    Args:
        tokens: ``(k, d)``, proprioception included.
        visual: Whether the frame is looked at.
        acts: Numbers of an action (of a one-hot vector where actions are discrete).
        pipeline: Hash of the observation pipeline it is made for.
        size: A name in ``SIZES``.
        max_length: Steps of a sequence at most.
        dropout: Of the transformer.

    Attributes:
        state_dim: Numbers ``s`` of the state that agents see: all latents, and all hidden states of the step before.

    Raises:
        ConfigError: If there is no such size.
    """

    def __init__(
        self,
        *,
        tokens: tuple[int, int],
        visual: bool,
        acts: int,
        pipeline: str = "",
        size: str = "small",
        max_length: int = 64,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if size not in SIZES:
            raise ConfigError(f"size must be one of {', '.join(SIZES)}, got '{size}'.")
        self.tokens, self.visual, self.acts, self.pipeline, self.size = tokens, visual, acts, pipeline, size
        self.max_length, self.dropout = max_length, dropout
        shape = SIZES[size]
        width, objects, frame = shape["width"], shape["object_latents"], shape["frame_latents"]
        self.token_coder = TokenCoder(tokens=tokens, latents=objects, hidden=shape["hidden"])
        self.frame_coder = FrameCoder(latents=frame, channels=shape["channels"]) if visual else None
        self._shapes = [objects] * tokens[0] + ([frame] if visual else [])
        sizes = tuple(groups * classes for groups, classes in self._shapes)
        self.dynamics = SpatialTemporal(
            latents=sizes, acts=acts, width=width, depth=shape["depth"], heads=shape["heads"],
            max_length=max_length, dropout=dropout,
        )  # fmt: skip
        self.object_prior = mlp([width, width], last=objects[0] * objects[1])
        self.frame_prior = mlp([width, width], last=frame[0] * frame[1]) if visual else None
        self.reward = Query(width, shape["heads"], outputs=symlog.BINS)
        self.termination = Query(width, shape["heads"], outputs=1)
        self.state_dim = sum(sizes) + width * len(sizes)
        self.width = width

    def context(self, tokens: Tensor, frames: Tensor | None, acts: Tensor) -> Steps:
        """Return steps of one episode a row, of which nothing but what was seen and done is known.

        Args:
            tokens: ``(b, t, k, d)``.
            frames: ``(b, t, 3, 64, 64)`` uint8, or None where they are not looked at.
            acts: ``(b, t, a)``; the last is not looked at.
        """
        rows = acts.shape[:2]
        pixels = frames.float() / 255 if frames is not None and self.visual else None
        nothing = torch.zeros(rows, device=acts.device)
        return Steps(tokens, pixels, acts, nothing, nothing, nothing.long())

    def posterior(self, tokens: Float[Tensor, "b t k d"], frames: Tensor | None) -> list[Float[Tensor, "b t g c"]]:
        """Return the log-probabilities of the latents of each token, and of the frame last."""
        logits = list(self.token_coder.encode(tokens).unbind(dim=2))
        if self.frame_coder is not None and frames is not None:
            logits.append(self.frame_coder.encode(frames)[:, :, 0])
        return [mix(one) for one in logits]

    def prior(self, hidden: Float[Tensor, "b t k w"]) -> list[Float[Tensor, "b t g c"]]:
        """Return the log-probabilities of the latents of the next step."""
        k, (groups, _) = self.tokens[0], self._shapes[0]
        logits = self.object_prior(hidden[:, :, :k])
        priors = [mix(rearrange(one, "b t (g c) -> b t g c", g=groups)) for one in logits.unbind(dim=2)]
        if self.frame_prior is not None:
            groups = self._shapes[-1][0]
            priors.append(mix(rearrange(self.frame_prior(hidden[:, :, k]), "b t (g c) -> b t g c", g=groups)))
        return priors

    def loss(self, steps: Steps, *, rng: torch.Generator | None = None) -> tuple[Tensor, dict[str, float]]:
        """Return what training minimises on recorded steps, and its parts.

        Args:
            steps: A batch of windows; a window may run over the end of an episode.
            rng: Of the draws of latents.
        """
        posterior = self.posterior(steps.tokens, steps.frames)
        latents = [flat(draw(one, uniform(one, rng))) for one in posterior]
        hidden = self.dynamics(latents, steps.acts, steps.episodes)
        parts = self._reconstruction(latents, steps)
        same = (steps.episodes[:, 1:] == steps.episodes[:, :-1]).float()
        parts["divergence"] = self._divergence(posterior, self.prior(hidden[:, :-1]), same)
        parts["reward"] = symlog.two_hot_loss(self.reward(hidden), steps.rews).mean()
        parts["termination"] = binary_cross_entropy_with_logits(self.termination(hidden)[..., 0], steps.ends)
        total = torch.stack(list(parts.values())).sum()
        return total, {name: float(part.detach()) for name, part in parts.items()}

    def _reconstruction(self, latents: list[Tensor], steps: Steps) -> dict[str, Tensor]:
        k = self.tokens[0]
        error = self.token_coder.decode(torch.stack(latents[:k], dim=2)) - steps.tokens
        parts = {"objects": OBJECT_WEIGHT * error.square().mean()}
        if self.frame_coder is not None and steps.frames is not None:
            drawn = self.frame_coder.decode(latents[k])
            parts["frame"] = (drawn - steps.frames).square().sum(dim=(2, 3, 4)).mean()
        return parts

    def _divergence(self, posterior: list[Tensor], prior: list[Tensor], same: Bool[Tensor, "b t"]) -> Tensor:
        """Return the two divergences, free bits taken off each object after averaging over batch and time."""
        count = same.sum().clamp_min(1.0)

        def priced(p: list[Tensor], q: list[Tensor]) -> Tensor:
            each = [(divergence(one, other) * same).sum() / count for one, other in zip(p, q, strict=True)]
            free = torch.stack(each).clamp_min(FREE_BITS)
            k = self.tokens[0]
            return free[:k].mean() + free[k:].sum()

        following = [one[:, 1:] for one in posterior]
        dynamics = priced([one.detach() for one in following], prior)
        representation = priced(following, [one.detach() for one in prior])
        return DYNAMICS * dynamics + REPRESENTATION * representation

    @torch.no_grad()
    def observe(
        self, steps: Steps, *, rng: torch.Generator | None = None, certain: bool = False
    ) -> tuple[list[Tensor], Float[Tensor, "b 1 k w"], Cache]:
        """Read a context whose last action is yet to be chosen.

        Args:
            steps: The context.
            rng: Of the draws of latents.
            certain: Whether to take the likeliest latents rather than a draw.

        Returns:
            The latents of the last observation, the hidden states before it (zero at the start of an episode), and the
            cache of the steps before it.
        """
        posterior = self.posterior(steps.tokens, steps.frames)
        latents = [best(one) if certain else draw(one, uniform(one, rng)) for one in posterior]
        return self.observe_latents([flat(one) for one in latents], steps)

    @torch.no_grad()
    def observe_latents(
        self, latents: list[Float[Tensor, "b t n"]], steps: Steps
    ) -> tuple[list[Tensor], Float[Tensor, "b 1 k w"], Cache]:
        """Do as ``observe`` where latents have been drawn from the posterior already."""
        cache, past = Cache(), steps.acts.shape[1] - 1
        hidden = torch.zeros(len(steps.acts), 1, len(latents), self.width, device=steps.acts.device)
        if past:
            before = self.dynamics(
                [z[:, :past] for z in latents], steps.acts[:, :past], steps.episodes[:, :past], cache
            )[:, -1:]
            goes_on = (steps.episodes[:, past] == steps.episodes[:, past - 1]).float()
            hidden = before * rearrange(goes_on, "b -> b 1 1 1")
        return [z[:, past:] for z in latents], hidden, cache

    @torch.no_grad()
    def advance(
        self,
        latents: list[Float[Tensor, "b 1 n"]],
        act: Float[Tensor, "b 1 a"],
        episodes: Int[Tensor, "b 1"],
        cache: Cache,
        *,
        chance: list[Float[Tensor, "b 1 g"]],
    ) -> tuple[list[Tensor], Float[Tensor, "b 1 k w"], Tensor, Tensor]:
        """Imagine one step.

        Returns:
            The next latents, the hidden states they were drawn from, reward and probability of termination ``(b, 1)``.
        """
        hidden = self.dynamics(latents, act, episodes, cache)
        following = [flat(draw(one, by)) for one, by in zip(self.prior(hidden), chance, strict=True)]
        return following, hidden, symlog.decode(self.reward(hidden)), self.termination(hidden)[..., 0].sigmoid()

    @torch.no_grad()
    def dream(self, context: Steps, choose: Any, *, horizon: int, rng: torch.Generator | None = None) -> Dream:
        """Let an agent act in imagination.

        Args:
            context: Recorded steps to start from; what was done in the last of them is replaced.
            choose: Called with states ``(b, s)``, returns actions ``(b, a)``; clipped to ``[-1, 1]`` before they are
                imagined, kept as they are for the agent.
            horizon: Steps to imagine.
            rng: Of the draws of latents.
        """
        latents, hidden, cache = self.observe(context, rng=rng)
        episodes = context.episodes[:, -1:]
        states, acts, rews, goes_on = [self.state(latents, hidden)], [], [], []
        for _ in range(horizon):
            act = choose(states[-1])[:, None]
            latents, hidden, rew, end = self.advance(
                latents,
                act.clamp(-1.0, 1.0),
                episodes,
                cache,
                chance=[self._chance(g, len(act), rng) for g, _ in self._shapes],
            )
            states.append(self.state(latents, hidden))
            acts.append(act[:, 0])
            rews.append(rew[:, 0])
            goes_on.append(1.0 - end[:, 0])
        return Dream(*(torch.stack(one, dim=1) for one in (states, acts, rews, goes_on)))

    def state(self, latents: list[Tensor], hidden: Tensor) -> Float[Tensor, "b s"]:
        """Return what agents see of one step: latents and hidden states as one vector."""
        return torch.cat([*(z[:, 0] for z in latents), rearrange(hidden, "b 1 k w -> b (k w)")], dim=-1)

    def decode(self, latents: list[Tensor]) -> tuple[Tensor, Tensor | None]:
        """Return the tokens, and the frames where they are looked at, that latents mean."""
        k = self.tokens[0]
        tokens = self.token_coder.decode(torch.stack(latents[:k], dim=2))
        return tokens, None if self.frame_coder is None else self.frame_coder.decode(latents[k])

    def chances(self) -> list[int]:
        """Return how many uniform numbers the draw of each token's latents, and the frame's, takes."""
        return [groups for groups, _ in self._shapes]

    def _chance(self, groups: int, rows: int, rng: torch.Generator | None) -> Tensor:
        return torch.rand(rows, 1, groups, generator=rng, device=self.dynamics.time.device)

    def config(self) -> dict[str, Any]:
        """Return what it is built from again, as plain JSON."""
        return {
            "class": type(self).__name__,
            "tokens": list(self.tokens),
            "visual": self.visual,
            "acts": self.acts,
            "pipeline": self.pipeline,
            "size": self.size,
            "max_length": self.max_length,
            "dropout": self.dropout,
        }

    def save_pretrained(self, path: Path) -> None:
        """Save to a folder.

        Raises:
            StorageError: If it cannot be written.
        """
        checkpoint.save(path, kind="storm", config=self.config(), tensors=self.state_dict())

    @classmethod
    def from_pretrained(cls, path: Path) -> "StormWorldModel":
        """Load from a folder, in evaluation mode.

        Raises:
            CheckpointError: If the folder is damaged or not such a model.
        """
        saved = checkpoint.load(path, kind="storm")
        config = dict(saved.config)
        with checkpoint.described(path, "a StormWorldModel"):
            if config.pop("class") != cls.__name__:
                raise CheckpointError(f"{path} must hold a {cls.__name__}: it was written by another class.")
            k, d = config.pop("tokens")
            model = cls(tokens=(k, d), **config)
        checkpoint.load_state(model, saved.tensors, path=path)
        return model.eval()
