"""How a recipe tells what it is at: a line, a bar, a curve."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from worldrl.errors import first_line
from worldrl.recipes.options import check_tensorboard


def bar(label: str) -> Callable[..., None]:
    """Return a progress bar that is called with done and total, or with a step and a loss; silent off a terminal."""
    began = time.perf_counter()

    def show(done: int, other: float = 0.0) -> None:
        if sys.stderr.isatty():
            text = f"{done}/{int(other)}" if isinstance(other, int) and other >= done else f"{done} {other:.4f}"
            print(f"\r{label} {text} {time.perf_counter() - began:.0f} s ", end="", file=sys.stderr, flush=True)

    return show


@contextmanager
def curve(label: str, folder: str) -> Iterator[Callable[[int, float], None]]:
    """Give a progress bar that also writes the losses it is called with to a folder for TensorBoard, if there is one.

    Raises:
        ConfigError: If TensorBoard is wanted and not installed.
    """
    show = bar(label)
    if not folder:
        yield show
        return
    check_tensorboard(folder)
    board = _Board(folder)

    def both(step: int, loss: float) -> None:
        show(step, loss)
        board.call("add_scalar", f"{label}/loss", loss, step)

    try:
        yield both
    finally:
        board.call("close")


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
