"""Time what decides how long everything takes, on this machine, beside what the machine could do."""

import shlex
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from worldrl.errors import ConfigError
from worldrl.recipes.config import changes
from worldrl.recipes.options import (
    EnvOptions,
    WorldModelOptions,
    check_json,
    check_positive,
    check_world_model,
    option,
)
from worldrl.recipes.parts import need, use_threads, versions
from worldrl.recipes.results import Result
from worldrl.recipes.telling import say
from worldrl.recipes.timing.rate import Row

TOKENS, FRAMES = (6, 42), (3, 64, 64)
"""Observations of the untrained models: five objects with their look, and frames."""
BATCHES = (1, 4, 16, 64, 256, 1024)
FRAME_BATCH = 8
SIZES = ("tiny", "small", "medium")
ENCODERS = ("dinov2_vits14", "efficientnet_lite0")
COMPARED = Path("docs/results/pixels.json")
"""The last comparison of trained frame models."""
SEGMENTS = (1_000, 10_000, 100_000)
KEPT = (10_000, 100_000, 1_000_000)
"""Transitions in memory, and in files."""


@dataclass
class Config:
    """Options of ``worldrl bench``."""

    out: str = option("", "file of all figures (.json), with table and plot beside it; empty for none")
    world: str = option("", "folder of a world whose rate is wanted; empty for untrained models of all shapes")
    env: EnvOptions = field(
        default_factory=lambda: EnvOptions("worldrl/MetaWorld-drawer-close-v0", {"size": 64}),
        metadata={"help": "real environment to compare with"},
    )
    world_model: WorldModelOptions = field(default_factory=WorldModelOptions)
    batch: int = option(256, "imagined environments side by side")
    seconds: float = option(2.0, "how long each thing is timed, at least")
    compare: str = option(
        "",
        "folder of a data set: train frame models on it for equally long and compare those, rather than time anything",
    )
    observation: str = option("", "folder of the pipeline of its frames, for compare")
    minutes: float = option(8.0, "processor time of each training of compare")
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2], metadata={"help": "of compare"})
    threads: int = option(0, "threads of torch; 0 leaves them alone")

    def check(self) -> None:
        """Refuse options out of range."""
        check_positive(batch=self.batch, seconds=self.seconds)
        check_positive(minutes=self.minutes)
        check_world_model(self.world_model)
        if self.compare and not (self.observation and self.out and self.seeds):
            raise ConfigError("compare needs observation=FOLDER, out=FILE.json and at least one of seeds.")
        if self.out:
            check_json(Path(self.out))


def run(config: Config) -> Result:
    """Time everything; return the table, and write it with figures and plot where a file is named."""
    import torch

    from worldrl import checkpoint
    from worldrl.recipes.plots import curves
    from worldrl.recipes.timing.rate import copy_limit, matrix_limit
    from worldrl.recipes.timing.report import growth, lines, table

    use_threads(config.threads)
    if config.compare:
        return _compare(config)
    machine: dict[str, Any] = {
        "threads": torch.get_num_threads(),
        "matrix product, GFLOP/s": matrix_limit(),
        "copy, GB/s": copy_limit(),
    } | versions()
    rows = list[Row]()
    for row in _world(config) if config.world else _all(config):
        say(f"{row.group}, {row.name}, batch {row.batch}: {row.rate:,.1f} {row.unit}/s")
        rows.append(row)
    summary = summarise(rows, batch=config.batch) | trained() | {"machine": machine}
    command = shlex.join(["worldrl", "bench", *changes(config)])
    text = table(rows, summary, command=command)
    figures = {"rows": [asdict(row) for row in rows], "summary": summary, "command": command}
    if config.out:
        out = Path(config.out)
        out.parent.mkdir(parents=True, exist_ok=True)
        checkpoint.write_json(out, figures)
        out.with_suffix(".md").write_text(text)
        plot = curves(lines(rows, ("imagined tokens",)), "batch, as a power of two", "share of the limit")
        out.with_suffix(".svg").write_text(plot)
        for name, (points, x, y) in growth(rows, batch=config.batch).items():
            across, up = zip(*(point for line in points.values() for point in line), strict=True)
            drawn = curves(points, x, y, first=min(across), top=max(up))
            out.with_name(f"{out.stem}-{name}.svg").write_text(drawn)
    return Result(text, figures | ({"out": config.out} if config.out else {}))


def summarise(rows: list[Row], *, batch: int) -> dict[str, float | None]:
    """Return what people ask first, from the rows: None where what it is made of was not timed."""

    def found(group: str, steps: int | None, size: int, what: str = "default") -> Row | None:
        named = (row for row in rows if row.group == group and what in row.name)
        return next((row for row in named if row.steps == steps and row.batch == size), None)

    def ratio(one: Row | None, other: Row | None) -> float | None:
        return None if one is None or other is None else one.rate / other.rate

    one, three = (found("imagined tokens", steps, batch) for steps in (1, 3))
    default, fast = (found("real environment", None, 1, what) for what in ("by MuJoCo's defaults", "fast drawing"))
    frames = [found("imagined frames", steps, FRAME_BATCH, what) for steps, what in ((1, "default"), (3, "published"))]
    return {
        "token_steps_per_s_3": None if three is None else three.rate,
        "token_steps_per_s_1": None if one is None else one.rate,
        "ceiling_share": None if three is None else three.share,
        "pixel_vs_reference": ratio(*frames),
        "imagined_vs_real_default": ratio(one, default),
        "imagined_vs_real_fast": ratio(one, fast),
    }


def _compare(config: Config) -> Result:
    """Train frame models for equally long."""
    from worldrl import checkpoint
    from worldrl.recipes.timing.equal import compare

    text = compare(
        need(config.compare, "data set"), need(config.observation, "observation pipeline"), Path(config.out),
        minutes=config.minutes, seeds=config.seeds, command=["worldrl", "bench", *changes(config)],
    )  # fmt: skip
    return Result(text, checkpoint.read_json(Path(config.out)) | {"out": config.out})


def trained() -> dict[str, float | None]:
    """Return what the last comparison of trained frame models found; nothing where there is none here."""
    from worldrl import checkpoint
    from worldrl.recipes.timing.equal import summary

    return summary(checkpoint.read_json(COMPARED)) if COMPARED.exists() else {}


def _world(config: Config) -> Iterator[Row]:
    """Time a world that was fitted."""
    from worldrl.recipes.timing.imagined import imagined
    from worldrl.world_model.world import World

    world = World.from_pretrained(need(config.world, "world"))
    group = "imagined tokens" if len(world.model.obs_shape) == 2 else "imagined frames"
    yield imagined(
        world.model, group=group, name=config.world, batch=config.batch, seconds=config.seconds, starts=world.starts,
        horizon=world.horizon,
    )  # fmt: skip


def _all(config: Config) -> Iterator[Row]:
    """Time the real environment, untrained models of all shapes, and what learning waits for."""
    from worldrl.recipes.timing.real import real, real_by_default

    brief, kwargs = config.seconds, dict(config.env.kwargs)
    yield from real(config.env.id, kwargs, seconds=brief)  # first, because this is what may be missing here
    yield real_by_default(config.env.id, kwargs, seconds=2 * brief)
    yield from _tokens(config)
    yield from _frames(config)
    yield from _learning(config)


def _tokens(config: Config) -> Iterator[Row]:
    """Time imagined environments of tokens, by batch and by size."""
    from worldrl.recipes.timing.imagined import imagined, world

    brief, default = config.seconds, config.world_model
    for steps in (1, 3):
        model = world(TOKENS, replace(default, steps=steps))
        for batch in sorted({*BATCHES, config.batch}):
            name = f"default ({default.backbone}, {default.size})"
            yield imagined(model, group="imagined tokens", name=name, batch=batch, seconds=brief)
    for backbone in ("transformer", "flat"):
        for size in SIZES:
            model = world(TOKENS, replace(default, backbone=backbone, size=size))
            yield imagined(
                model, group="imagined tokens", name=f"{backbone}, {size}", batch=config.batch, seconds=brief
            )


def _frames(config: Config) -> Iterator[Row]:
    """Time imagined environments of frames: ours, and the published network."""
    from worldrl.recipes.timing.imagined import imagined, world

    for size, steps, batches in (("small", 1, (1, FRAME_BATCH, 32)), ("small", 3, (FRAME_BATCH,)),
                                 ("published", 3, (1, FRAME_BATCH))):  # fmt: skip
        model = world(FRAMES, WorldModelOptions(size=size, steps=steps))
        name = size if size == "published" else f"default ({size})"
        for batch in batches:
            yield imagined(model, group="imagined frames", name=name, batch=batch, seconds=config.seconds)


def _learning(config: Config) -> Iterator[Row]:
    """Time gradient steps by size, data in memory and in files, and encoders."""
    from worldrl.recipes.timing.data import kept
    from worldrl.recipes.timing.imagined import world
    from worldrl.recipes.timing.learning import encoding, loading, training

    brief = config.seconds
    for shape, size, batch in (
        *((TOKENS, size, 256) for size in SIZES),
        (FRAMES, "small", 32),
        (FRAMES, "published", 8),
    ):
        kind = "tokens" if shape == TOKENS else "frames"
        model = world(shape, WorldModelOptions(size=size))
        yield training(model, group="training", name=f"{kind}, {size}", batch=batch, seconds=brief)
    for count in SEGMENTS:
        yield loading(TOKENS, count, batch=256, history=config.world_model.history, seconds=brief)
    for count in KEPT:
        yield from kept(TOKENS, count, seconds=brief)
    for name in ENCODERS:
        yield encoding(name, side=7, batch=32, seconds=brief)
