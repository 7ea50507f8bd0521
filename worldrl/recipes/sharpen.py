"""What it brings to tune the decoder of visual tokens on imagined ones, seed by seed: the table behind ``fit``'s."""

import shlex
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from worldrl.errors import ConfigError
from worldrl.recipes import collect, encode, fit
from worldrl.recipes.config import changes
from worldrl.recipes.options import (
    EncoderOptions,
    EnvOptions,
    ObjectOptions,
    WorldModelOptions,
    check_observation,
    check_positive,
    check_world_model,
    option,
)
from worldrl.recipes.parts import pipeline_at, tokens_of, use_threads, versions
from worldrl.recipes.results import Result
from worldrl.recipes.seeds import same_options, set_aside
from worldrl.recipes.table import markdown
from worldrl.recipes.telling import bar, say

UNSEEN = 1000
"""What the seed of the held-out episodes is further than that of the others."""
DROP = 0.3
"""Decibels that recorded frames drawn again may lose at most."""
WAYS = {"before": "as encoded", "recorded": "tuned on recorded latents alone", "mixed": "tuned on imagined latents too"}
"""The decoders that are compared: the second is the control for what more training alone brings."""
LOCAL = ("seeds", "out", "table", "threads")
"""Options that change no result."""


@dataclass
class Config:
    """Options of ``worldrl sharpen``."""

    env: EnvOptions = field(
        default_factory=lambda: EnvOptions(id="worldrl/Push-v0", kwargs={"size": 98, "max_steps": 40})
    )
    objects: ObjectOptions = field(default_factory=lambda: ObjectOptions(visual=4, visual_steps=1000))
    world_model: WorldModelOptions = field(default_factory=WorldModelOptions)
    experts: int = option(120, "episodes of the noisy expert")
    random: int = option(60, "episodes of random play")
    unseen: int = option(24, "held-out episodes, a third of them random play, which neither tokenizer nor world sees")
    fit_steps: int = option(600, "gradient steps of the dynamics")
    post_steps: int = option(600, "gradient steps of tuning")
    preserve: float = option(0.5, "share of the visual tokens that stay as recorded in tuning")
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2], metadata={"help": "seeds; a finished one is not rerun"})
    out: str = option("runs/sharpen", "folder with a run folder for each seed")
    table: str = option("docs/results/sharpen.md", "file of the table; the figures are written beside it as .json")
    threads: int = option(0, "threads of torch; 0 leaves them alone")

    def check(self) -> None:
        """Refuse options out of range."""
        check_positive(experts=self.experts, random=self.random, fit_steps=self.fit_steps, post_steps=self.post_steps)
        check_world_model(self.world_model)
        check_observation(EncoderOptions("none"), self.objects, 0, size=self.env.kwargs.get("size"))
        if not self.seeds or not self.objects.visual:
            raise ConfigError(
                f"seeds must name at least one and objects.visual be 1, 4 or 16, got {self.seeds} and "
                f"{self.objects.visual}."
            )
        if self.unseen < 3 or not 0 <= self.preserve <= 1:
            raise ConfigError(
                f"unseen must be 3 or more and preserve in [0, 1], got {self.unseen} and {self.preserve}."
            )


def run(config: Config) -> Result:
    """Run the seeds that are not finished yet, and write figures and table of all."""
    from worldrl import checkpoint

    use_threads(config.threads)
    found = []
    for seed in config.seeds:
        folder = Path(config.out) / f"seed-{seed}"
        made = {name: value for name, value in asdict(config).items() if name not in LOCAL}
        if (folder / "summary.json").exists():
            same_options(folder, made)
            say(f"seed {seed} is finished: {folder}")
        else:
            set_aside(folder)
            folder.mkdir(parents=True)
            checkpoint.write_json(folder / "config.json", made)
            checkpoint.write_json(folder / "summary.json", _one(config, folder, seed))
        found.append(checkpoint.read_json(folder / "summary.json"))
    figures = {"task": config.env.id, "seeds": found, "command": command(config), "versions": versions()}
    out = Path(config.table)
    out.parent.mkdir(parents=True, exist_ok=True)
    checkpoint.write_json(out.with_suffix(".json"), figures)
    text = table(figures)
    out.write_text(text)
    return Result(text, {"out": config.out, "table": out} | figures)


def command(config: Config) -> str:
    """Return the command that makes a table: every option that is not at its default."""
    return shlex.join(["worldrl", "sharpen", *changes(config, leave=("threads",))])


def _one(config: Config, folder: Path, seed: int) -> dict[str, Any]:
    """Record, encode and fit under one seed; tune the decoder in both ways and measure on episodes nobody has seen."""
    import copy

    from worldrl.data.dataset import Dataset
    from worldrl.evaluation.sharpness import imagined_pairs, sharpness
    from worldrl.recipes.fit_drawing import visual_decoder
    from worldrl.world_model.visual import tune_decoder
    from worldrl.world_model.world import World

    at = {name: str(folder / name) for name in ("episodes", "unseen", "observation", "world")}
    third = config.unseen // 3
    _record(config, at["episodes"], config.experts, config.random, seed)
    _record(config, at["unseen"], config.unseen - third, third, seed + UNSEEN)
    encode.run(
        encode.Config(
            episodes=at["episodes"], out=at["observation"], encoder=EncoderOptions("none"), objects=config.objects,
            seed=seed,
        )
    )  # fmt: skip
    fit.run(
        fit.Config(
            episodes=at["episodes"], observation=at["observation"], out=at["world"], world_model=config.world_model,
            steps=config.fit_steps, success_steps=1, post_steps=0, seed=seed,
        )
    )  # fmt: skip
    world = World.from_pretrained(Path(at["world"]))
    with pipeline_at(Path(at["observation"]), None) as pipeline:
        sets = [Dataset(Path(at[name])) for name in ("episodes", "unseen")]
        seen, unseen = (
            imagined_pairs(world.model, tokens_of(one, pipeline), [episode.frames for episode in one], seed=seed)
            for one in sets
        )
        decoder, likeness = visual_decoder(pipeline), pipeline.tokenizer.apart
    if seen is None or unseen is None:
        raise ConfigError("episodes must be 16 steps or longer, some of them: raise env.kwargs.max_steps.")
    found = {"before": asdict(sharpness(decoder.decode, unseen))}
    for way, preserve in (("recorded", 1.0), ("mixed", config.preserve)):
        tuned, show = copy.deepcopy(decoder), bar(f"tune, {way}")
        tune_decoder(
            tuned, seen, steps=config.post_steps, preserve=preserve, likeness=likeness, seed=seed,
            progress=show,
        )  # fmt: skip
        found[way] = asdict(sharpness(tuned.decode, unseen))
    return {"seed": seed, "frames_tuned_on": len(seen.frames), "frames_measured": len(unseen.frames), **found}


def _record(config: Config, out: str, experts: int, random: int, seed: int) -> None:
    for who, count in (("noisy_expert", experts), ("random", random)):
        collect.run(collect.Config(env=config.env, out=out, policy=who, episodes=count, seed=seed))


def met(seed: dict[str, Any]) -> bool | None:
    """Return whether imagined frames look better and recorded ones lose little; None without ST-LPIPS."""
    before, after = seed["before"], seed["mixed"]
    if before["st_lpips"] is None:
        return None
    return bool(after["st_lpips"] < before["st_lpips"] and after["clean_psnr"] >= before["clean_psnr"] - DROP)


def table(figures: dict[str, Any]) -> str:
    """Return a row for each seed and decoder as markdown, and whether what is wanted was reached."""
    header = ("seed", "decoder", "recorded, PSNR (dB)", "16 imagined steps, PSNR (dB)", "ST-LPIPS", "of the last 4")
    rows = [
        (seed["seed"], title, *(_number(seed[way][name], digits) for name, digits in FIGURES))
        for seed in figures["seeds"]
        for way, title in WAYS.items()
    ]
    reached = [met(seed) for seed in figures["seeds"]]
    frames = [seed["frames_measured"] for seed in figures["seeds"]]
    verdict = (
        "Wanted is that ST-LPIPS of imagined frames falls and PSNR of recorded ones falls by at most "
        f"{DROP} dB. That is so under {sum(map(bool, reached))} of {len(reached)} seeds."
    )
    return "\n".join(
        [
            f"Task `{figures['task']}`; held-out episodes that neither tokenizer nor world has seen, "
            f"{min(frames)} to {max(frames)} imagined frames a seed; lower ST-LPIPS is better.",
            "",
            markdown(header, rows),
            "",
            "ST-LPIPS is left out: `worldrl encoders install stlpips`." if None in reached else verdict,
            "",
            f"Made by `{figures['command']}`; versions: "
            + ", ".join(f"{name} {number}" for name, number in figures["versions"].items())
            + ".",
            "",
        ]
    )


FIGURES = (("clean_psnr", 2), ("psnr", 2), ("st_lpips", 4), ("late_st_lpips", 4))
"""What is told of a decoder, and with how many digits."""


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
