"""Boards on which figures are shown while a stage learns: TensorBoard and Weights & Biases."""

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, cast

from worldrl.errors import ConfigError, first_line

WAIT_S = 20.0
"""Seconds that a stage waits for the server of Weights & Biases before it goes on without it (our choice)."""


def check_boards(config: Any) -> None:
    """Refuse to show figures on a board that is not installed.

    Args:
        config: Options of a stage, with ``tensorboard`` and ``wandb``.

    Raises:
        ConfigError: If one is named and its package is missing.
    """
    for option, name in (("tensorboard", "TensorBoard"), ("wandb", "Weights & Biases")):
        value = getattr(config, option)
        if value and find_spec(option) is None:
            raise ConfigError(f"{option}={value} needs {name}: pip install 'worldrl[{option}]'.")


def boards_of(config: Any, verb: str) -> list["Board"]:
    """Return the boards that the options of a stage name.

    Args:
        config: The options; those that have no ``tensorboard`` and ``wandb`` name none.
        verb: What the stage is called.

    Raises:
        ConfigError: If one is not installed.
    """
    folder, project = getattr(config, "tensorboard", ""), getattr(config, "wandb", "")
    if folder or project:
        check_boards(config)
    boards = [Board("TensorBoard", lambda: _TensorBoard(folder))] if folder else []
    return [*boards, Board("Weights & Biases", lambda: _Wandb(project, config, verb))] if project else boards


class Shown(Protocol):
    """Whatever shows figures; it may fail."""

    def add(self, tag: str, value: float, step: int) -> None: ...  # noqa: D102

    def close(self, *, failed: bool) -> None: ...  # noqa: D102


class Board:
    """Shows figures until that fails once, which is told: a training is worth more than its curve.

    Args:
        name: What it is told as.
        begin: Makes what shows them.
    """

    def __init__(self, name: str, begin: Callable[[], Shown]) -> None:
        self.name, self._shown = name, cast(Shown | None, None)
        self._shown = self._try(begin)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shown is not None:
            self._try(self._shown.close, failed=kind is not None)

    def add(self, tag: str, value: float, step: int) -> None:
        """Show a figure of a step."""
        if self._shown is not None:
            self._try(self._shown.add, tag, value, step)

    def _try(self, do: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        try:
            return do(*args, **kwargs)
        except Exception as error:
            self._shown = None
            print(f"worldrl: {self.name} fails, this goes on without it: {first_line(error)}.", file=sys.stderr)


class _TensorBoard:
    def __init__(self, folder: str) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(folder)

    def add(self, tag: str, value: float, step: int) -> None:
        self._writer.add_scalar(tag, value, step)

    def close(self, *, failed: bool) -> None:
        self._writer.close()


class _Wandb:
    """A run of Weights & Biases: one a stage, in a group of what lies in one folder.

    Every training counts its own steps, which W&B's single count of a run cannot hold: each figure is drawn over the
    ``step`` beside it. Nobody is asked for a key: without one the run stays on this machine, until ``wandb sync``.
    """

    def __init__(self, project: str, config: Any, verb: str) -> None:
        import wandb

        out = Path(config.out).absolute()
        self._run: Any = wandb.init(
            project=project, name=f"{out.parent.name}/{out.name}", group=out.parent.name, job_type=verb,
            config=asdict(config), mode=_mode(wandb), settings=wandb.Settings(console="off", init_timeout=WAIT_S),
        )  # fmt: skip
        self._over = set[str]()

    def add(self, tag: str, value: float, step: int) -> None:
        over = f"{tag.rpartition('/')[0]}/step"
        if over not in self._over:
            self._run.define_metric(over, hidden=True)
            self._run.define_metric(f"{over.removesuffix('step')}*", step_metric=over)
            self._over.add(over)
        self._run.log({tag: value, over: step})

    def close(self, *, failed: bool) -> None:
        self._run.finish(exit_code=int(failed))


def _mode(wandb: Any) -> str | None:
    """Return how a run reaches W&B: as the environment says, else online where there is a key, else offline."""
    if os.environ.get("WANDB_MODE"):
        return None
    with suppress(Exception):
        if wandb.login(prompt=False, verify=False):
            return None
    print("worldrl: Weights & Biases has no key here (wandb login), its run stays offline.", file=sys.stderr)
    return "offline"
