"""Reproduce a published experiment as a grid that continues where it stopped."""

import shlex
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from worldrl.errors import ConfigError
from worldrl.recipes.config import changes
from worldrl.recipes.options import (
    ClusterOptions,
    EncoderOptions,
    ObjectOptions,
    WorldModelOptions,
    check_cluster,
    check_observation,
    check_positive,
    check_world_model,
    option,
)
from worldrl.recipes.results import Result
from worldrl.recipes.telling import say
from worldrl.recipes.world4rl.grid import METHODS, TASKS, cells

EXPERIMENTS = ("world4rl",)
HERE = ("out", "results", "workers", "minutes", "job_minutes", "cluster", "dry")
"""Options that say where and how long to run."""
LOCAL = ("experiment", "seeds", "tier", *HERE)
"""Options that say what to run and where, and change no result."""


@dataclass
class Config:
    """Options of ``worldrl reproduce``."""

    experiment: str = option("world4rl", "which experiment: world4rl")
    tier: int = option(
        1, "1: bc, world4rl, ours; 2: offline baselines too; 3: ablations, rounds with real episodes and planning too"
    )
    tasks: list[str] = field(default_factory=lambda: list(TASKS), metadata={"help": "Meta-World tasks"})
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2], metadata={"help": "training seeds"})
    out: str = option("runs/world4rl", "folder with a run folder for each job")
    results: str = option("docs/results", "folder of the tables, plots and world4rl.json")
    demonstrations: int = option(8, "episodes of the expert")
    rollouts: int = option(150, "episodes of the cloned policy")
    drifting: float = option(0.5, "share of these whose noise lasts, so that they show what another policy would do")
    drift: float = option(0.2, "standard deviation of that noise")
    random: int = option(30, "episodes of random play")
    beyond: int = option(10, "decisions that recording goes on after a success")
    env_kwargs: dict[str, Any] = field(
        default_factory=lambda: {
            "size": 126, "max_steps": 50, "action_repeat": 3, "terminate": False, "drawing": False,
        },
        metadata={"help": "arguments of the environments; pictures are drawn where the observation needs them"},
    )  # fmt: skip
    encoder: EncoderOptions = field(default_factory=lambda: EncoderOptions(name="none"))
    objects: ObjectOptions = field(default_factory=lambda: ObjectOptions(slots=5))
    pixels: int = option(0, "observe frames of this many pixels a side instead of tokens; 0 for tokens")
    world_model: WorldModelOptions = field(
        default_factory=lambda: WorldModelOptions(backbone="flat", action_code="linear")
    )
    clone_steps: int = option(1500, "gradient steps of cloning")
    price: float = option(0.8, "price of an object that the policy looks at")
    proprio: int = option(4, "how many numbers of proprioception a policy is shown: position and opening, no motion")
    sigma: float = option(0.15, "standard deviation of the cloned policy's actions")
    fit_steps: int = option(6000, "gradient steps of the dynamics of all tasks")
    batch_size: int = option(512, "transitions a step, of all tasks")
    own_fit_steps: int = option(4000, "gradient steps of the dynamics of one task")
    own_batch_size: int = option(256, "transitions a step, of one task")
    push: float = option(0.6, "share of the transitions whose past ends in imagined observations")
    reach: int = option(8, "how many of these at most, one after the other")
    blur: float = option(0.2, "highest noise on the past, in units of its change in a step")
    success_steps: int = option(2500, "gradient steps of each success classifier")
    success_price: float = option(0.03, "price of an object that a success classifier looks at")
    imagined_steps: int = option(120_000, "imagined steps of a refinement, at most")
    episodes: int = option(100, "held-out episodes a cell, the same start states for every method")
    workers: int = option(0, "jobs side by side; 0 for as many as there are cores")
    minutes: float = option(0.0, "after how long no new job is begun; 0 for no limit")
    job_minutes: float = option(60.0, "how long one job may take")
    cluster: ClusterOptions = field(default_factory=ClusterOptions)
    dry: bool = option(False, "only say what would be run, and rewrite the report of what there is")

    def check(self) -> None:
        """Refuse options out of range."""
        if self.experiment not in EXPERIMENTS:
            raise ConfigError(f"experiment must be one of {', '.join(EXPERIMENTS)}, got '{self.experiment}'.")
        if self.tier not in METHODS:
            raise ConfigError(f"tier must be one of {', '.join(map(str, METHODS))}, got {self.tier}.")
        if not self.tasks or not self.seeds:
            raise ConfigError("tasks and seeds must each name at least one.")
        check_positive(
            demonstrations=self.demonstrations, rollouts=self.rollouts, random=self.random, episodes=self.episodes,
            imagined_steps=self.imagined_steps, fit_steps=self.fit_steps, batch_size=self.batch_size,
            own_fit_steps=self.own_fit_steps, own_batch_size=self.own_batch_size, success_steps=self.success_steps,
            clone_steps=self.clone_steps, job_minutes=self.job_minutes,
        )  # fmt: skip
        check_cluster(self.cluster)
        check_world_model(self.world_model, pixels=self.pixels)
        check_observation(self.encoder, self.objects, self.pixels, size=self.env_kwargs.get("size"))
        if self.env_kwargs.get("drawing") is False and (self.pixels or self.encoder.name != "none"):
            raise ConfigError("env_kwargs.drawing must be true where pictures are observed, got false.")


def run(config: Config) -> Result:
    """Run what is not done yet, then write tables, plots and JSON of all that is."""
    from worldrl import checkpoint
    from worldrl.recipes import records
    from worldrl.recipes.runner import run_left
    from worldrl.recipes.world4rl import report
    from worldrl.recipes.world4rl.jobs import plan

    _check_metaworld()
    wanted = list(cells(tasks=config.tasks, seeds=config.seeds, tier=config.tier))
    settings = identity(config)
    out, results = Path(config.out), Path(config.results)
    records.restore(out, results / config.experiment)
    jobs = plan(out, wanted, settings)
    failed = run_left(
        jobs, say, workers=config.workers, minutes=config.minutes, job_minutes=config.job_minutes, dry=config.dry,
        cluster=config.cluster.cluster(),
    )  # fmt: skip
    words = changes(config, leave=("experiment", "tier", *HERE))
    command = shlex.join(["worldrl", "reproduce", config.experiment, f"tier={config.tier}", *words])
    every = list(cells(tasks=config.tasks, seeds=config.seeds, tier=max(METHODS)))
    done = {job.folder.name for job in plan(out, every, settings) if job.is_done()}
    told = [cell for cell in every if cell in wanted or cell.name in done]
    records.keep(out, results / config.experiment, [cell.name for cell in told])
    text = report.write(out, told, results, done=done, made_by=command)
    if failed:
        text += (
            f"\n{len(failed)} jobs failed; their folders hold log.txt and failed.json, and a new run tries them again."
        )
    file = results / f"{config.experiment}.json"
    figures = {"out": out, "results": file, "failed": [job.folder for job in failed], "command": command}
    return Result(text, checkpoint.read_json(file) | figures)


def identity(config: Config) -> dict[str, Any]:
    """Return the options that change results, by which a job that is done is known again; what is not used is none."""
    settings = {name: value for name, value in asdict(config).items() if name not in LOCAL}
    for name in ("keep", "merge"):
        if not settings["encoder"][name]:
            del settings["encoder"][name]
    for name in ("annotations", "names"):
        if not settings["objects"][name]:
            del settings["objects"][name]
    if config.world_model.sampler == "euler":
        del settings["world_model"]["sampler"]
    if not config.objects.visual:
        del settings["objects"]["visual"], settings["objects"]["visual_steps"]
    return settings


def _check_metaworld() -> None:
    """Refuse to begin without Meta-World.

    Raises:
        ConfigError: If it is not installed.
    """
    from importlib.util import find_spec

    if find_spec("metaworld") is None:
        raise ConfigError('Meta-World tasks need metaworld: pip install "worldrl[metaworld]".')
