"""Measure how well the tokens of frozen encoders tell where things are, against the simulator's own positions."""

import shlex
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from omegaconf import MISSING

from worldrl.errors import DataError
from worldrl.recipes.config import changes
from worldrl.recipes.ledger import Ledger, over_seeds
from worldrl.recipes.options import EncoderOptions, ObjectOptions, check_observation, check_positive, option
from worldrl.recipes.parts import encoder_for, make_env, need, use_threads
from worldrl.recipes.results import Result
from worldrl.recipes.table import markdown
from worldrl.recipes.telling import bar, say
from worldrl.types import Array

NAMES = ("task", "reads", "encoder", "seed")
READS = ("look under the mask", "looks of prototypes", "looks and geometry of prototypes")
"""What of the patches a probe reads; the first is told by the simulator's masks, the others by nothing."""
GEOMETRY = "geometry of the mask"
"""What needs no encoder, to compare with."""


@dataclass
class Config:
    """Options of ``worldrl probe``."""

    episodes: str = option(MISSING, "folder of the data set")
    encoders: list[str] = field(
        default_factory=lambda: ["dinov2_vits14", "efficientnet_lite0"],
        metadata={"help": "encoders, at their default layers; each is measured beside itself with random weights"},
    )
    features: str = option("", "folder of the feature cache; empty for none")
    out: str = option("runs/probe.json", "file of the figures; those in it are kept, the table is put beside it")
    frames: int = option(3, "frames of each episode, evenly spread")
    groups: int = option(8, "number of prototypes")
    seed: int = option(0, "of weights, prototypes and split, and the name of the rows")
    threads: int = option(0, "threads of torch; 0 leaves them alone")

    def check(self) -> None:
        """Refuse options out of range."""
        check_positive(frames=self.frames, groups=self.groups)
        for name in self.encoders:
            check_observation(EncoderOptions(name), ObjectOptions(), 0, size=None)


@dataclass(frozen=True)
class Scenes:
    """Frames ``(n, h, w, 3)`` with labels ``(n, h, w)``, positions ``(n, k, 3)`` in metres, and episodes ``(n,)``."""

    frames: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.uint8]
    places: npt.NDArray[np.float64]
    owner: npt.NDArray[np.int64]


def run(config: Config) -> Result:
    """Probe each encoder and its random twin, write the figures to the others, and return the table of all."""
    from worldrl.data.dataset import Dataset
    from worldrl.evaluation.probe import LEAST

    use_threads(config.threads)
    dataset = Dataset(need(config.episodes, "data set"))
    dataset.require("labels", "states", by="probe")
    if len(dataset) < LEAST:
        raise DataError(
            f"episodes must be at least {LEAST}, got {len(dataset)} in {config.episodes}: it is fitted, chosen and "
            "measured on different ones."
        )
    options = [EncoderOptions(name, None, random, config.seed) for name in config.encoders for random in (False, True)]
    for one in options:
        check_observation(one, ObjectOptions(), 0, size=min(dataset.manifest.frame_shape[:2]))
    ledger = Ledger(Path(config.out), NAMES)
    scenes = _scenes(dataset, config.frames)
    for one in (EncoderOptions("none"), *options):
        name = one.name + (" (random)" if one.random_init else "")
        names = {"task": dataset.manifest.env_id, "encoder": name, "seed": config.seed}
        if names | {"reads": GEOMETRY if one.name == "none" else READS[-1]} in ledger:
            say(f"{config.out} has {', '.join(map(str, names.values()))} already")
            continue
        for reads, inputs in _inputs(config, scenes, one):
            row = names | {"reads": reads} | _figures(inputs, scenes, tuple(dataset.manifest.objects), config.seed)
            row |= {"frames": len(scenes.frames), "episodes": len(dataset), "size": list(scenes.frames.shape[1:3])}
            ledger.add(row | {"command": shlex.join(["worldrl", "probe", *changes(config)])}, table=table)
    return Result(table(ledger.rows), {"out": config.out, "rows": ledger.rows})


def table(rows: list[dict[str, Any]]) -> str:
    """Return the figures as markdown: who wins, a table of encoders, one of objects, and the commands."""
    groups = over_seeds(rows, NAMES[:-1])
    lines, objects = [], []
    scores: dict[tuple[str, str], list[tuple[float, str]]] = {}
    for (task, reads, encoder), runs in groups.items():
        r2, error, blind = ([run[name] for run in runs] for name in ("r2", "error_cm", "blind_cm"))
        scores.setdefault((task, reads), []).append((float(np.mean(r2)), encoder))
        each = ", ".join(f"{value:.3f}" for value in r2)
        lines.append([task, reads, encoder, _interval(r2, 3), each, _interval(error, 2), f"{np.mean(blind):.2f}"])
        told = [
            f"{one['name']} {np.mean([run['objects'][i]['r2'] for run in runs]):.2f} "
            f"({np.mean([run['objects'][i]['error_cm'] for run in runs]):.1f} cm)"
            for i, one in enumerate(runs[0]["objects"])
        ]
        objects.append([task, reads, encoder, ", ".join(told)])
    order = [
        f"- `{task}`, {reads}: " + " > ".join(f"{name} {score:.3f}" for score, name in sorted(found, reverse=True))
        for (task, reads), found in scores.items()
        if len(found) > 1
    ]
    first, commands = rows[0], list(dict.fromkeys(row["command"] for row in rows))
    size = "x".join(map(str, first["size"]))
    return "\n".join([
        f"Where the objects are, read linearly (ridge regression, penalty chosen on episodes of their own) in episodes "
        f"that the probe has not seen: {first['frames']} frames of {size} pixels from {first['episodes']} episodes a "
        "seed and task. R2 and error are means over objects of their three coordinates; `blind` is the error of the "
        "mean place. Intervals are 95 %, Student's t over seeds. By R2:", "",
        *order, "",
        markdown(("task", "reads", "encoder", "R2", "R2 by seed", "error, cm", "blind, cm"), lines), "",
        "Each object, means over seeds:", "",
        markdown(("task", "reads", "encoder", "R2 (error)"), objects), "",
        "Made by:", "", "```", *commands, "```", "",
    ])  # fmt: skip


def _scenes(dataset: Any, count: int) -> Scenes:
    """Take frames of every episode, and ask the simulator where things are in each."""
    env = make_env(dataset.manifest.env_id, dict(dataset.manifest.env_kwargs) | {"drawing": False})
    frames, labels, places, owner = [], [], [], []
    show = bar("restore")
    for i, episode in enumerate(dataset):
        for step in np.unique(np.linspace(0, len(episode), count).round().astype(int)):
            env.unwrapped.restore(episode.states[step], episode.fields, episode.params)
            places.append(env.unwrapped.positions())
            frames.append(np.asarray(episode.frames[step]))
            labels.append(np.asarray(episode.labels[step]))
            owner.append(i)
        show(i + 1, len(dataset))
    env.close()
    return Scenes(np.stack(frames), np.stack(labels), np.stack(places), np.array(owner))


def _inputs(config: Config, scenes: Scenes, options: EncoderOptions) -> Iterator[tuple[str, Array]]:
    """Yield what a probe reads ``(n, k, d)``, by name; ``k`` is one where all objects are read off the same numbers."""
    import torch

    from worldrl.evaluation.probe import split
    from worldrl.objects import Prototypes, describe, pool, soften

    masks = soften(torch.from_numpy(scenes.labels.astype(np.int64)), scenes.places.shape[1])
    with encoder_for(options, Path(config.features) if config.features else None) as encoder:
        if encoder is None:
            yield GEOMETRY, describe(masks).numpy()
            return
        features = encoder(scenes.frames)
    yield READS[0], pool(features, masks).numpy()
    fitted = torch.from_numpy(split(scenes.owner, seed=config.seed)[0])
    prototypes = Prototypes.fit(features.patches[fitted], config.groups, seed=config.seed)(features)
    looks = pool(features, prototypes).flatten(1)
    yield READS[1], looks[:, None].numpy()
    yield READS[2], torch.cat([looks, describe(prototypes).flatten(1)], dim=1)[:, None].numpy()


def _figures(inputs: Array, scenes: Scenes, objects: tuple[str, ...], seed: int) -> dict[str, Any]:
    """Probe for each object, in the frames that show it, and average."""
    from worldrl.evaluation.probe import probe

    found = []
    for i, name in enumerate(objects):
        seen = (scenes.labels == i + 1).any(axis=(1, 2))
        mine = inputs[seen, min(i, inputs.shape[1] - 1)]
        figures = asdict(probe(mine, 100 * scenes.places[seen, i], scenes.owner[seen], seed=seed))
        figures["error_cm"], figures["blind_cm"] = figures.pop("error"), figures.pop("blind")
        found.append({"name": name} | figures)
    means = {name: float(np.mean([one[name] for one in found])) for name in ("r2", "error_cm", "blind_cm")}
    return means | {"objects": found}


def _interval(values: list[float], digits: int) -> str:
    from worldrl.evaluation.intervals import mean_over_seeds

    if len(values) < 2:
        return f"{values[0]:.{digits}f}"
    found = mean_over_seeds(values)
    return f"{found.mean:.{digits}f} [{found.interval.low:.{digits}f}, {found.interval.high:.{digits}f}]"
