"""What ``worldrl play`` plays: the world of ``worldrl demo`` and ``fit``, or that of ``worldrl train``, told alike."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from worldrl.errors import ConfigError
from worldrl.types import Array, Episode, Starts

LIVED = 4
"""Episodes that an agent plays in the real task where its run has kept none to begin from (our choice)."""


@dataclass(frozen=True)
class Lived:
    """Episodes that were lived through just now."""

    episodes: Sequence[Episode]

    @property
    def lengths(self) -> list[int]:
        """The steps of each."""
        return [len(episode) for episode in self.episodes]

    @property
    def policies(self) -> list[str]:
        """Who acted in each."""
        return [episode.policy for episode in self.episodes]

    def __getitem__(self, index: int, /) -> Episode:
        """Return one of them."""
        return self.episodes[index]


@dataclass(frozen=True)
class Played:
    """A world as it is played.

    Attributes:
        task: Id of the real environment.
        model: The world model.
        starts: Where its episodes may start.
        horizon: Steps until the time of an episode is over.
        decode: Draws observations; None where nothing does.
        pipeline: Hash of the pipeline whose observations are the world's; empty where no policy but its own sees them.
        policies: Who was trained in it and lies with it, by name.
        choices: What its actions are called where they are discrete.
        sees: Makes of an observation pipeline that of this world.
        lives: Plays some episodes of the real task in an environment, given the pipeline; None where none are needed.
        env: Keyword arguments of the real environment, where ``lives`` wants one.
    """

    task: str
    model: Any
    starts: Starts
    horizon: int
    decode: Any
    pipeline: str
    policies: Mapping[str, Any] = field(default_factory=dict)
    choices: tuple[str, ...] = ()
    sees: Callable[[Any], Any] = lambda pipeline: pipeline
    lives: Callable[[Any, Any], Lived] | None = None
    env: Mapping[str, Any] = field(default_factory=dict)


def load(path: Path) -> Played:
    """Load a world of either kind.

    Raises:
        CheckpointError: If a part is missing or damaged.
        ConfigError: If nothing of it can be drawn.
    """
    from worldrl import checkpoint
    from worldrl.recipes.imagined import decode_of
    from worldrl.world_model.world import World

    if checkpoint.read_json(path / "model" / "manifest.json").get("kind") == "storm":
        return _trained(path)
    world = World.from_pretrained(path)
    return Played(world.task, world.model, world.starts, world.horizon, decode_of(world), world.model.pipeline)


def _trained(path: Path) -> Played:
    """Load what ``worldrl train`` wrote."""
    from gymnasium.spaces import Discrete

    from worldrl.agents.dreaming import DreamingPolicy
    from worldrl.data.rollout import roll_out
    from worldrl.recipes.parts import make_env, seeds_for
    from worldrl.recipes.robust import options_of
    from worldrl.recipes.training import load_parts
    from worldrl.storm.imagination import load_imagination

    options, (model, starts, horizon) = options_of(path), load_imagination(path)
    if model.decoder() is None:
        raise ConfigError(
            f"run must be of a world that draws frames, got '{path}', which sees objects alone: train one with "
            "inputs=both or inputs=visual."
        )
    agent, kwargs = load_parts(path).agent, dict(options.env.kwargs)
    window = options.agent.context + options.agent.horizon
    env = make_env(options.env.id, kwargs)
    choices = tuple[str, ...]()
    if isinstance(env.action_space, Discrete):
        choices = tuple(getattr(env.unwrapped, "choices", map(str, range(env.action_space.n))))
    env.close()

    def lives(env: Any, pipeline: Any) -> Lived:
        actor = load_parts(path, pipeline).actor(options, deterministic=True)
        seeds = seeds_for("evaluation", options.seed, LIVED)
        return Lived(roll_out([env], actor, seeds=seeds, record=True, policy="agent"))

    return Played(
        options.env.id, model, starts, horizon, model.decoder(), pipeline="", choices=choices, env=kwargs,
        policies={"agent": DreamingPolicy(model.model, agent, split=_Split(model), window=window)},
        sees=lambda pipeline: JoinedPipeline(pipeline, model), lives=None if choices else lives,
    )  # fmt: skip


@dataclass(frozen=True)
class _Split:
    """Takes observations of a world of ``worldrl train`` apart, as its agent reads them."""

    model: Any

    def __call__(self, obs: Array) -> dict[str, Array]:
        import torch

        tokens, frames = self.model.split(torch.from_numpy(obs)[None, None])
        return {"tokens": tokens[0, 0].numpy(), "frames": (frames[0, 0] * 255).round().byte().numpy()}


class JoinedPipeline:
    """An observation pipeline whose observations are those of a world of ``worldrl train``: tokens and frame in one.

    Args:
        pipeline: Makes the tokens.
        model: The world, behind the interface of imagined environments.
    """

    def __init__(self, pipeline: Any, model: Any) -> None:
        self.pipeline, self.model = pipeline, model
        self.masks, self.labelled = pipeline.masks, pipeline.labelled

    def __call__(self, frames: Array, proprio: Array, labels: Array | None) -> Array:
        """Observe a batch of frames ``(b, h, w, 3)`` uint8 as ``(b, *o)``."""
        import torch

        from worldrl.recipes.training import as_read

        tokens = torch.from_numpy(self.pipeline(frames, proprio, labels))
        nothing = torch.zeros(1, len(tokens), self.model.act_dim)
        seen = self.model.model.context(tokens[None], torch.from_numpy(as_read(frames))[None], nothing)
        return np.asarray(self.model.join(seen)[0].numpy())
