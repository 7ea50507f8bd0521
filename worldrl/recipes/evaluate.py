"""Measure the success of policies in MuJoCo, on the same held-out episodes, with the imagined figure beside it."""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import MISSING

from worldrl.errors import ConfigError
from worldrl.facts import tell
from worldrl.recipes.collect import absolute, acting
from worldrl.recipes.measurement import IMAGINED, held_out, imagine, save, success_told
from worldrl.recipes.options import ClusterOptions, EnvOptions, check_cluster, check_positive, option
from worldrl.recipes.parts import need, use_threads
from worldrl.recipes.results import Result
from worldrl.recipes.telling import say


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
    card: bool = option(False, "whether the model cards of the policies tell these figures")
    slots: int = option(25, "environments stepped and encoded together")
    cluster: ClusterOptions = field(default_factory=ClusterOptions)
    seed: int = option(0, "of the run; episode seeds follow from it and are used for nothing else")
    threads: int = option(0, "threads of torch; 0 leaves them alone")

    def check(self) -> None:
        """Refuse options out of range."""
        check_positive(episodes=self.episodes, slots=self.slots)
        check_cluster(self.cluster)
        if not self.policies:
            raise ConfigError("policies must name at least one folder: policies=[runs/a/clone,runs/a/refined].")


def run(config: Config) -> Result:
    """Evaluate, save and return the table."""
    from worldrl import checkpoint
    from worldrl.agents.policy import PolicyActor, load_policy
    from worldrl.evaluation.report import table
    from worldrl.world_model.world import World

    use_threads(config.threads)
    reports, cluster = [], config.cluster.cluster()
    with held_out(
        config.env, episodes=config.episodes, slots=config.slots if cluster is None else 0, seed=config.seed,
        observation=config.observation, features=config.features,
    ) as trials:  # fmt: skip
        for path in config.policies:
            policy, origin = load_policy(need(path, "policy"))
            trials.pipeline.require(origin.pipeline, owner=path)
            if cluster is None:
                outcomes = trials.play(PolicyActor(policy, trials.pipeline))
            else:
                outcomes = trials.play_on(
                    cluster, partial(acting, *absolute(path, config.observation), explore=False, drift=0.0)
                )
            imagined = None
            if config.world:
                world = World.from_pretrained(need(config.world, "world"))
                imagined = imagine(world, policy, episodes=IMAGINED, seed=config.seed)
            reports.append(trials.report(outcomes, name=Path(path).name, origin=origin, imagined_success=imagined))
    gains = save(reports, Path(config.out), seed=config.seed)
    for path, report in zip(config.policies if config.card else [], reports, strict=False):
        _tell(Path(path), report)
    for report, gain in zip(reports[1:], gains, strict=True):
        say(
            f"{report.policy} against {reports[0].policy}: {100 * gain.mean:+.0f} points of real success "
            f"[{100 * gain.interval.low:+.0f}, {100 * gain.interval.high:+.0f}], paired over {config.episodes} episodes"
        )
    return Result(table(reports), checkpoint.read_json(Path(config.out)) | {"out": config.out})


def _tell(path: Path, report: Any) -> None:
    """Put the figures of a report into the model card of its policy."""
    success = success_told(report.success, report.interval.low, report.interval.high, episodes=report.episodes)
    facts = {"task": report.task, "masks": report.masks, "encoder": report.encoder, "real_success": success}
    tell(path, **facts | ({} if report.imagined_success is None else {"imagined_success": report.imagined_success}))
