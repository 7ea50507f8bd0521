"""Let policy and world model improve each other, at the price of a stated number of real episodes.

A run that was stopped goes on when it is called again with its folder, as ``worldrl demo`` does.
"""

import shutil
from dataclasses import dataclass, field, replace
from functools import partial
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
from worldrl.recipes.results import Result
from worldrl.recipes.stages import run_at
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
    out: str = option(MISSING, "folder of the run, new or to go on with: data, worlds and policies of every round")
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


def run(config: Config) -> Result:
    """Fit, refine, record with what came out, and begin again; say how many real steps each round has cost."""
    from worldrl import checkpoint
    from worldrl.data.dataset import Dataset

    out, policy, rounds = Path(config.out), str(need(config.policy, "policy")), []
    with run_at(out, config) as part:
        part.stage("copy", partial(_copy, config, out))
        first = checkpoint.read_json(out / "first.json")
        for number in range(config.rounds):
            if number > 0:
                part.stage(f"record-{number}", partial(_record, config, policy, number, first["policy"]))
            world, refined = str(out / f"world-{number}"), str(out / f"policy-{number}")
            fitted = replace(
                config.fit, episodes=str(out / "episodes"), observation=config.observation, features=config.features,
                out=world, world_model=config.world_model, seed=config.seed,
            )  # fmt: skip
            part.stage(f"fit-{number}", partial(fit_world, fitted))
            recorded = config.recorded or config.policy
            better = replace(
                config.refine, world=world, policy=policy, recorded=recorded, out=refined, seed=config.seed
            )
            part.stage(f"refine-{number}", partial(refine_policy, better))
            result, begun = checkpoint.read_json(Path(refined) / "refinement.json"), first["episodes"]
            new = Dataset(out / "episodes").lengths[begun : begun + number * config.budget]
            policy, spent = refined, int(new.sum())
            rounds.append({"policy": refined, "imagined_success": result["imagined_success"], "real_steps": spent})
            say(f"round {number + 1} of {config.rounds}: {refined}, {spent} real steps beyond the first data")
        summary = {"rounds": rounds, "real_steps_at_first": first["steps"], "real_steps": rounds[-1]["real_steps"]}
        checkpoint.write_json(out / "evolution.json", summary)
    return Result("", {"out": out} | summary)


def _copy(config: Config, out: Path) -> None:
    """Copy the data to begin with, whole or not at all, and note how much it is."""
    from worldrl import checkpoint
    from worldrl.data.dataset import Dataset

    def write(folder: Path) -> None:
        shutil.copytree(need(config.episodes, "data set"), folder, dirs_exist_ok=True)

    checkpoint.commit(out / "episodes", write)
    data = Dataset(out / "episodes")
    first = {"episodes": len(data), "steps": data.num_steps, "policy": data.policies.count("policy")}
    checkpoint.write_json(out / "first.json", first)


def _record(config: Config, policy: str, number: int, seen: int) -> None:
    """Record the current policy on start states that nobody has seen, after the ``seen`` of the first data."""
    collect.run(
        collect.Config(
            env=config.env, out=str(Path(config.out) / "episodes"), policy=policy, observation=config.observation,
            features=config.features, episodes=config.budget, beyond=config.beyond, seed=config.seed,
            skip=seen + (number - 1) * config.budget, slots=min(4, config.budget), missing=True,
        )
    )  # fmt: skip
