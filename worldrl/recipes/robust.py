"""Measure what an agent of ``worldrl train`` is worth where objects are missing, swapped or partly unread."""

from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any

from omegaconf import MISSING

from worldrl.errors import ConfigError
from worldrl.recipes import train, training
from worldrl.recipes.options import check_positive, option
from worldrl.recipes.parts import make_env, need, pipeline_at, use_threads
from worldrl.recipes.results import Result
from worldrl.recipes.table import markdown


@dataclass
class Config:
    """Options of ``worldrl robust``."""

    run: str = option(MISSING, "run folder of worldrl train")
    out: str = option("", "file of the results, JSON; empty for robust.json in the run folder")
    shares: list[float] = field(
        default_factory=lambda: [0.1, 0.3, 0.5], metadata={"help": "of the numbers of objects that are dropped"}
    )
    episodes: int = option(50, "held-out episodes, the same for every disturbance")
    threads: int = option(1, "threads of torch; 0 leaves them alone")

    def check(self) -> None:
        """Refuse options out of range."""
        check_positive(episodes=self.episodes)


def run(config: Config) -> Result:
    """Evaluate the agent undisturbed and under every disturbance, and return the table."""
    from worldrl import checkpoint
    from worldrl.evaluation.intervals import paired_difference
    from worldrl.objects.disturbed import DisturbedPipeline

    use_threads(config.threads)
    folder = need(config.run, "run")
    trained = options_of(folder)
    rows: list[dict[str, Any]] = []
    cache = Path(trained.features) if trained.features else None
    with pipeline_at(folder / "observation", cache) as pipeline:
        if not pipeline.objects:
            raise ConfigError(f"the agent of '{folder}' sees no objects that could be disturbed: train one that does.")
        parts, env = training.load_parts(folder, pipeline), make_env(trained.env.id, dict(trained.env.kwargs))
        for told, options in disturbances(pipeline.objects, config.shares).items():
            seen = replace(parts, pipeline=DisturbedPipeline(pipeline, **options, seed=trained.seed))
            found = training.evaluate(trained, env, seen, config.episodes)
            rows.append({"disturbance": told, **found})
            change = paired_difference(rows[-1]["rets"], rows[0]["rets"], seed=0)
            rows[-1]["change"] = [change.mean, change.interval.low, change.interval.high]
    result = {"run": folder.name, "task": trained.env.id, "masks": trained.objects.masks, "rows": rows}
    out = Path(config.out) if config.out else folder / "robust.json"
    checkpoint.write_json(out, result)
    text = markdown(
        ("disturbance", "success", "return", "change of return, 95 %"),
        [
            (row["disturbance"], f"{100 * row['success']:.0f}", f"{row['ret']:.2f}",
             "{:+.2f} [{:+.2f}, {:+.2f}]".format(*row["change"]))
            for row in rows
        ],
    )  # fmt: skip
    return Result(text, {"out": out} | result)


def disturbances(objects: tuple[str, ...], shares: list[float]) -> dict[str, dict[str, Any]]:
    """Return the arguments of every disturbance by what it is called, the undisturbed one first."""
    found: dict[str, dict[str, Any]] = {"nothing": {"kind": "nothing"}}
    found |= {f"{name} missing": {"kind": "missing", "objects": (name,)} for name in objects}
    found |= {
        f"{one} and {other} swapped": {"kind": "swapped", "objects": (one, other)}
        for one, other in combinations(objects, 2)
    }
    return found | {f"{100 * share:.0f} % dropped": {"kind": "dropped", "share": share} for share in shares}


def options_of(folder: Path) -> train.Config:
    """Return the options that a run of ``worldrl train`` was made with.

    Raises:
        CheckpointError: If the folder holds no finished run.
    """
    from omegaconf import OmegaConf

    from worldrl import checkpoint

    summary = checkpoint.read_json(folder / "summary.json")
    with checkpoint.described(folder, "a run of worldrl train"):
        config: train.Config = OmegaConf.to_object(  # type: ignore[assignment]
            OmegaConf.merge(OmegaConf.structured(train.Config), summary["config"])
        )
    return config
