"""Repeat the main job over seeds and say what it gains: the command behind the figures of the README."""

import shlex
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from worldrl.errors import ConfigError
from worldrl.recipes import demo as demo_recipe
from worldrl.recipes.config import changes, flat
from worldrl.recipes.options import option
from worldrl.recipes.results import Result
from worldrl.recipes.stages import FREE
from worldrl.recipes.table import markdown
from worldrl.recipes.telling import say

HEADER = (
    "seed",
    "masks",
    "cloned, MuJoCo (95 %)",
    "refined, MuJoCo (95 %)",
    "gain",
    "refined, imagined",
    "gap",
    "real steps collected",
    "real steps in refinement",
    "imagined steps",
    "seconds",
    "peak GB",
)


@dataclass
class Config:
    """Options of ``worldrl seeds``."""

    demo: demo_recipe.Config = field(default_factory=demo_recipe.Config)
    seeds: list[int] = field(
        default_factory=lambda: [0, 1, 2],
        metadata={"help": "seeds; a finished one is not rerun, one that was stopped goes on"},
    )
    out: str = option("runs/seeds", "folder with a run folder for each seed")
    table: str = option("docs/results/demo.md", "file of the table")

    def check(self) -> None:
        """Refuse options out of range."""
        self.demo.check()
        if not self.seeds or self.demo.out:
            raise ConfigError("seeds must name at least one seed, and demo.out stay empty: out=... holds all runs.")


def run(config: Config) -> Result:
    """Run the seeds that are not finished yet, going on with those that were begun, and write the table."""
    from worldrl import checkpoint

    for seed in config.seeds:
        folder = Path(config.out) / f"seed-{seed}"
        if (folder / "summary.json").exists():
            same_options(folder, asdict(replace(config.demo, seed=seed, out=str(folder))))
            say(f"seed {seed} is finished: {folder}")
            continue
        demo_recipe.run(replace(config.demo, seed=seed, out=str(folder)))
    summaries = [checkpoint.read_json(Path(config.out) / f"seed-{seed}" / "summary.json") for seed in config.seeds]
    made_by = command(config)
    text = table(summaries, made_by)
    Path(config.table).parent.mkdir(parents=True, exist_ok=True)
    Path(config.table).write_text(text)
    gain = asdict(gain_of(summaries))
    told = {"mean": gain["mean"], **gain["interval"]}
    return Result(
        text, {"out": config.out, "table": config.table, "gain": told, "seeds": summaries, "command": made_by}
    )


def command(config: Config) -> str:
    """Return the command that makes a table: every option that is not at its default."""
    return shlex.join(["worldrl", "seeds", *changes(config)])


def same_options(folder: Path, wanted: dict[str, Any]) -> None:
    """Refuse a finished run that was made with other options than those of the table.

    Raises:
        ConfigError: If there is one that differs; the first three are named.
    """
    from worldrl import checkpoint

    made, asked = flat(checkpoint.read_json(folder / "config.json")), flat(wanted)
    bound = [name for name in made.keys() | asked.keys() if name.rpartition(".")[2] not in FREE]
    apart = [f"{name}={made.get(name)}" for name in bound if made.get(name) != asked.get(name)]
    if apart:
        raise ConfigError(
            f"{folder} was made with {', '.join(sorted(apart)[:3])}: choose another out, or move it away."
        )


def table(summaries: list[dict[str, Any]], made_by: str) -> str:
    """Return the figures of several seeds as markdown, with the mean gain, its paired interval and the command."""
    first, gain = summaries[0], gain_of(summaries)
    low, high = 100 * gain.interval.low, 100 * gain.interval.high
    encoder = first["encoder"] + (" (random weights)" if first["encoder_random_init"] else "")
    return "\n".join(
        [
            f"Task `{first['task']}`, {first['observation']}, encoder {encoder}, {first['episodes']} held-out "
            "episodes a policy and seed, the same starts for both.",
            "",
            markdown(HEADER, map(_row, summaries)),
            "",
            f"Mean gain {100 * gain.mean:+.1f} points of real success, paired 95 % interval [{low:+.1f}, {high:+.1f}] "
            "(bootstrap over seeds and episodes).",
            "",
            f"Made by `{made_by}`; versions: " + ", ".join(f"{k} {v}" for k, v in first["versions"].items()) + ".",
            "",
        ]
    )


def gain_of(summaries: list[dict[str, Any]]) -> Any:
    """Return the mean gain of refinement in MuJoCo over several seeds, a share, with its paired 95 % interval."""
    from worldrl.evaluation.intervals import paired_over_seeds

    refined, cloned = ([np.array(summary["outcomes"][who]) for summary in summaries] for who in ("refined", "bc"))
    return paired_over_seeds(refined, cloned, seed=0)


def _row(summary: dict[str, Any]) -> list[Any]:
    return [
        summary["seed"],
        f"masks: {summary['masks']}",
        _share(summary["bc_success"], summary["bc_interval"]),
        _share(summary["refined_success"], summary["refined_interval"]),
        f"{100 * summary['gain']['mean']:+.0f}",
        f"{100 * summary['imagined_success']:.0f}",
        f"{100 * summary['gap']:+.0f}",
        f"{summary['real_steps_collected']:,}",
        summary["real_steps_during_refinement"],
        f"{summary['imagined_steps']:,}",
        f"{summary['seconds_total']:.0f}",
        summary["peak_memory_gb"],
    ]


def _share(success: float, interval: list[float]) -> str:
    return f"{100 * success:.0f} [{100 * interval[0]:.0f}, {100 * interval[1]:.0f}]"


def set_aside(folder: Path) -> None:
    """Move an unfinished run out of the way; it is kept."""
    if folder.exists():
        number = next(i for i in range(1, 1000) if not folder.with_name(f"{folder.name}-unfinished-{i}").exists())
        folder.rename(folder.with_name(f"{folder.name}-unfinished-{number}"))
