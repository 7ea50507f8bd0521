"""How a recipe tells what it is at: a line, a bar, a curve."""

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from worldrl.errors import CheckpointError, first_line
from worldrl.recipes.options import check_tensorboard

MOST = 512
"""Points of a kept curve, at most (our choice: more than a page is wide)."""


def bar(label: str) -> Callable[..., None]:
    """Return a progress bar that is called with done and total, or with a step and a loss; silent off a terminal."""
    began = time.perf_counter()

    def show(done: int, other: float = 0.0) -> None:
        if sys.stderr.isatty():
            text = f"{done}/{int(other)}" if isinstance(other, int) and other >= done else f"{done} {other:.4f}"
            print(f"\r{label} {text} {time.perf_counter() - began:.0f} s ", end="", file=sys.stderr, flush=True)

    return show


@contextmanager
def curve(label: str, folder: str, beside: str = "") -> Iterator[Callable[[int, float], None]]:
    """Give a progress bar that also keeps the losses it is called with.

    Args:
        label: What learns.
        folder: For TensorBoard; empty for none.
        beside: The output of the stage, beside which ``NAME.curves.json`` keeps the losses once the stage has ended
            well; empty for none. Beside and not inside, as the output is replaced whole when it is saved.

    Raises:
        ConfigError: If TensorBoard is wanted and not installed.
        StorageError: If the losses cannot be written.
    """
    show, seen, writer = bar(label), _Thinned(), _writer(folder) if folder else None

    def tell(step: int, loss: float) -> None:
        show(step, loss)
        seen.add(step, loss)
        if writer is not None:
            writer.call("add_scalar", f"{label}/loss", loss, step)

    try:
        yield tell
    finally:
        if writer is not None:
            writer.call("close")
    if beside and seen.points:
        _keep(curves_path(beside), label, seen.points)


def curves_path(output: str | Path) -> Path:
    """Return where the losses of a stage are kept, given the stage's output."""
    path = Path(output)
    return path.with_name(f"{path.name}.curves.json")


class _Thinned:
    """Points ``(step, loss)``, evenly spaced and never more than ``MOST``, however many came; not finite: left out."""

    def __init__(self) -> None:
        self.points: list[tuple[int, float]] = []
        self._every, self._count = 1, 0

    def add(self, step: int, loss: float) -> None:
        if self._count % self._every == 0 and math.isfinite(loss):
            self.points.append((int(step), float(loss)))
        self._count += 1
        if len(self.points) >= MOST:
            self.points, self._every = self.points[::2], 2 * self._every


def _keep(path: Path, label: str, points: list[tuple[int, float]]) -> None:
    """Put one curve beside those that the same stage left before."""
    from worldrl import checkpoint

    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        others = checkpoint.read_json(path) if path.exists() else {}
    except CheckpointError:  # a damaged file of curves must not end a stage that has learnt
        others = {}
    checkpoint.write_json(path, others | {label: points})


def _writer(folder: str) -> "_Board":
    check_tensorboard(folder)
    return _Board(folder)


class _Board:
    """TensorBoard until it fails once, which is told: a training is worth more than its curve."""

    def __init__(self, folder: str) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer: Any = None
        try:
            self.writer = SummaryWriter(folder)
        except Exception as error:
            self._give_up(error)

    def call(self, name: str, *values: Any) -> None:
        """Call a method of TensorBoard's, unless it has failed before."""
        if self.writer is None:
            return
        try:
            getattr(self.writer, name)(*values)
        except Exception as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self.writer = None
        print(f"worldrl: TensorBoard fails, this goes on without it: {first_line(error)}.", file=sys.stderr)


def say(text: str) -> None:
    """Tell the user what a stage found, on one line."""
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    print(text, flush=True)
