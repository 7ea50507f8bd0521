"""Frame models that learned from the same episodes for equally long: ours, and the published network."""

import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from worldrl.errors import ConfigError
from worldrl.recipes.table import markdown
from worldrl.recipes.telling import bar, say

HORIZON = 10
"""Open-loop steps after which pictures are compared."""
PROBE = 12
"""Gradient steps by which it is found how long one takes."""
RATED = 8
"""Imagined environments side by side, to time them."""


@dataclass(frozen=True)
class Contender:
    """A frame model and how it learns.

    Attributes:
        size: Its network, a name in ``FRAME_SIZES``.
        steps: Sampling steps.
        batch: Transitions a gradient step.
        lr: Highest learning rate.
    """

    size: str
    steps: int
    batch: int
    lr: float

    @property
    def name(self) -> str:
        """Return what it is called in the table."""
        return f"{self.size}, {self.steps} step{'s' if self.steps > 1 else ''}, lr {self.lr:g}"


CONTENDERS = (
    Contender("small", 1, 32, 2e-3),
    Contender("published", 3, 8, 1e-4),
    Contender("published", 3, 8, 1e-3),
)
"""Ours for a CPU, and DIAMOND's network at its three Euler steps: at its own learning rate, and at a higher one, as a
CPU takes but a few hundred of its gradient steps meanwhile. All denoise changes, which helps: only networks differ.
"""


def compare(
    episodes: Path, observation: Path, out: Path, *, minutes: float, seeds: Sequence[int], command: Sequence[str]
) -> str:
    """Train and measure what is not in the file yet, and return the table; each cell is kept as it is finished.

    Args:
        episodes: Data set.
        observation: Pipeline of its frames.
        out: File of the figures, with the table beside it.
        minutes: Processor time of each training.
        seeds: Of everything.
        command: What makes the table.

    Raises:
        ConfigError: If the pipeline does not observe frames, or the file is of another comparison.
    """
    from worldrl import checkpoint
    from worldrl.data.dataset import Dataset
    from worldrl.recipes.held_out import split
    from worldrl.recipes.parts import pipeline_at, tokens_of

    dataset = Dataset(episodes)
    with pipeline_at(observation, None) as pipeline:
        if len(pipeline.shape) != 3:
            raise ConfigError(f"observation must be of frames, got {pipeline.shape}: make it with encode pixels=64.")
        tokens = tokens_of(dataset, pipeline)
    train, held = split(tokens.policies, 0.15)
    about = {"task": dataset.manifest.env_id, "frames": list(pipeline.shape), "steps": dataset.num_steps,
             "minutes": minutes, "held_out": len(held)}  # fmt: skip
    told: dict[str, Any] = checkpoint.read_json(out) if out.exists() else {"about": about, "cells": {}}
    if told["about"] != about:
        raise ConfigError(f"{out} is of another comparison, {told['about']}: choose another file.")
    told["command"] = shlex.join(command)
    out.parent.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        for contender in CONTENDERS:
            key = f"{contender.name}, seed {seed}"
            if key not in told["cells"]:
                say(f"training {key}")
                found = cell(contender, tokens.subset(train), tokens.subset(held), minutes=minutes, seed=seed)
                told["cells"][key] = {**asdict(contender), "name": contender.name, "seed": seed, **found}
                checkpoint.write_json(out, told)
    text = table(told)
    out.with_suffix(".md").write_text(text)
    return text


def cell(contender: Contender, seen: Any, unseen: Any, *, minutes: float, seed: int) -> dict[str, Any]:
    """Train a frame model for so long and measure it on episodes that it has not seen."""
    import torch

    from worldrl.world_model.fit import fit_dynamics
    from worldrl.world_model.model import DiffusionWorldModel, network

    def untrained() -> DiffusionWorldModel:
        torch.manual_seed(seed)
        shape = tuple(seen.obs[0].shape[1:])
        return DiffusionWorldModel(
            obs_shape=shape, act_dim=seen.acts[0].shape[1], steps=contender.steps,
            net=network(shape, size=contender.size),
        )  # fmt: skip

    def train(model: DiffusionWorldModel, steps: int) -> list[float]:
        at, show = [time.process_time()], bar(contender.name)

        def progress(step: int, loss: float) -> None:
            at.append(time.process_time())
            show(step, loss)

        fit_dynamics(
            [model], [seen], steps=steps, batch_size=contender.batch, lr=contender.lr, seed=seed, progress=progress
        )
        return np.diff(at).tolist()

    took = float(np.mean(train(untrained(), PROBE)[PROBE // 2 :]))
    model = untrained()
    spent = train(model, max(PROBE, round(60.0 * minutes / took)))
    likeness = pictures(model.freeze(), unseen, seed=seed)
    return {
        "parameters": sum(p.numel() for p in model.denoiser.net.parameters()),
        "processor_s": sum(spent),
        "gradient_steps": len(spent),
        "rate": _rate(model),
        **likeness,
    }


def pictures(model: Any, unseen: Any, *, seed: int) -> dict[str, Any]:
    """Return PSNR and ST-LPIPS of the last of ten open-loop steps, and those of the last recorded frame held."""
    from worldrl.encoders.thumbnails import to_frames
    from worldrl.evaluation.films import compare_films
    from worldrl.evaluation.recorded import imagined_segments

    cut = imagined_segments(model, unseen, horizon=HORIZON, seed=seed)
    if cut is None:
        raise ConfigError(f"episodes must be {HORIZON} steps or longer, some of those held out: record longer ones.")
    obs, shown = cut
    real, first = obs[:, model.history :], obs[:, model.history - 1 : model.history].expand_as(shown)
    films = [[to_frames((one + 1.0) / 2.0) for one in side] for side in (real, shown, first)]
    found: dict[str, Any] = {"segments": len(obs)}
    for name, side in (("imagined", films[1]), ("held", films[2])):
        likeness = compare_films(films[0], side)
        found |= {
            f"{name}_psnr": float(likeness.psnr[-1]),
            f"{name}_st_lpips": None if likeness.st_lpips is None else float(likeness.st_lpips[-1]),
        }
    return found


def _rate(model: Any) -> float:
    """Return imagined environment steps a second of a model as it comes, with horizon and success head."""
    from worldrl.recipes.timing.imagined import imagined

    model.success_threshold = 1.0  # nothing has taught it; episodes go on to the horizon
    return imagined(model, group="", name="", batch=RATED, seconds=3.0, count=False).rate


def summary(told: Mapping[str, Any]) -> dict[str, float | None]:
    """Return means over seeds: by how much ours is better than the better of the published rows, and how fast."""
    means = {name: _means(rows) for name, rows in _by_name(told).items()}
    ours, others = means.pop(CONTENDERS[0].name, None), list(means.values())
    if ours is None or not others:
        return {}
    found = {
        "pixel_trained_rate_ratio": ours["rate"] / max(one["rate"] for one in others),
        "pixel_trained_psnr_gain": ours["imagined_psnr"] - max(one["imagined_psnr"] for one in others),
        "pixel_trained_st_lpips_gain": min(one["imagined_st_lpips"] for one in others) - ours["imagined_st_lpips"],
    }
    return {name: value if np.isfinite(value) else None for name, value in found.items()}


def table(told: Mapping[str, Any]) -> str:
    """Return a row for each contender, means over seeds with their standard deviation, as markdown."""
    about, rows, held = told["about"], [], list[dict[str, Any]]()
    for name, cells in _by_name(told).items():
        held += cells
        figures = (
            _spread(cells, figure, digits) for figure, digits in (("imagined_psnr", 2), ("imagined_st_lpips", 4))
        )
        mean = _means(cells)
        rows.append(
            (
                name, f"{cells[0]['parameters']:,}", str(len(cells)), f"{mean['processor_s'] / 60:.1f}",
                f"{mean['gradient_steps']:,.0f} of {cells[0]['batch']}", *figures, f"{mean['rate']:,.1f}",
            )
        )  # fmt: skip
    still = _means(held)
    rows.append(
        ("last frame held", "-", "-", "-", "-", f"{still['held_psnr']:.2f}", f"{still['held_st_lpips']:.4f}", "-")
    )
    header = (
        "frame model", "parameters", "seeds", "processor time (min)", "gradient steps", "PSNR after 10 (dB)",
        "ST-LPIPS after 10", f"env steps/s, batch {RATED}",
    )  # fmt: skip
    return "\n".join(
        [
            f"Task `{about['task']}`, frames {about['frames']}, {about['steps']:,} recorded steps, "
            f"{about['minutes']:g} minutes of processor time for each training, {held[0]['segments']} open-loop "
            f"segments of {about['held_out']} held-out episodes; mean and standard deviation over seeds; higher PSNR "
            "and lower ST-LPIPS are better.",
            "",
            markdown(header, rows),
            "",
            f"Made by `{told['command']}`.",
            "",
        ]
    )


def _by_name(told: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for one in told["cells"].values():
        found.setdefault(one["name"], []).append(one)
    return found


def _means(cells: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    names = (
        "rate",
        "processor_s",
        "gradient_steps",
        "imagined_psnr",
        "imagined_st_lpips",
        "held_psnr",
        "held_st_lpips",
    )
    return {name: float(np.mean([np.nan if one[name] is None else one[name] for one in cells])) for name in names}


def _spread(cells: Sequence[Mapping[str, Any]], name: str, digits: int) -> str:
    values = [one[name] for one in cells]
    if None in values:
        return "-"
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return f"{np.mean(values):.{digits}f} ({spread:.{digits}f})"
