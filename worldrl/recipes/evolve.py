"""Let policy and world model improve each other, at the price of a stated number of real episodes."""

import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from omegaconf import MISSING

from worldrl.errors import ConfigError
from worldrl.recipes import collect
from worldrl.recipes.fit import Config as FitConfig
from worldrl.recipes.fit import run as fit_world
from worldrl.recipes.options import (
    EnvOptions,
    WorldModelOptions,
    check_env_id,
    check_positive,
    check_world_model,
    option,
)
from worldrl.recipes.parts import need
from worldrl.recipes.refine import Config as RefineConfig
from worldrl.recipes.refine import run as refine_policy
from worldrl.recipes.telling import say

TOLD: dict[str, dict[str, Any]] = {
    "fit": dict.fromkeys(("episodes", "observation", "features", "out"), "")
    | {"world_model": WorldModelOptions(), "seed": 0},
    "refine": dict.fromkeys(("world", "policy", "recorded", "out"), "") | {"seed": 0},
}
"""Options of a round's stages that follow from those of the whole, and what stands there until then."""


@dataclass
class Config:
    """Options of ``worldrl evolve``."""

    env: EnvOptions = field(default_factory=EnvOptions)
    episodes: str = option(MISSING, "folder of the data set to begin with; it is copied, not added to")
    observation: str = option(MISSING, "folder of the observation pipeline")
    policy: str = option(MISSING, "folder of the policy to begin with")
    recorded: str = option("", "folder of the policy that was recorded, where that is another one")
    out: str = option(MISSING, "folder of the run, must not exist: data, worlds and policies of every round")
    features: str = option("", "folder of the feature cache; empty for none")
    rounds: int = option(2, "refinements; between two of them real episodes are recorded")
    budget: int = option(20, "real episodes recorded between two refinements")
    beyond: int = option(0, "decisions that recording goes on after a success, where the environment lets it")
    world_model: WorldModelOptions = field(default_factory=WorldModelOptions)
    fit: FitConfig = field(default_factory=lambda: FitConfig(decoder_steps=0, **TOLD["fit"]))
    refine: RefineConfig = field(default_factory=lambda: RefineConfig(**TOLD["refine"]))
    seed: int = option(0, "of everything")

    def check(self) -> None:
        """Refuse options out of range."""
        check_positive(rounds=self.rounds, budget=self.budget)
        check_env_id(self.env.id)
        check_world_model(self.world_model, pixels=None)
        for stage, told in TOLD.items():
            options = getattr(self, stage)
            given = [f"{stage}.{name}" for name, value in told.items() if getattr(options, name) != value]
            if given:
                raise ConfigError(f"{', '.join(given)} follow from the options of evolve: leave them out.")
            options.check()


def run(config: Config) -> dict[str, Any]:
    """Fit, refine, record with what came out, and begin again; say how many real steps each round has cost."""
    from worldrl import checkpoint
    from worldrl.data.dataset import Dataset

    out, policy = Path(config.out), str(need(config.policy, "policy"))
    if out.exists():
        raise ConfigError(f"out must be a new folder, got '{config.out}': name another.")
    shutil.copytree(need(config.episodes, "data set"), out / "episodes")
    begun = Dataset(out / "episodes").num_steps
    rounds = []
    for number in range(config.rounds):
        if number > 0:
            _record(config, policy, number)
        world, refined = str(out / f"world-{number}"), str(out / f"policy-{number}")
        fit_world(
            replace(
                config.fit, episodes=str(out / "episodes"), observation=config.observation, features=config.features,
                out=world, world_model=config.world_model, seed=config.seed,
            )
        )  # fmt: skip
        recorded = config.recorded or config.policy
        result = refine_policy(
            replace(config.refine, world=world, policy=policy, recorded=recorded, out=refined, seed=config.seed)
        )
        policy, spent = refined, Dataset(out / "episodes").num_steps - begun
        rounds.append({"policy": refined, "imagined_success": result["imagined_success"], "real_steps": spent})
        say(f"round {number + 1} of {config.rounds}: {refined}, {spent} real steps beyond the first data")
    summary = {"rounds": rounds, "real_steps_at_first": begun, "real_steps": rounds[-1]["real_steps"]}
    checkpoint.write_json(out / "evolution.json", summary)
    return summary


def _record(config: Config, policy: str, number: int) -> None:
    """Record the current policy on start states that nobody has seen."""
    from worldrl.data.dataset import Dataset

    seen = len(Dataset(Path(config.out) / "episodes").select(policy="policy"))
    collect.run(
        collect.Config(
            env=config.env, out=str(Path(config.out) / "episodes"), policy=policy, observation=config.observation,
            features=config.features, episodes=config.budget, beyond=config.beyond, seed=config.seed, skip=seen,
            slots=min(4, config.budget),
        )
    )  # fmt: skip
