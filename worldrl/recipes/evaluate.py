"""Measure the success of policies in MuJoCo, on the same held-out episodes, with the imagined figure beside it."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import MISSING

from worldrl.errors import ConfigError
from worldrl.recipes.parts import (
    EnvOptions,
    bar,
    check_positive,
    make_envs,
    need,
    option,
    pipeline_at,
    say,
    seeds_for,
    use_threads,
)


@dataclass
class Config:
    """Options of ``worldrl evaluate``."""

    env: EnvOptions = field(default_factory=EnvOptions)
    policies: list[str] = field(
        default_factory=list, metadata={"help": "folders of policies; differences are to the first"}
    )
    observation: str = option(MISSING, "folder of the observation pipeline")
    out: str = option(MISSING, "file of the results, JSON")
    features: str = option("", "folder of the feature cache; empty for none")
    world: str = option("", "folder of a world, for the imagined figure; empty for none")
    episodes: int = option(100, "held-out episodes, the same for every policy")
    slots: int = option(25, "environments stepped and encoded together")
    seed: int = option(0, "of the run; episode seeds follow from it and are used for nothing else")
    threads: int = option(0, "threads of torch; 0 leaves them alone")

    def check(self) -> None:
        """Refuse options out of range."""
        check_positive(episodes=self.episodes, slots=self.slots)
        if not self.policies:
            raise ConfigError("policies must name at least one folder: policies=[runs/a/clone,runs/a/refined].")


def run(config: Config) -> str:
    """Evaluate, save and return the table."""
    from worldrl import checkpoint
    from worldrl.agents.policy import PolicyActor, load_policy
    from worldrl.data.rollout import roll_out
    from worldrl.evaluation.intervals import paired_difference
    from worldrl.evaluation.report import Report, table

    use_threads(config.threads)
    envs = make_envs(config.env, min(config.slots, config.episodes))
    seeds = seeds_for("evaluation", config.seed, config.episodes)
    cache = Path(config.features) if config.features else None
    reports = []
    with pipeline_at(need(config.observation, "observation pipeline"), cache) as pipeline:
        for path in config.policies:
            policy, origin = load_policy(need(path, "policy"))
            pipeline.require(origin.pipeline, owner=path)
            outcomes = roll_out(
                envs, PolicyActor(policy, pipeline), seeds=seeds, record=False, progress=bar("evaluate")
            )
            reports.append(
                Report.of(
                    task=config.env.id,
                    policy=Path(path).name,
                    masks=pipeline.masks,
                    encoder="none" if pipeline.encoder is None else pipeline.encoder.name,
                    outcomes=[outcome.success for outcome in outcomes],
                    lengths=[outcome.length for outcome in outcomes],
                    seeds=list(seeds),
                    real_steps=origin.real_steps,
                    imagined_steps=origin.imagined_steps,
                    imagined_success=imagine(config.world, policy, config.seed) if config.world else None,
                )
            )
    gains = [
        paired_difference(np.array(report.outcomes), np.array(reports[0].outcomes), seed=config.seed)
        for report in reports[1:]
    ]
    result: dict[str, Any] = {
        "reports": [json.loads(report.to_json()) for report in reports],
        "gains": [{"mean": gain.mean, "low": gain.interval.low, "high": gain.interval.high} for gain in gains],
    }
    Path(config.out).parent.mkdir(parents=True, exist_ok=True)
    checkpoint.write_json(Path(config.out), result)
    for report, gain in zip(reports[1:], gains, strict=True):
        say(
            f"{report.policy} against {reports[0].policy}: {100 * gain.mean:+.0f} points of real success "
            f"[{100 * gain.interval.low:+.0f}, {100 * gain.interval.high:+.0f}], paired over {config.episodes} episodes"
        )
    return table(reports)


def imagine(world_path: str, policy: Any, seed: int) -> float:
    """Return the success of a policy in imagination, from the recorded first observations; a halt is a failure."""
    from worldrl.agents.refinement import try_out
    from worldrl.envs.imagined import ImaginedVectorEnv
    from worldrl.world_model.world import World

    world = World.from_pretrained(need(world_path, "world"))
    env = ImaginedVectorEnv(world.model, world.starts, num_envs=min(128, world.firsts), horizon=world.horizon)
    return try_out(env, policy, seed=seed).success
