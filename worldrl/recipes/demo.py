"""The main job, end to end: from demonstrations to a better policy, without a GPU."""

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from worldrl.errors import ConfigError
from worldrl.recipes import clone, collect, encode, evaluate, fit, record, refine
from worldrl.recipes.options import (
    EncoderOptions,
    EnvOptions,
    ObjectOptions,
    WorldModelOptions,
    check_env_id,
    check_observation,
    check_positive,
    check_tensorboard,
    check_threads,
    check_world_model,
    option,
)
from worldrl.recipes.parts import use_threads, versions
from worldrl.recipes.results import Result
from worldrl.recipes.telling import say


@dataclass
class Config:
    """Options of ``worldrl demo``."""

    env: EnvOptions = field(default_factory=EnvOptions)
    encoder: EncoderOptions = field(default_factory=EncoderOptions)
    objects: ObjectOptions = field(default_factory=ObjectOptions)
    world_model: WorldModelOptions = field(default_factory=WorldModelOptions)
    pixels: int = option(0, "observe frames of this many pixels a side instead of tokens; 0 for tokens")
    out: str = option("", "run folder, must not exist; empty for runs/demo-<seed>, or the next free name")
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
    seed: int = option(0, "of everything")
    threads: int = option(0, "threads of torch; 0 for as many as there are cores")

    def check(self) -> None:
        """Refuse options out of range."""
        check_positive(
            demonstrations=self.demonstrations, rollouts=self.rollouts, episodes=self.episodes,
            imagined_steps=self.imagined_steps, clone_steps=self.clone_steps, fit_steps=self.fit_steps,
            success_steps=self.success_steps,
        )  # fmt: skip
        check_env_id(self.env.id)
        check_tensorboard(self.tensorboard)
        check_threads(self.threads)
        check_world_model(self.world_model, pixels=self.pixels)
        check_observation(self.encoder, self.objects, self.pixels, size=self.env.kwargs.get("size"))


def run(config: Config) -> Result:
    """Run every stage in a folder of its own and return the table."""
    from worldrl import checkpoint
    from worldrl.evaluation.memory import Stopwatch, peak_memory_gb

    use_threads(config.threads or len(os.sched_getaffinity(0)))
    out = _folder(config)
    checkpoint.write_json(out / "config.json", asdict(config))
    at = {name: str(out / name) for name in ("episodes", "observation", "features", "clone", "world", "refined")}
    data: dict[str, Any] = {"observation": at["observation"], "features": at["features"]}
    common: dict[str, Any] = {"seed": config.seed}
    watch = Stopwatch()
    with watch.stage("collect"):
        for who, count in (("noisy_expert", config.demonstrations), ("random", config.random)):
            collect.run(
                collect.Config(
                    env=config.env, out=at["episodes"], policy=who, episodes=count, noise=config.noise, **common
                )
            )
    with watch.stage("encode"):
        encode.run(
            encode.Config(
                episodes=at["episodes"], out=at["observation"], features=at["features"],
                encoder=config.encoder, objects=config.objects, pixels=config.pixels, **common,
            )
        )  # fmt: skip
    with watch.stage("clone"):
        clone.run(
            clone.Config(
                episodes=at["episodes"], out=at["clone"], steps=config.clone_steps, tensorboard=config.tensorboard,
                **data, **common,
            )
        )  # fmt: skip
    with watch.stage("collect_policy"):
        collect.run(
            collect.Config(
                env=config.env, out=at["episodes"], policy=at["clone"], episodes=config.rollouts, **data, **common
            )
        )
    with watch.stage("fit"):
        fit.run(
            fit.Config(
                episodes=at["episodes"], out=at["world"], world_model=config.world_model, steps=config.fit_steps,
                success_steps=config.success_steps, decoder_steps=config.decoder_steps,
                tensorboard=config.tensorboard, **data, **common,
            )
        )  # fmt: skip
    with watch.stage("refine"):
        refined = refine.run(
            refine.Config(
                world=at["world"], policy=at["clone"], out=at["refined"], steps=config.imagined_steps,
                anchor=config.anchor, trust=refine.TrustOptions(slack=config.slack), tensorboard=config.tensorboard,
                **common,
            )
        )  # fmt: skip
    with watch.stage("evaluate"):
        table = evaluate.run(
            evaluate.Config(
                env=config.env, policies=[at["clone"], at["refined"]], out=str(out / "evaluation.json"),
                world=at["world"], episodes=config.episodes, card=True, **data, **common,
            )
        )  # fmt: skip
    if config.videos:
        with watch.stage("record"):
            for policy in ("clone", "refined"):
                record.run(
                    record.Config(
                        env=config.env, policy=at[policy], observation=at["observation"], world=at["world"],
                        out=str(out / "videos"), episodes=config.videos, **common,
                    )
                )  # fmt: skip
    summary = _summary(config, out, refined) | {
        "seconds_total": round(sum(watch.seconds_by_stage.values()), 1),
        "seconds_by_stage": {name: round(seconds, 1) for name, seconds in watch.seconds_by_stage.items()},
        "peak_memory_gb": round(peak_memory_gb(), 2),
        "versions": versions(),
    }
    checkpoint.write_json(out / "summary.json", summary)
    say(f"{summary['seconds_total']:.0f} s, at most {summary['peak_memory_gb']} GB")
    text = f"{table}\nresults: {out / 'summary.json'}\nvideos: {out / 'videos'}"
    return Result(text, {"out": out, **summary})


def _folder(config: Config) -> Path:
    """Make the run folder; one that exists is never written into."""
    if config.out:
        if Path(config.out).exists():
            raise ConfigError(f"out must be a new folder, got '{config.out}': name another.")
        out = Path(config.out)
    else:
        names = [f"demo-{config.seed}", *(f"demo-{config.seed}-{i}" for i in range(2, 1000))]
        out = next(Path("runs") / name for name in names if not (Path("runs") / name).exists())
    out.mkdir(parents=True)
    return out


def _summary(config: Config, out: Path, refined: dict[str, Any]) -> dict[str, Any]:
    """Collect the figures of a run from what its stages wrote."""
    from worldrl import checkpoint
    from worldrl.data.dataset import Dataset

    evaluation = checkpoint.read_json(out / "evaluation.json")
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
