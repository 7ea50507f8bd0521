"""The main job, end to end: from demonstrations to a better policy, without a GPU.

A run that was stopped, in whatever way, goes on when it is called again with its folder: stages that are done are
skipped, and the others end as they would have. Collecting goes on with the shards that are missing, encoding with the
frames that no cache has, cloning, fitting and refining from where they were last kept; evaluating and making videos are
begun anew, from the seed, which comes to the same.
"""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from worldrl.errors import ConfigError
from worldrl.recipes import clone, collect, encode, evaluate, fit, record, refine
from worldrl.recipes.boards import check_boards
from worldrl.recipes.options import (
    EncoderOptions,
    EngineOptions,
    EnvOptions,
    ObjectOptions,
    WorldModelOptions,
    check_env_id,
    check_observation,
    check_positive,
    check_threads,
    check_world_model,
    option,
)
from worldrl.recipes.parts import use_threads, versions
from worldrl.recipes.results import Result
from worldrl.recipes.stages import is_taken, run_at
from worldrl.recipes.telling import say


@dataclass
class Config:
    """Options of ``worldrl demo``."""

    env: EnvOptions = field(default_factory=EnvOptions)
    encoder: EncoderOptions = field(default_factory=EncoderOptions)
    objects: ObjectOptions = field(default_factory=ObjectOptions)
    world_model: WorldModelOptions = field(default_factory=WorldModelOptions)
    pixels: int = option(0, "observe frames of this many pixels a side instead of tokens; 0 for tokens")
    out: str = option("", "run folder, new or to go on with; empty for runs/demo-<seed>, or the next free name")
    demonstrations: int = option(22, "episodes of the noisy expert")
    random: int = option(30, "episodes of random play")
    rollouts: int = option(200, "episodes of the cloned policy, for the world model to learn from")
    noise: float = option(0.3, "standard deviation of the expert's noise")
    clone_steps: int = option(1500, "gradient steps of cloning")
    fit_steps: int = option(1500, "gradient steps of the dynamics")
    success_steps: int = option(2500, "gradient steps of the success classifier")
    decoder_steps: int = option(600, "gradient steps of the frame decoder")
    imagined_steps: int = option(320_000, "steps of PPO in imagination")
    anchor: float = option(0.02, "weight of the divergence from the cloned policy")
    slack: float = option(0.0, "by how much more than chance imagination may overrate the recorded policy; 1: any")
    episodes: int = option(100, "held-out episodes of the evaluation, the same for both policies")
    videos: int = option(3, "episodes in the videos; 0 for no videos")
    tensorboard: str = option("", "folder for TensorBoard; empty for none")
    wandb: str = option("", "project of Weights & Biases; empty for none")
    keep_every: int = option(200, "gradient steps after which cloning and fitting are kept, to go on after a stop")
    seed: int = option(0, "of everything")
    threads: int = option(0, "threads of torch; 0 for as many as there are cores")

    def check(self) -> None:
        """Refuse options out of range."""
        check_positive(
            demonstrations=self.demonstrations, rollouts=self.rollouts, episodes=self.episodes,
            imagined_steps=self.imagined_steps, clone_steps=self.clone_steps, fit_steps=self.fit_steps,
            success_steps=self.success_steps, keep_every=self.keep_every,
        )  # fmt: skip
        check_env_id(self.env.id)
        check_boards(self)
        check_threads(self.threads)
        check_world_model(self.world_model, pixels=self.pixels)
        check_observation(self.encoder, self.objects, self.pixels, size=self.env.kwargs.get("size"))


def run(config: Config) -> Result:
    """Run every stage that is not done yet, in a folder of its own, and return the table."""
    from worldrl import checkpoint

    use_threads(config.threads or len(os.sched_getaffinity(0)))
    out = _folder(config)
    with run_at(out, config) as part:
        if (out / "summary.json").exists():
            say(f"found {out} finished, nothing is left to do")
            return _told(out)
        for name, do in _stages(config, out).items():
            part.stage(name, do)
        summary = _summary(config, out) | {
            "seconds_total": round(sum(part.seconds.values()), 1),
            "seconds_by_stage": {name: round(seconds, 1) for name, seconds in part.seconds.items()},
            "peak_memory_gb": round(part.peak_memory_gb, 2),
            "versions": versions(),
        }
        checkpoint.write_json(out / "summary.json", summary)
    say(f"{summary['seconds_total']:.0f} s, at most {summary['peak_memory_gb']} GB")
    return _told(out)


def _stages(config: Config, out: Path) -> dict[str, Callable[[], object]]:
    """Return the stages by name, in order; each may be called again where it was stopped."""
    at = {name: str(out / name) for name in ("episodes", "observation", "features", "clone", "world", "refined")}
    data: dict[str, Any] = {"observation": at["observation"], "features": at["features"]}
    common: dict[str, Any] = {"seed": config.seed}
    recorded: dict[str, Any] = {"env": config.env, "out": at["episodes"], "missing": True} | common
    learns: dict[str, Any] = {"tensorboard": config.tensorboard, "wandb": config.wandb} | common
    scripted = [
        collect.Config(policy=who, episodes=count, noise=config.noise, **recorded)
        for who, count in (("noisy_expert", config.demonstrations), ("random", config.random))
    ]
    encoded = encode.Config(
        episodes=at["episodes"], out=at["observation"], features=at["features"], encoder=config.encoder,
        objects=config.objects, pixels=config.pixels, **common,
    )  # fmt: skip
    cloned = clone.Config(
        episodes=at["episodes"],
        out=at["clone"],
        steps=config.clone_steps,
        keep_every=config.keep_every,
        **data,
        **learns,
    )
    own = collect.Config(policy=at["clone"], episodes=config.rollouts, **data, **recorded)
    fitted = fit.Config(
        episodes=at["episodes"], out=at["world"], world_model=config.world_model, steps=config.fit_steps,
        success_steps=config.success_steps, decoder_steps=config.decoder_steps,
        engine=EngineOptions(keep_every=config.keep_every), **data, **learns,
    )  # fmt: skip
    refined = refine.Config(
        world=at["world"], policy=at["clone"], out=at["refined"], steps=config.imagined_steps, anchor=config.anchor,
        trust=refine.TrustOptions(slack=config.slack), **learns,
    )  # fmt: skip
    evaluated = evaluate.Config(
        env=config.env, policies=[at["clone"], at["refined"]], out=str(out / "evaluation.json"), world=at["world"],
        episodes=config.episodes, card=True, **data, **common,
    )  # fmt: skip
    videos = [
        record.Config(
            env=config.env, policy=at[policy], observation=at["observation"], world=at["world"],
            out=str(out / "videos"), episodes=config.videos, **common,
        )
        for policy in ("clone", "refined")
    ]  # fmt: skip
    stages: dict[str, Callable[[], object]] = {
        "collect": partial(_each, collect.run, scripted),
        "encode": partial(encode.run, encoded),
        "clone": partial(clone.run, cloned),
        "collect_policy": partial(collect.run, own),
        "fit": partial(fit.run, fitted),
        "refine": partial(refine.run, refined),
        "evaluate": partial(evaluate.run, evaluated),
    }
    return stages | ({"record": partial(_each, record.run, videos)} if config.videos else {})


def _each(run: Callable[[Any], object], configs: Sequence[Any]) -> None:
    """Run a recipe under one config after the other."""
    for config in configs:
        run(config)


def _folder(config: Config) -> Path:
    """Return the run folder; without ``out`` it is one that nobody has used."""
    if config.out:
        return Path(config.out)
    names = [f"demo-{config.seed}", *(f"demo-{config.seed}-{i}" for i in range(2, 1000))]
    for name in (Path("runs") / name for name in names):
        if not is_taken(name):
            return name
        if (name / "config.json").exists() and not (name / "summary.json").exists():
            say(f"found {name} unfinished; out={name} goes on with it")
    raise ConfigError("runs must have a free name for this seed, got a thousand that are taken: name one with out=.")


def _told(out: Path) -> Result:
    """Return the table of a finished run, and where its results are; as figures, its summary."""
    from worldrl import checkpoint
    from worldrl.evaluation.report import Report, table

    reports = checkpoint.read_json(out / "evaluation.json")["reports"]
    text = table([Report.from_json(json.dumps(report)) for report in reports])
    text = f"{text}\nresults: {out / 'summary.json'}\nvideos: {out / 'videos'}"
    return Result(text, {"out": out, **checkpoint.read_json(out / "summary.json")})


def _summary(config: Config, out: Path) -> dict[str, Any]:
    """Collect the figures of a run from what its stages wrote."""
    from worldrl import checkpoint
    from worldrl.data.dataset import Dataset

    evaluation = checkpoint.read_json(out / "evaluation.json")
    refined = checkpoint.read_json(out / "refined" / "refinement.json")
    before, after = evaluation["reports"]
    shape = checkpoint.read_json(out / "world" / "model" / "config.json")["obs_shape"]
    return {
        "task": config.env.id,
        "seed": config.seed,
        "masks": before["masks"],
        "observation": f"{'frames' if len(shape) == 3 else 'tokens'} {tuple(shape)}",
        "encoder": before["encoder"],
        "encoder_random_init": config.encoder.random_init and before["encoder"] != "none",
        "episodes": config.episodes,
        "bc_success": before["success"],
        "bc_interval": [before["interval"]["low"], before["interval"]["high"]],
        "refined_success": after["success"],
        "refined_interval": [after["interval"]["low"], after["interval"]["high"]],
        "gain": evaluation["gains"][0],
        "imagined_success": after["imagined_success"],
        "imagined_success_bc": before["imagined_success"],
        "gap": after["gap"],
        "real_steps_collected": Dataset(out / "episodes").num_steps,
        "real_steps_during_refinement": refined["real_steps_during_refinement"],
        "imagined_steps": refined["imagined_steps"],
        "kept_after_steps": refined["kept_after_steps"],
        "world_model_hash_before": refined["world_model_hash_before"],
        "world_model_hash_after": refined["world_model_hash_after"],
        "fidelity": checkpoint.read_json(out / "world" / "fidelity.json"),
        "outcomes": {"bc": before["outcomes"], "refined": after["outcomes"]},
    }
