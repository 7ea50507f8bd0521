"""Train an agent in the imagination of an object-centric world model, interleaved with real interaction (OC-STORM).

A run that was stopped goes on from the end of an episode, and ends as it would have: what is kept on the way lies in
``OUT.training`` until all of it stands.
"""

from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import MISSING

from worldrl import signals
from worldrl.errors import ConfigError
from worldrl.facts import tell, tell_whole
from worldrl.recipes.boards import check_boards
from worldrl.recipes.lasting import Stretch, keep, recall
from worldrl.recipes.measurement import success_told
from worldrl.recipes.options import (
    EncoderOptions,
    EnvOptions,
    ObjectOptions,
    check_env_id,
    check_keep_every,
    check_observation,
    check_positive,
    option,
)
from worldrl.recipes.parts import encoder_for, encoder_name, fit_pipeline, make_env, seeds_for, use_threads, versions
from worldrl.recipes.results import Result
from worldrl.recipes.stages import is_taken, kept_beside, kept_for
from worldrl.recipes.telling import Training, bar, lessons, say
from worldrl.recipes.training import Lived, Parts, as_read, evaluate, imagine, play_at_random, save_starts

INPUTS = ("both", "objects", "visual")


@dataclass
class StormOptions:
    """Shape and training of the world model."""

    size: str = option("small", "tiny, small, or published: that of the paper, for a GPU")
    batch_size: int = option(8, "windows of an update")
    length: int = option(16, "steps of a window")
    lr: float = option(1e-3, "learning rate; the paper's 100,000 updates take 1e-4")
    dropout: float = option(0.0, "of the transformer; the paper's 100,000 updates take 0.1")


@dataclass
class AgentOptions:
    """Actor and critic."""

    width: int = option(128, "of the hidden layers; 512 and three of them in the paper")
    depth: int = option(2, "hidden layers")
    lr: float = option(3e-4, "learning rate; the paper's 100,000 updates take 3e-5")
    gamma: float = option(0.95, "discount")
    lam: float = option(0.95, "weight of longer returns")
    entropy: float = option(1e-3, "weight of the entropy of actions")
    starts: int = option(64, "imagined episodes of an update")
    context: int = option(4, "recorded steps before imagination")
    horizon: int = option(8, "imagined steps")


@dataclass
class Config:
    """Options of ``worldrl train``."""

    env: EnvOptions = field(default_factory=EnvOptions)
    encoder: EncoderOptions = field(default_factory=EncoderOptions)
    objects: ObjectOptions = field(default_factory=ObjectOptions)
    storm: StormOptions = field(default_factory=StormOptions)
    agent: AgentOptions = field(default_factory=AgentOptions)
    inputs: str = option("both", "what world model and agent see: both, objects, or visual (the frame alone)")
    out: str = option(MISSING, "run folder; must not exist")
    features: str = option("", "folder of the feature cache; empty for none")
    steps: int = option(10_000, "real steps in all, those of random play included")
    warmup: int = option(1_000, "steps of random play before the first update")
    every: int = option(8, "real steps between updates; those that random play is owed are made at its end")
    updates: int = option(4, "gradient steps of world model and agent at each update")
    offset: float = option(
        0.0, "added to every reward; -1 where a dense reward would make it worth while not to finish"
    )
    checks: int = option(4, "evaluations on the way, of a fifth of the episodes each; 0 for none")
    episodes: int = option(50, "held-out episodes of the evaluation at the end")
    tensorboard: str = option("", "folder for TensorBoard; empty for none")
    wandb: str = option("", "project of Weights & Biases; empty for none")
    keep_every: int = option(1000, "real steps after which a run is kept, to go on from after a stop; 0 for never")
    seed: int = option(0, "of everything")
    threads: int = option(1, "threads of torch; 0 leaves them alone")

    def check(self) -> None:
        """Refuse options out of range."""
        from worldrl.storm.model import SIZES

        if self.inputs not in INPUTS:
            raise ConfigError(f"inputs must be one of {', '.join(INPUTS)}, got '{self.inputs}'.")
        if self.storm.size not in SIZES:
            raise ConfigError(f"storm.size must be one of {', '.join(SIZES)}, got '{self.storm.size}'.")
        check_positive(
            steps=self.steps, warmup=self.warmup, every=self.every, updates=self.updates, episodes=self.episodes,
            batch_size=self.storm.batch_size, length=self.storm.length, starts=self.agent.starts,
            context=self.agent.context, horizon=self.agent.horizon,
        )  # fmt: skip
        if self.steps <= self.warmup or self.warmup < self.storm.length:
            raise ConfigError(
                f"warmup must be at least {self.storm.length} steps and less than steps={self.steps}, "
                f"got {self.warmup}."
            )
        check_keep_every(self.keep_every)
        check_boards(self)
        check_env_id(self.env.id)
        check_observation(self.encoder, self.objects, 0, size=self.env.kwargs.get("size"))


def run(config: Config) -> Result:
    """Play at random, fit the observation pipeline, then interleave acting and learning; evaluate and save."""
    if Path(config.out).exists() and not is_taken(kept_for(config.out)):
        raise ConfigError(f"out must be a new folder, got '{config.out}': name another.")
    with kept_beside(config.out, every=config.keep_every), lessons(config, "train") as told:
        return _run(config, told.training("train"))


def _run(config: Config, training: Training) -> Result:
    import torch

    from worldrl import checkpoint
    from worldrl.evaluation.memory import Stopwatch

    out, cache, watch = Path(config.out), Path(config.features) if config.features else None, Stopwatch()
    use_threads(config.threads)
    torch.set_flush_denormal(True)  # half of the time of the softmax over 255 places goes into numbers below 1e-38
    with encoder_for(config.encoder, cache) as encoder:
        env, held_out = (make_env(config.env.id, dict(config.env.kwargs)) for _ in range(2))
        with watch.stage("warmup"):
            lived = play_at_random(env, steps=config.warmup, seed=config.seed)
            pipeline = _pipeline(config, env, lived, encoder)
            parts = _parts(config, env, pipeline, lived)
        with watch.stage("train"), signals.patient() if config.keep_every else nullcontext():
            curve = _go_on(config, env, held_out, parts, training)
        with watch.stage("evaluate"):
            figures = evaluate(config, held_out, parts, config.episodes) | imagine(config, held_out, parts)
    pipeline.save_pretrained(out / "observation")
    parts.model.save_pretrained(out / "model")
    parts.agent.save_pretrained(out / "agent")
    save_starts(config, parts)
    masks = "none" if config.inputs == "visual" else config.objects.masks
    summary = {
        "config": asdict(config), "masks": masks, **figures, "curve": curve, "real_steps": config.steps,
        "imagined_steps": parts.learner.imagined_steps,
        "seconds_by_stage": {name: round(seconds, 1) for name, seconds in watch.seconds_by_stage.items()},
        "versions": versions(),
    }  # fmt: skip
    checkpoint.write_json(out / "summary.json", summary)
    low, high = figures["interval"]
    _describe(config, figures, masks=masks, encoder=encoder_name(pipeline), imagined=summary["imagined_steps"])
    text = (
        f"{config.env.id}, inputs: {config.inputs}, masks: {masks}, {config.steps} real steps: success "
        f"{100 * figures['success']:.0f} % [{100 * low:.0f}, {100 * high:.0f}], return {figures['ret']:.2f} "
        f"(imagined {figures['imagined_ret']:.2f}); {out / 'summary.json'}"
    )
    return Result(text, {"out": out} | summary)


def _describe(config: Config, figures: dict[str, Any], *, masks: str, encoder: str, imagined: int) -> None:
    """Put what is known of a run into the cards of what it made."""
    out, success = Path(config.out), success_told(figures["success"], *figures["interval"], episodes=config.episodes)
    tell_whole(out, task=config.env.id, masks=masks, encoder=encoder, inputs=config.inputs, real_steps=config.steps)
    tell(
        out / "agent", imagined_steps=imagined, real_success=success, real_ret=figures["ret"],
        imagined_ret=figures["imagined_ret"],
    )  # fmt: skip


def _pipeline(config: Config, env: Any, lived: Lived, encoder: Any) -> Any:
    """Fit what turns frames into tokens on what random play saw."""
    frames, proprio, labels = lived.seen()
    visual = config.inputs == "visual"
    return fit_pipeline(
        frames, proprio, labels, objects=tuple(env.unwrapped.objects), task=config.env.id,
        options=ObjectOptions(masks="no_objects") if visual else config.objects,
        encoder=None if visual else encoder, seed=config.seed,
    )  # fmt: skip


def _parts(config: Config, env: Any, pipeline: Any, lived: Lived) -> Parts:
    """Make model, agent and replay buffer, and fill it with what random play lived through."""
    import torch
    from gymnasium.spaces import Discrete

    from worldrl.agents.actor_critic import ActorCritic
    from worldrl.data.buffer import ReplayBuffer
    from worldrl.storm.autoencoders import SIDE
    from worldrl.storm.learner import Learner
    from worldrl.storm.model import StormWorldModel

    torch.manual_seed(config.seed)
    space, (k, d), visual = env.action_space, pipeline.shape, config.inputs != "objects"
    discrete = isinstance(space, Discrete)
    acts = int(space.n) if discrete else int(np.prod(space.shape))
    model = StormWorldModel(
        tokens=(k, d), visual=visual, acts=acts, pipeline=pipeline.hash, size=config.storm.size,
        max_length=max(64, config.storm.length), dropout=config.storm.dropout,
    ).eval()  # fmt: skip
    chosen = config.agent
    agent = ActorCritic(
        state_dim=model.state_dim, acts=acts, discrete=discrete, width=chosen.width, depth=chosen.depth,
        gamma=chosen.gamma, lam=chosen.lam, entropy=chosen.entropy,
    )  # fmt: skip
    learner = Learner(
        model, agent, batch_size=config.storm.batch_size, length=config.storm.length, model_lr=config.storm.lr,
        agent_lr=chosen.lr, starts=chosen.starts, context=chosen.context, horizon=chosen.horizon, seed=config.seed,
    )  # fmt: skip
    buffer = ReplayBuffer(config.steps, tokens=(k, d), frame=SIDE if visual else 0, acts=acts)
    shrink = as_read if visual else None
    frames, proprio, labels = lived.seen()
    tokens = pipeline(frames, proprio, labels)
    pictures = None if shrink is None else shrink(frames)
    for i, act in enumerate(lived.acts):
        seen = {"tokens": tokens[i]} | ({} if pictures is None else {"frames": pictures[i]})
        buffer.add(
            **seen, acts=np.eye(acts)[int(act)] if discrete else act, rews=lived.rews[i] + config.offset,
            ends=lived.ends[i], episodes=lived.episodes[i],
        )  # fmt: skip
    return Parts(pipeline, model, agent, learner, buffer, shrink)


def _go_on(config: Config, env: Any, held_out: Any, parts: Parts, training: Training) -> list[dict[str, float]]:
    """Act and learn until the real steps are used up; return what the evaluations on the way found."""
    at, kept = recall(config, parts), -1
    if at is None:
        at = Stretch(config.warmup, losses=_learn(parts, config.warmup // config.every * config.updates))
        _tell(training, at.step, at.losses)
    else:
        kept = at.step
        training.curves.restore(at.curves)
    actor, show, curve, losses = parts.actor(config, deterministic=False), bar("train"), at.curve, at.losses
    seeds = seeds_for("policy", config.seed, config.steps)
    checks = {config.steps * (i + 1) // (config.checks + 1) for i in range(config.checks)}
    over = True
    for step in range(at.step, config.steps):
        if over:
            at.step, at.losses, at.curves = step, losses, training.curves.state()
            kept = _keep(config, parts, at, kept)
            episode = seeds[at.episodes]
            at.episodes += 1
            obs, _ = env.reset(seed=episode)
            actor.begin(0, env, episode)
        act = actor.act([obs], [env], np.zeros(1, np.int64))[0]
        obs, rew, end, trunc, _ = env.step(act)
        over = end or trunc
        parts.buffer.add(**actor.seen[0], rews=float(rew) + config.offset, ends=bool(end), episodes=episode)
        if (step + 1) % config.every == 0:
            losses = _learn(parts, config.updates)
            _tell(training, step + 1, losses)
        if step + 1 in checks:
            found = evaluate(config, held_out, parts, max(1, config.episodes // 5))
            training.tell(step + 1, {"success": found["success"], "return": found["ret"]})
            curve.append({"steps": step + 1, "success": found["success"], "ret": found["ret"]} | losses)
            say(f"{step + 1} steps: success {found['success']:.2f}, return {found['ret']:.2f}, {_shown(losses)}")
        show(step + 1, config.steps)
    return curve


def _keep(config: Config, parts: Parts, at: Stretch, kept: int) -> int:
    """Keep the run if it is time, or if a signal asks for a stop; return after which step it was kept last."""
    if config.keep_every and (kept < 0 or at.step - kept >= config.keep_every or signals.stopping()):
        keep(config, parts, at, last=max(kept, config.warmup))
        kept = at.step
    signals.grant()
    return kept


def _learn(parts: Parts, times: int) -> dict[str, float]:
    """Update world model and agent so many times; return the losses of the last."""
    losses: dict[str, float] = {}
    for _ in range(times):
        losses = parts.learner.fit(parts.buffer) | parts.learner.refine(parts.buffer)
    return losses


def _tell(training: Training, step: int, losses: dict[str, float]) -> None:
    """Tell the losses of an update; the return among them is imagined."""
    training.tell(step, {"imagined return" if name == "return" else name: value for name, value in losses.items()})


def _shown(losses: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.2f}" for name, value in losses.items())
