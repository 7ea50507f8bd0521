"""Which cells a study has: an arm and a seed each, with the options that its YAML gives that arm."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Any

from worldrl.errors import ConfigError, first_line
from worldrl.recipes.jobs import Job, Options
from worldrl.recipes.studies.stock import SEEDED, SPLITS, Need, PoolOptions

MODULE = "worldrl.recipes.studies.jobs"
SHARED = "shared"
"""The link in a study's run folder that leads to what studies share."""
SECONDS = {
    "scenes": 60.0, "features": 120.0, "towers": 200.0, "dense": 60.0, "language_model": 150.0, "world": 400.0,
    "cell": 150.0,
}  # fmt: skip
"""What a job takes on one busy core, for the estimate alone."""


@dataclass(frozen=True)
class Study:
    """What the YAML of a study says.

    Attributes:
        name: Of the study.
        title: Of its table.
        figures: Columns of the table: the name of a figure, and its heading.
        arms: Options of each arm that differ.
        options: Options that all arms share.
        scale: What figures are multiplied by in the table, but for those in ``plain``.
        plain: Figures that are told as they are.
        pairs: Differences that are told: arm, baseline, figure.
        pictured: Arms whose pictures are shown.
        notes: Sentences under the table.
    """

    name: str
    title: str
    figures: Mapping[str, str]
    arms: Mapping[str, Mapping[str, Any]]
    options: Mapping[str, Any] = field(default_factory=dict)
    scale: float = 1.0
    plain: tuple[str, ...] = ()
    pairs: tuple[tuple[str, str, str], ...] = ()
    pictured: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def shown(self, figure: str, value: float) -> float:
        """Return a figure as the table tells it."""
        return value if figure in self.plain else self.scale * value


@dataclass(frozen=True)
class Cell:
    """One run: an arm of a study with a seed; ``options`` are all those it is run with."""

    name: str
    study: str
    seed: int
    options: Mapping[str, Any]


def read_study(name: str) -> Study:
    """Read the YAML of a study.

    Raises:
        ConfigError: If it is not as ``Study`` says.
    """
    from omegaconf import OmegaConf

    path = files("worldrl.configs").joinpath("studies", f"{name}.yaml")
    value: Any = OmegaConf.to_container(OmegaConf.create(path.read_text()))
    value["arms"] = {arm: differing or {} for arm, differing in value["arms"].items()}
    for key in ("pairs", "pictured", "notes", "plain"):
        value[key] = tuple(tuple(one) if isinstance(one, list) else one for one in value.get(key) or ())
    try:
        study = Study(name=name, **value)
    except TypeError as error:
        raise ConfigError(f"configs/studies/{name}.yaml: {first_line(error)}.") from error
    unknown = {arm for pair in study.pairs for arm in pair[:2]} | set(study.pictured)
    if unknown - set(study.arms):
        raise ConfigError(f"configs/studies/{name}.yaml has no arm '{sorted(unknown - set(study.arms))[0]}'.")
    return study


def options_of(name: str, given: Mapping[str, Any]) -> Any:
    """Return the typed options of an arm.

    Raises:
        ConfigError: If one is unknown, of a wrong type or out of range.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    schema = import_module(f"worldrl.recipes.studies.{name}").Options
    try:
        options: Any = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), dict(given)))
    except (ValueError, OmegaConfBaseException) as error:
        raise ConfigError(f"options of {name}: {first_line(error)}.") from error
    options.check()
    return options


def cells(study: Study, seeds: list[int], changes: Mapping[str, Any]) -> Iterator[Cell]:
    """Yield every cell, seed by seed.

    Args:
        study: Whose.
        seeds: Of every arm.
        changes: Options that every arm is run with instead of those of the YAML.
    """
    for seed in seeds:
        for arm, differing in study.arms.items():
            given = {**study.options, **differing, **changes}
            yield Cell(f"{arm}-{seed}", arm, seed, asdict(options_of(study.name, given)))


def point(root: Path, shared: Path) -> None:
    """Let a study's run folder lead to what studies share, wherever that is."""
    link = root / SHARED
    root.mkdir(parents=True, exist_ok=True)
    shared.mkdir(parents=True, exist_ok=True)
    if not link.exists() or not link.samefile(shared):
        link.unlink(missing_ok=True)
        link.symlink_to(shared.resolve())


def plan(root: Path, shared: Path, study: Study, wanted: list[Cell], pool: PoolOptions) -> list[Job]:
    """Return the jobs that some cells need, in an order in which each comes after what it needs.

    Args:
        root: Run folder of the study.
        shared: Folder of what studies share.
        study: Whose cells they are.
        wanted: The cells.
        pool: Of labelled scenes.
    """
    jobs: dict[Path, Job] = {}
    module = import_module(f"worldrl.recipes.studies.{study.name}")
    for cell in wanted:
        after = [
            _make(jobs, shared, need, cell.seed, pool) for need in module.needs(options_of(study.name, cell.options))
        ]
        options: Options = {
            "study": study.name, "arm": cell.study, "seed": cell.seed, "options": dict(cell.options),
            "pool": asdict(pool),
        }  # fmt: skip
        folder = root / "cells" / cell.name
        jobs[folder] = _job("cell", folder, options, after)
    return list(jobs.values())


def _make(jobs: dict[Path, Job], shared: Path, need: Need, seed: int, pool: PoolOptions) -> Path:
    """Put in the job that makes what is needed, after those that it needs itself, and return its folder."""
    folder = shared / need.folder(seed)
    if folder not in jobs:
        before = {
            "features": [Need("scenes", split=need.split)],
            "towers": [Need("scenes", split="train")],
            "dense": [*(Need("scenes", split=split) for split in SPLITS), Need("towers", need.what)],
            "language_model": [Need("scenes", split="train")],
        }.get(need.kind, [])
        after = [_make(jobs, shared, one, seed, pool) for one in before]
        options: Options = {"what": need.what, "split": need.split}
        options |= {"seed": seed} if need.kind in SEEDED else {}
        options |= {} if need.kind == "world" else {"pool": asdict(pool)}
        jobs[folder] = _job(need.kind, folder, options, after)
    return folder


def _job(kind: str, folder: Path, options: Options, after: list[Path]) -> Job:
    return Job(kind, folder, options, SECONDS[kind], after=tuple(dict.fromkeys(after)), module=MODULE)
