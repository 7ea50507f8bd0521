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
    from torch.utils.tensorboard import SummaryWriter

    works = True

    def attempt(act: Callable[..., Any], *args: Any) -> Any:
        """Call the writer; once it has failed it is left alone, for training is worth more than its curve."""
        nonlocal works
        try:
            return act(*args) if works else None
        except Exception as error:
            works = False
            print(f"tensorboard={folder} is not written any more: {first_line(error)}.", file=sys.stderr)
            return None

    writer = attempt(SummaryWriter, folder)

    def both(step: int, loss: float) -> None:
        show(step, loss)
        attempt(lambda: writer.add_scalar(f"{label}/loss", loss, step))

    try:
        yield both
    finally:
        attempt(lambda: writer.close())


def say(text: str) -> None:
    """Tell the user what a stage found, on one line."""
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    print(text, flush=True)
