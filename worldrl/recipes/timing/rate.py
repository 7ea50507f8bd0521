"""Rates of calls, and the limits of the machine they are held against."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

from worldrl.evaluation.memory import forget_peak, peak_memory_gb

WARM_UP = 2
SIDE, BYTES = 2048, 2**28
"""Side of the matrices whose product, and size of the block whose copy, are this machine's limits."""


@dataclass(frozen=True)
class Row:
    """One thing that was timed.

    Attributes:
        group: What it belongs to, such as ``imagined tokens``.
        name: What it is within its group.
        rate: How many a second.
        unit: Of what.
        batch: How many at once.
        steps: Sampling steps, where there are any.
        parameters: Of the model, where there is one.
        mflop: Millions of floating-point operations each of them takes, where they are counted.
        share: Of the machine's limit, measured just before: of its matrix product where operations are counted, of its
            copy where bytes are moved; None where neither says anything.
        memory_mb: Most memory that the process held meanwhile; None where the system does not tell.
    """

    group: str
    name: str
    rate: float
    unit: str
    batch: int = 1
    steps: int | None = None
    parameters: int | None = None
    mflop: float | None = None
    share: float | None = None
    memory_mb: float | None = None


def rate(call: Callable[[], Any], seconds: float) -> float:
    """Return calls a second: one over the median time of those that fit into ``seconds``, and of three at least.

    The median, because a machine that others use too has bad moments.
    """
    for _ in range(WARM_UP):
        call()
    took, began = list[float](), time.perf_counter()
    while len(took) < 3 or time.perf_counter() - began < seconds:
        start = time.perf_counter()
        call()
        took.append(time.perf_counter() - start)
    return 1.0 / median(took)


def timed(
    call: Callable[[], Any],
    *,
    group: str,
    name: str,
    unit: str,
    seconds: float,
    batch: int = 1,
    steps: int | None = None,
    parameters: int | None = None,
    moved: int | None = None,
) -> Row:
    """Time a call that does ``batch`` of something.

    Args:
        call: What is timed.
        group: See ``Row``, as for the others.
        name: See ``Row``.
        unit: See ``Row``.
        seconds: How long, at least.
        batch: See ``Row``.
        steps: See ``Row``.
        parameters: See ``Row``.
        moved: Bytes that a call returns, where moving them is its work; None where that is arithmetic, 0 where neither.
    """
    limit = matrix_limit() if moved is None else copy_limit() if moved else 0.0
    forgot = forget_peak()
    calls = rate(call, seconds)
    memory = 1000 * peak_memory_gb(own=True) if forgot else None
    work = operations(call) / 1e9 if moved is None else moved / 1e9
    share = calls * work / limit if work else None
    mflop = 1000 * work / batch if moved is None and work else None
    return Row(group, name, calls * batch, unit, batch, steps, parameters, mflop, share, memory)


def operations(call: Callable[[], Any]) -> int:
    """Return the floating-point operations of a call's matrix products and convolutions; nothing else is counted."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        call()
    return int(counter.get_total_flops())


def matrix_limit(seconds: float = 0.2) -> float:
    """Return GFLOP/s of a large float32 matrix product, as this machine is now."""
    import torch

    one, other = torch.randn(SIDE, SIDE), torch.randn(SIDE, SIDE)
    return 2 * SIDE**3 * rate(partial(torch.mm, one, other), seconds) / 1e9


def copy_limit(seconds: float = 0.2) -> float:
    """Return GB/s at which a large block is copied, as this machine is now."""
    import torch

    block, to = torch.zeros(BYTES // 4), torch.empty(BYTES // 4)
    return BYTES * rate(partial(to.copy_, block), seconds) / 1e9
