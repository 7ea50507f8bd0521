"""Run an experiment of this project as a grid that goes on where it stopped, and write its report."""

from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

from omegaconf import MISSING

from worldrl.errors import ConfigError
from worldrl.recipes.options import ClusterOptions, check_cluster, check_positive, option
from worldrl.recipes.telling import say

EXPERIMENTS = ("objects",)
"""Each is a package of this one with ``grid.cells``, ``jobs.plan`` and ``report.write``."""


@dataclass
class Config:
    """Options of ``worldrl experiment``."""

    name: str = option(MISSING, f"which: {', '.join(EXPERIMENTS)}")
    studies: list[str] = field(default_factory=list, metadata={"help": "which of its studies are run; empty for all"})
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2], metadata={"help": "seeds of every cell"})
    out: str = option("", "run folder, which a later run goes on in; empty for runs/<name>")
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
        check_positive(job_minutes=self.job_minutes)
        check_cluster(self.cluster)


def run(config: Config) -> str:
    """Run what is not done yet, then write the report of all that is."""
    from worldrl.recipes import records
    from worldrl.recipes.runner import run_left

    grid, jobs, report = (import_module(f"worldrl.recipes.{config.name}.{part}") for part in ("grid", "jobs", "report"))
    out, results = Path(config.out or f"runs/{config.name}"), Path(config.results)
    records.restore(out, results / config.name)
    wanted = [cell for cell in grid.cells(config.seeds) if not config.studies or cell.study in config.studies]
    if not wanted:
        raise ConfigError(f"studies must be among those of {config.name}, got {', '.join(config.studies)}.")
    failed = run_left(
        jobs.plan(out, wanted), say, workers=config.workers, minutes=config.minutes, job_minutes=config.job_minutes,
        dry=config.dry, cluster=config.cluster.cluster(),
    )  # fmt: skip
    if failed:
        say(f"{len(failed)} jobs failed; their folders hold log.txt and failed.json, and a new run tries them again")
    records.keep(out, results / config.name, [cell.name for cell in grid.cells(config.seeds)])
    text: str = report.write(out, results, seeds=config.seeds)
    return text
