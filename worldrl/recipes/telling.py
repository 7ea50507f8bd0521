"""How a recipe tells what it is at: a line, a bar, curves."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from worldrl.curves import Curves
from worldrl.recipes.boards import Board, boards_of


def bar(label: str) -> Callable[..., None]:
    """Return a progress bar that is called with done and total, or with a step and a loss; silent off a terminal."""
    began = time.perf_counter()

    def show(done: int, other: float = 0.0) -> None:
        if sys.stderr.isatty():
            text = f"{done}/{int(other)}" if isinstance(other, int) and other >= done else f"{done} {other:.4f}"
            print(f"\r{label} {text} {time.perf_counter() - began:.0f} s ", end="", file=sys.stderr, flush=True)

    return show


class Training:
    """One training of a stage, told as it goes; called with a step and its loss.

    Args:
        label: What learns: the name of its curve, or what stands before the names of several.
        boards: Where it is shown while it lasts.
        silent: Whether no bar is shown.

    Attributes:
        curves: What was told so far; ``worldrl.resuming.Stops`` keeps it with the training.
    """

    def __init__(self, label: str, boards: list[Board], *, silent: bool = False) -> None:
        self.label, self.curves = label, Curves()
        self._show, self._boards = None if silent else bar(label), boards

    def __call__(self, step: int, loss: float) -> None:
        """Tell the loss of a step."""
        if self._show is not None:
            self._show(step, loss)
        self._add(self.label, f"{self.label}/loss", step, loss)

    def tell(self, step: int, figures: Mapping[str, float]) -> None:
        """Tell several figures of a step, each of which has a curve, ``LABEL/NAME``."""
        for name, value in figures.items():
            self._add(f"{self.label}/{name}", f"{self.label}/{name}", step, value)

    def _add(self, curve: str, tag: str, step: int, value: float) -> None:
        self.curves.add(curve, step, value)
        for board in self._boards:
            board.add(tag, value, step)


class Lessons:
    """All trainings of a stage."""

    def __init__(self, boards: list[Board], *, silent: bool = False) -> None:
        self.trainings, self._boards, self._silent = list[Training](), boards, silent

    def training(self, label: str) -> Training:
        """Return another training, whose label no other has."""
        self.trainings.append(Training(label, self._boards, silent=self._silent))
        return self.trainings[-1]


@contextmanager
def lessons(config: Any, verb: str, *, silent: bool = False) -> Iterator[Lessons]:
    """Tell what a stage learns, on the boards that its options name, and keep the curves once it has ended well.

    They are kept as ``NAME.curves.json`` beside what the stage makes, in place of those of an earlier one. Beside and
    not inside, as the output is replaced whole when it is saved.

    Args:
        config: Options of the stage: ``out``, and if it has them ``tensorboard`` and ``wandb``.
        verb: What it is called.
        silent: Whether nothing is shown and kept, as in all processes of a training but the first.

    Raises:
        ConfigError: If a board is wanted and not installed.
        StorageError: If the curves cannot be written.
    """
    with ExitStack() as stack:
        boards = [] if silent else [stack.enter_context(board) for board in boards_of(config, verb)]
        told = Lessons(boards, silent=silent)
        yield told
        points = {name: curve for one in told.trainings for name, curve in one.curves.points.items()}
        if points and not silent:
            _keep(curves_path(config.out), points)


def curves_path(output: str | Path) -> Path:
    """Return where the curves of a stage are kept, given the stage's output."""
    path = Path(output)
    return path.with_name(f"{path.name}.curves.json")


def _keep(path: Path, points: Mapping[str, Any]) -> None:
    from worldrl import checkpoint

    path.parent.mkdir(parents=True, exist_ok=True)
    checkpoint.write_json(path, points)


def say(text: str) -> None:
    """Tell the user what a stage found, on one line."""
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    print(text, flush=True)
