"""Measure planning in a world, in MuJoCo and on the episodes of ``worldrl evaluate``: the baseline of refinement."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import MISSING

from worldrl.errors import ConfigError
from worldrl.recipes.measurement import held_out, imagine, save
from worldrl.recipes.options import EnvOptions, check_positive, option
from worldrl.recipes.parts import need, use_threads
from worldrl.recipes.results import Result


@dataclass
class Config:
    """Options of ``worldrl plan``."""

    env: EnvOptions = field(default_factory=EnvOptions)
    world: str = option(MISSING, "folder of the world to plan in")
    observation: str = option(MISSING, "folder of the observation pipeline")
    out: str = option(MISSING, "file of the results, JSON")
    features: str = option("", "folder of the feature cache; empty for none")
    policy: str = option("", "folder of a policy that proposes actions; empty for none")
    method: str = option("cem", "cem (cross-entropy method) or mppi (path integrals)")
    horizon: int = option(8, "steps planned ahead")
    samples: int = option(96, "candidates in each iteration")
    iterations: int = option(3, "how often candidates are drawn for one action")
    episodes: int = option(20, "held-out episodes, the first of those of worldrl evaluate")
    imagined: int = option(0, "episodes to plan in imagination too, for the imagined figure; 0 for none")
    slots: int = option(20, "environments stepped, encoded and planned together")
    seed: int = option(0, "of the run; episode seeds follow from it")
    threads: int = option(0, "threads of torch; 0 leaves them alone")

    def check(self) -> None:
        """Refuse options out of range."""
        from worldrl.agents.planning import check_search

        check_positive(horizon=self.horizon, iterations=self.iterations, episodes=self.episodes, slots=self.slots)
        check_search(method=self.method, samples=self.samples)
        if self.imagined < 0:
            raise ConfigError(f"imagined must be 0 or more, got {self.imagined}.")


def run(config: Config) -> Result:
    """Plan in every step of every episode, save and return the table."""
    from worldrl import checkpoint
    from worldrl.agents.planning import Planner
    from worldrl.agents.planning_policy import PlanningActor, PlanningPolicy
    from worldrl.agents.policy import Origin
    from worldrl.evaluation.report import table
    from worldrl.world_model.world import World

    use_threads(config.threads)
    world = World.from_pretrained(need(config.world, "world"))
    with held_out(
        config.env, episodes=config.episodes, slots=config.slots, seed=config.seed,
        observation=config.observation, features=config.features,
    ) as trials:  # fmt: skip
        trials.pipeline.require(world.model.pipeline, owner=config.world)
        proposal, origin = _proposal(config, trials.pipeline)
        planner = Planner(
            world.model, method=config.method, horizon=config.horizon, samples=config.samples,
            iterations=config.iterations, proposal=proposal, seed=config.seed,
        )  # fmt: skip
        policy = PlanningPolicy(planner)
        outcomes = trials.play(PlanningActor(policy, trials.pipeline))
        imagined_steps = origin.imagined_steps + planner.imagined_steps
        made = Origin(origin.pipeline, max(origin.real_steps, world.real_steps), imagined_steps)
        imagined = imagine(world, policy, episodes=config.imagined, seed=config.seed) if config.imagined else None
        name = f"{config.method} from {Path(config.policy).name}" if config.policy else config.method
        report = trials.report(outcomes, name=name, origin=made, imagined_success=imagined)
    save([report], Path(config.out), seed=config.seed)
    return Result(table([report]), {"out": config.out} | checkpoint.read_json(Path(config.out)))


def _proposal(config: Config, pipeline: Any) -> tuple[Any, Any]:
    """Return the mean of the proposing policy, None if there is none, and what it was made from."""
    from worldrl.agents.policy import GaussianPolicy, Origin, load_policy

    if not config.policy:
        return None, Origin(pipeline.hash)
    policy, origin = load_policy(need(config.policy, "policy"))
    pipeline.require(origin.pipeline, owner=config.policy)
    if not isinstance(policy, GaussianPolicy):
        raise ConfigError(f"policy must be one that was cloned or refined, got a {type(policy).__name__}.")
    return policy.mean, origin
