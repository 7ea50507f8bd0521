"""What a model too large for this machine would take elsewhere: bytes, operations and hours, as a table.

``python -m worldrl.recipes.timing.plan docs/results/bench.json docs/results/scaling.md`` writes it.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worldrl.recipes.table import markdown

SIZE, SIDE, HISTORY, CODE = "base", 64, 4, 84
"""The model: World4RL's network, on frames of so many pixels a side; past frames, and numbers of an action's code."""
TRANSITIONS, PASSES = 10**8, 3
"""Recorded transitions, and how often each is learnt from."""
GPUS = (8, 16, 32, 64)
PEAK, EFFICIENCY = 989e12, (0.2, 0.3, 0.4)
"""bfloat16 FLOP/s of an H100 as its maker states them, and shares of them that training may reach: assumed, not
measured here. DIAMOND's world model reaches about 46 TFLOP/s on an RTX 4090, 28 % of that card's 165."""
FORWARDS = 3.5
"""Forward passes that a sample costs: one forward, two as much backward, and half a one for imagined pasts."""
PER_WEIGHT = 20
"""Bytes that training keeps of each weight: itself, its gradient, two moments, and the running average, 4 each."""
ROWS = 32
"""Samples that a GPU takes in a step."""


@dataclass(frozen=True)
class Model:
    """Weights, and operations of a forward pass of one sample."""

    weights: int
    flop: float


def measured() -> Model:
    """Count the model's weights and operations, without memory for either."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from worldrl.world_model.model import DiffusionWorldModel, network

    shape = (3, SIDE, SIDE)
    with torch.device("meta"):
        net = DiffusionWorldModel(obs_shape=shape, act_dim=4, net=network(shape, size=SIZE)).denoiser.net
        inputs = torch.zeros(1, *shape), torch.zeros(1), torch.zeros(1, HISTORY, *shape), torch.zeros(1, HISTORY, CODE)
    with FlopCounterMode(display=False) as counter:
        net(*inputs)
    return Model(sum(p.numel() for p in net.parameters()), float(counter.get_total_flops()))


def plan(model: Model, bench: dict[str, Any]) -> str:
    """Return the plan as markdown.

    Args:
        model: What is trained.
        bench: Figures of ``worldrl bench`` on this machine.
    """
    samples, work = TRANSITIONS * PASSES, model.flop * FORWARDS
    frame = 3 * SIDE**2
    total = samples * work
    mine, told = PER_WEIGHT * model.weights, 2 * 4 * model.weights
    sizes = [
        ("weights, gradients, moments and average, of each GPU where copied (DDP)", mine),
        *((f"the same, shared by {count} GPUs (FSDP)", mine / count) for count in GPUS),
        ("gradients that each GPU tells in a step (ring all-reduce, twice the float32 gradient)", told),
        ("observations on storage, a byte a pixel", TRANSITIONS * frame),
        ("actions, success, states", TRANSITIONS * (4 * 4 + 1 + 8 * 150)),
        (f"read for each sample ({HISTORY + 2} frames)", (HISTORY + 2) * frame),
    ]
    header = (
        "GPUs", *(f"hours at {100 * share:.0f} % of peak" for share in EFFICIENCY), "samples/s at 30 %",
        "read from storage at 30 %", f"step of {ROWS} a GPU at 30 % (ms)",
    )  # fmt: skip
    lines = [
        f"`{SIZE}` on {SIDE}-pixel frames: {model.weights / 1e6:,.0f} M weights, {model.flop / 1e9:,.0f} GFLOP a "
        f"forward pass; {TRANSITIONS:,} transitions, each learnt from {PASSES} times: {total:.2g} FLOP.",
        "",
        markdown(("", "bytes"), [(name, _bytes(count)) for name, count in sizes]),
        "",
        markdown(header, [_row(count, samples, work, frame) for count in GPUS]),
        "",
    ]
    return "\n".join([*lines, _here(bench, total), ""])


def _row(count: int, samples: float, work: float, frame: int) -> tuple[str, ...]:
    rates = [count * PEAK * share / work for share in EFFICIENCY]
    hours = [f"{samples / rate / 3600:,.1f}" for rate in rates]
    read = f"{_bytes(rates[1] * (HISTORY + 2) * frame)}/s"
    return str(count), *hours, f"{rates[1]:,.0f}", read, f"{1000 * ROWS * count / rates[1]:,.0f}"


def _here(bench: dict[str, Any], total: float) -> str:
    """Say what this machine was measured to do, and what the same would take on it."""
    rows = {(row["group"], row["name"]): row for row in bench["rows"]}
    trained, threads = rows["training", "frames, small"], bench["summary"]["machine"]["threads"]
    flops = trained["rate"] * trained["mflop"] * 1e6
    fast = next(row for row in bench["rows"] if row["group"] == "real environment" and "fast drawing" in row["name"])
    hours, years = TRANSITIONS / fast["rate"] / 3600, total / flops / 3600 / 24 / 365
    return (
        f"Measured on {threads} cores without a GPU: training of the small frame model does {flops / 1e9:,.0f} "
        f"GFLOP/s, at which the plan above would take {years:,.0f} years; the real task gives {fast['rate']:,.0f} "
        f"steps/s a core with fast drawing, so that {TRANSITIONS:,} transitions take {hours:,.0f} core-hours, "
        f"{hours / 256:.1f} hours on 256 cores."
    )


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:,.3g} {unit}"
        count /= 1000
    return f"{count:,.3g} TB"


if __name__ == "__main__":
    from worldrl import checkpoint

    Path(sys.argv[2]).write_text(plan(measured(), checkpoint.read_json(Path(sys.argv[1]))))
