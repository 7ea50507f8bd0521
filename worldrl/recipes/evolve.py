"""Let policy and world model improve each other, at the price of a stated number of real episodes."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import MISSING

from worldrl.errors import ConfigError
from worldrl.recipes import collect, fit, refine
from worldrl.recipes.parts import (
    EnvOptions,
    WorldModelOptions,
    check_env_id,
    check_positive,
    check_world_model,
    need,
    option,
    say,
)


@dataclass
class Config:
    """Options of ``worldrl evolve``."""

    env: EnvOptions = field(default_factory=EnvOptions)
    episodes: str = option(MISSING, "folder of the data set to begin with; it is copied, not added to")
    observation: str = option(MISSING, "folder of the observation pipeline")
    policy: str = option(MISSING, "folder of the policy to begin with")
    out: str = option(MISSING, "folder of the run, must not exist: data, worlds and policies of every round")
    features: str = option("", "folder of the feature cache; empty for none")
    rounds: int = option(2, "refinements; between two of them real episodes are recorded")
    budget: int = option(20, "real episodes recorded between two refinements")
    beyond: int = option(0, "decisions that recording goes on after a success, where the environment lets it")
    world_model: WorldModelOptions = field(default_factory=WorldModelOptions)
    fit_steps: int = option(1800, "gradient steps of the dynamics in each round")
    success_steps: int = option(2500, "gradient steps of the success classifier in each round")
    imagined_steps: int = option(320_000, "imagined steps of each refinement, at most")
    anchor: float = option(0.02, "weight of the divergence from the policy that a round begins with")
    lr: float = option(1e-3, "learning rate of refinement")
    seed: int = option(0, "of everything")

    def check(self) -> None:
        """Refuse options out of range."""
        check_positive(
            rounds=self.rounds, budget=self.budget, fit_steps=self.fit_steps, success_steps=self.success_steps,
            imagined_steps=self.imagined_steps, lr=self.lr,
        )  # fmt: skip
        check_env_id(self.env.id)
        check_world_model(self.world_model)


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
        fit.run(
            fit.Config(
                episodes=str(out / "episodes"), observation=config.observation, features=config.features, out=world,
                world_model=config.world_model, steps=config.fit_steps, success_steps=config.success_steps,
                decoder_steps=0, seed=config.seed,
            )
        )  # fmt: skip
        result = refine.run(
            refine.Config(
                world=world, policy=policy, out=refined, steps=config.imagined_steps, anchor=config.anchor,
                lr=config.lr, seed=config.seed,
            )
        )  # fmt: skip
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
