"""What a run of ``worldrl train`` is made of, how it begins, and how it is measured."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from worldrl.recipes.parts import seeds_for
from worldrl.types import Array

if TYPE_CHECKING:
    from worldrl.recipes.train import Config

STARTS = 256
"""Recorded histories that are kept for imagined environments."""
IMAGINED = 64
"""Imagined episodes of the figure that stands beside the real one."""


@dataclass(frozen=True)
class Parts:
    """What a run is made of once its observation pipeline is fitted."""

    pipeline: Any
    model: Any
    agent: Any
    learner: Any
    buffer: Any
    shrink: Callable[[Any], Any] | None

    def actor(self, config: "Config", *, deterministic: bool) -> Any:
        """Return the agent as one who acts in real environments."""
        from worldrl.agents.dreaming import DreamingActor

        return DreamingActor(
            self.model, self.agent, self.pipeline, shrink=self.shrink,
            window=config.agent.context + config.agent.horizon, deterministic=deterministic,
        )  # fmt: skip


def load_parts(folder: Path, pipeline: Any = None) -> Parts:
    """Load model and agent of a run; nothing is learnt any more.

    Args:
        folder: The run.
        pipeline: Through which the agent sees; None where it sees nothing.

    Raises:
        CheckpointError: If a part is missing or damaged, or they were made for another pipeline.
    """
    from worldrl.agents.actor_critic import ActorCritic
    from worldrl.storm.model import StormWorldModel

    model = StormWorldModel.from_pretrained(folder / "model")
    if pipeline is not None:
        pipeline.require(model.pipeline, owner=str(folder / "model"))
    agent = ActorCritic.from_pretrained(folder / "agent")
    return Parts(pipeline, model, agent, learner=None, buffer=None, shrink=as_read if model.visual else None)


@dataclass
class Lived:
    """What random play saw and did, a list entry a step."""

    frames: list[Any] = field(default_factory=list)
    proprio: list[Any] = field(default_factory=list)
    labels: list[Any] = field(default_factory=list)
    acts: list[Any] = field(default_factory=list)
    rews: list[float] = field(default_factory=list)
    ends: list[bool] = field(default_factory=list)
    episodes: list[int] = field(default_factory=list)

    def seen(self) -> tuple[Array, Array, Array]:
        """Return frames, proprioception and labels, as a pipeline takes them."""
        frames, proprio, labels = (np.stack(one) for one in (self.frames, self.proprio, self.labels))
        return frames, proprio, labels


def play_at_random(env: Any, *, steps: int, seed: int) -> Lived:
    """Return what some steps of random play saw; the last episode is cut where the steps are up."""
    from worldrl.agents.experts import RandomActor

    lived, actor, seeds = Lived(), RandomActor(), iter(seeds_for("random", seed, steps))
    over = True
    while len(lived.acts) < steps:
        if over:
            episode = next(seeds)
            obs, _ = env.reset(seed=episode)
            actor.begin(0, env, episode)
        act = actor.act([obs], [env], np.zeros(1, np.int64))[0]
        lived.frames.append(obs["image"])
        lived.proprio.append(obs["proprio"])
        lived.labels.append(env.unwrapped.labels())
        obs, rew, end, trunc, _ = env.step(act)
        over = end or trunc
        lived.acts.append(act)
        lived.rews.append(float(rew))
        lived.ends.append(bool(end))
        lived.episodes.append(episode)
    return lived


def as_read(frames: Any) -> Any:
    """Return frames ``(b, h, w, 3)`` uint8 as the world model reads them, ``(b, 3, 64, 64)`` uint8."""
    from worldrl.encoders.thumbnails import shrink
    from worldrl.storm.autoencoders import SIDE

    return (shrink(frames, SIDE) * 255).round().byte().numpy()


def evaluate(config: "Config", env: Any, parts: Parts, episodes: int) -> dict[str, Any]:
    """Return success and return in held-out episodes of the real task; actions are the likeliest ones.

    Args:
        config: Of the run.
        env: An environment that no training episode is under way in.
        parts: Who acts, and through what it sees.
        episodes: How many.
    """
    from worldrl.data.rollout import roll_out
    from worldrl.evaluation.intervals import wilson

    outcomes = roll_out(
        [env],
        parts.actor(config, deterministic=True),
        seeds=seeds_for("evaluation", config.seed, episodes),
        record=False,
    )
    wins, rets = [outcome.success for outcome in outcomes], [outcome.ret for outcome in outcomes]
    interval = wilson(sum(wins), len(wins))
    return {
        "success": float(np.mean(wins)), "interval": [interval.low, interval.high], "outcomes": wins,
        "ret": float(np.mean(rets)), "rets": rets, "length": float(np.mean([outcome.length for outcome in outcomes])),
    }  # fmt: skip


def imagine(config: "Config", env: Any, parts: Parts) -> dict[str, Any]:
    """Return what the agent's success and return are in imagination, from the first observations of other episodes.

    Success is the probability of an end within the real task's horizon, where an end is a success.
    """
    import torch

    horizon = min(int(config.env.kwargs.get("max_steps", 40)), parts.model.max_length)
    actor, lived = parts.actor(config, deterministic=True), list[dict[str, Any]]()
    for seed in seeds_for("evaluation", config.seed, IMAGINED, skip=config.episodes):
        obs, _ = env.reset(seed=seed)
        actor.begin(0, env, seed)
        actor.act([obs], [env], np.zeros(1, np.int64))
        lived.append(actor.seen[0])
    tokens, frames, acts = (
        torch.from_numpy(np.stack([one[name] for one in lived]))[:, None] if name in lived[0] else None
        for name in ("tokens", "frames", "acts")
    )
    rng = torch.Generator().manual_seed(config.seed)
    with torch.no_grad():
        dream = parts.model.dream(
            parts.model.context(tokens, frames, acts),
            lambda states: parts.agent.act(states, rng=rng), horizon=horizon, rng=rng,
        )  # fmt: skip
    goes_on = dream.goes_on.cumprod(dim=1)
    alive = torch.cat([torch.ones_like(goes_on[:, :1]), goes_on[:, :-1]], dim=1)
    return {
        "imagined_end": float(1.0 - goes_on[:, -1].mean()),
        "imagined_ret": float((alive * (dream.rews - config.offset)).sum(dim=1).mean()),
    }


def save_starts(config: "Config", parts: Parts) -> None:
    """Keep recorded histories, so that ``worldrl/Imagined-v0`` can be made of the run."""
    from worldrl.storm.imagination import StormImagination, save_starts
    from worldrl.storm.learner import steps_of

    imagination = StormImagination(parts.model, history=min(config.agent.context, config.storm.length))
    window = parts.buffer.sample(STARTS, imagination.history, rng=np.random.default_rng(config.seed))
    save_starts(Path(config.out), imagination, steps_of(window), horizon=int(config.env.kwargs.get("max_steps", 40)))
