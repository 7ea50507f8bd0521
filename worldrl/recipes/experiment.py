"""Run an experiment of this project as a grid that goes on where it stopped, and write its report."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import MISSING

from worldrl.errors import ConfigError
from worldrl.recipes.options import ClusterOptions, check_cluster, check_positive, option
from worldrl.recipes.results import Result
from worldrl.recipes.studies import STUDIES
from worldrl.recipes.studies.stock import PoolOptions
from worldrl.recipes.telling import say

EXPERIMENTS = ("objects", *STUDIES)


@dataclass
class Config:
    """Options of ``worldrl experiment``."""

    name: str = option(MISSING, f"which: {', '.join(EXPERIMENTS)}")
    only: list[str] = field(default_factory=list, metadata={"help": "which of its arms are run; empty for all"})
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2], metadata={"help": "seeds of every cell"})
    options: dict[str, Any] = field(
        default_factory=dict,
        metadata={"help": "options of the experiment in every arm instead of its YAML's, e.g. +options.steps=50"},
    )
    out: str = option("", "run folder, which a later run goes on in; empty for runs/<name>")
    shared: str = option("runs/shared", "folder of what experiments share: labelled scenes, features, towers")
    pool: PoolOptions = field(default_factory=PoolOptions)
    results: str = option("docs/results", "folder of the report")
    workers: int = option(0, "jobs at a time; 0 for one a core")
    minutes: float = option(0.0, "no job is begun after so long; 0 for no limit")
    job_minutes: float = option(60.0, "a job that takes longer has failed")
    cluster: ClusterOptions = field(default_factory=ClusterOptions)
    dry: bool = option(False, "only say what would be run, and rewrite the report of what there is")

    def check(self) -> None:
        """Refuse options out of range."""
        if self.name not in EXPERIMENTS:
            raise ConfigError(f"name must be one of {', '.join(EXPERIMENTS)}, got '{self.name}'.")
        if not self.seeds:
            raise ConfigError("seeds must name at least one.")
        if self.options and self.name == "objects":
            raise ConfigError("options must be empty for objects: its cells are command lines of other verbs.")
        pool = self.pool
        check_positive(job_minutes=self.job_minutes, train=pool.train, test=pool.test, shift=pool.shift)
        if pool.size % 112 or pool.size <= 0:
            raise ConfigError(f"pool.size must be a multiple of 112, which all encoders can read, got {pool.size}.")
        check_cluster(self.cluster)


@dataclass(frozen=True)
class _Experiment:
    """The cells of an experiment, the jobs that some of them are, and what writes its report."""

    cells: Sequence[Any]
    plan: Callable[[list[Any]], list[Any]]
    write: Callable[[], str]


def run(config: Config) -> Result:
    """Run what is not done yet, then write the report of all that is."""
    from worldrl import checkpoint
    from worldrl.recipes import records
    from worldrl.recipes.runner import run_left

    out, results = Path(config.out or f"runs/{config.name}"), Path(config.results)
    records.restore(out, results / config.name)
    experiment = (_objects if config.name == "objects" else _study)(config, out, results)
    wanted = [cell for cell in experiment.cells if not config.only or cell.study in config.only]
    if not wanted:
        raise ConfigError(f"only must be among those of {config.name}, got {', '.join(config.only)}.")
    failed = run_left(
        experiment.plan(wanted), say, workers=config.workers, minutes=config.minutes, job_minutes=config.job_minutes,
        dry=config.dry, cluster=config.cluster.cluster(),
    )  # fmt: skip
    if failed:
        say(f"{len(failed)} jobs failed; their folders hold log.txt and failed.json, and a new run tries them again")
    records.keep(out, results / config.name, [cell.name for cell in experiment.cells])
    text, file = experiment.write(), results / f"{config.name}.json"
    told = {"out": out, "results": file, "failed": [job.folder for job in failed]}
    return Result(text, checkpoint.read_json(file) | told)


def _objects(config: Config, out: Path, results: Path) -> _Experiment:
    """The experiment on objects: its cells are command lines of other verbs."""
    from worldrl.recipes.objects import grid, jobs, report

    return _Experiment(
        list(grid.cells(config.seeds)),
        lambda wanted: jobs.plan(out, wanted),
        lambda: report.write(out, results, seeds=config.seeds),
    )


def _study(config: Config, out: Path, results: Path) -> _Experiment:
    """A study of what frozen features see and name."""
    from worldrl.recipes.studies import grid, report

    study, shared = grid.read_study(config.name), Path(config.shared)
    cells = list(grid.cells(study, config.seeds, config.options))
    grid.point(out, shared)

    def plan(wanted: list[Any]) -> list[Any]:
        return grid.plan(out, shared, study, wanted, config.pool)

    def write() -> str:
        done = {job.folder.name for job in plan(cells) if job.kind == "cell" and job.is_done()}
        return report.write(out, results, study, cells, done)

    return _Experiment(cells, plan, write)
