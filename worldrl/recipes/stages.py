"""A run folder: one writer, options that stay as they were, and stages of which each is done once."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from worldrl import locks
from worldrl.errors import ConfigError, StorageError
from worldrl.recipes.telling import Training, say

FREE = ("out", "threads", "tensorboard", "wandb", "keep_every")
"""Options that change no result: a run may go on with others."""
PLACES = (*FREE, "episodes", "observation", "features")
"""Those that say only where something lies, beside them."""
LEDGER = "stages.json"


class Run:
    """The stages of a run: those that are done are skipped, and what each cost is added up over all parts.

    ``stages.json`` in the folder names the stages that are done and holds the seconds that each has taken so far. A
    stage that was killed has not told its last ones; they are missing there.

    Args:
        folder: Of the run; held by nobody else.

    Attributes:
        seconds: By stage, in the order in which they began.
        peak_memory_gb: The most of all parts, in gigabytes (1e9 bytes).
    """

    def __init__(self, folder: Path) -> None:
        from worldrl import checkpoint

        self.folder, self.seconds, self.peak_memory_gb = folder, dict[str, float](), 0.0
        self._done = list[str]()
        if (folder / LEDGER).exists():
            found = checkpoint.read_json(folder / LEDGER)
            with checkpoint.described(folder / LEDGER, "the stages of a run"):
                self.seconds = {str(name): float(seconds) for name, seconds in found["seconds"].items()}
                self._done, self.peak_memory_gb = list(map(str, found["done"])), float(found["peak_memory_gb"])

    def stage(self, name: str, do: Callable[[], object]) -> None:
        """Do what is not done yet, or go on with it, and say which."""
        from worldrl.evaluation.memory import Stopwatch

        if name in self._done:
            say(f"found {name}, skipped")
            return
        if name in self.seconds:
            say(f"found {name} begun, goes on")
        before, watch = self.seconds.setdefault(name, 0.0), Stopwatch()
        self._write()
        try:
            with watch.stage(name):
                do()
        except BaseException:
            self.seconds[name] = before + watch.seconds_by_stage[name]
            with suppress(StorageError):  # what ended the stage is what is to be told
                self._write()
            raise
        self.seconds[name] = before + watch.seconds_by_stage[name]
        self._done.append(name)
        self._write()

    def _write(self) -> None:
        from worldrl import checkpoint
        from worldrl.evaluation.memory import peak_memory_gb

        self.peak_memory_gb = max(self.peak_memory_gb, peak_memory_gb())
        told = {"done": self._done, "seconds": self.seconds, "peak_memory_gb": self.peak_memory_gb}
        checkpoint.write_json(self.folder / LEDGER, told)


@contextmanager
def run_at(folder: Path, config: Any) -> Iterator[Run]:
    """Begin a run in a folder, or go on with the one that was begun there under the same options.

    Args:
        folder: New, empty, or that of a run.
        config: Its options, a dataclass; ``config.json`` of the folder holds them.

    Raises:
        ConfigError: If the folder holds something else, or a run with other options: the first that differs is named.
        StorageError: If another process writes there, or nobody can.
    """
    from worldrl import checkpoint
    from worldrl.resuming import require_same

    file = folder / "config.json"
    if is_taken(folder) and not file.exists():
        raise ConfigError(f"out must be a new folder or that of a run, got '{folder}': name another.")
    with locks.hold(folder) as left:
        if left is not None:
            say(f"found {folder} locked by {left}, which runs no more: taken over")
        if file.exists():
            for difference in require_same(checkpoint.read_json(file), asdict(config), folder=folder, free=FREE):
                say(f"{difference}: that changes no result")
        else:
            checkpoint.write_json(file, asdict(config))
        yield Run(folder)


def kept_for(out: str) -> Path:
    """Return where the trainings of a stage are kept until what it makes stands."""
    return Path(out).with_name(f"{Path(out).name}.training")


@contextmanager
def kept_beside(out: str, *, every: int) -> Iterator[None]:
    """Hold ``OUT.training``, where a stage keeps what may be stopped, and remove it once the stage is done.

    Args:
        out: What the stage makes.
        every: How often it keeps; 0 for never, and then nothing is held.

    Raises:
        StorageError: If another process makes the same, or the folder cannot be written.
    """
    folder = kept_for(out)
    if not every:
        yield
        return
    with locks.hold(folder) as left:
        if left is not None:
            say(f"found {folder} locked by {left}, which runs no more: taken over")
        try:
            yield
        except BaseException:
            if not is_taken(folder):
                shutil.rmtree(folder, ignore_errors=True)
            raise
        shutil.rmtree(folder, ignore_errors=True)


def keeping(config: Any, training: Training, *, pipeline: str, episodes: str) -> dict[str, Any]:
    """Return what a function is given that takes ``stops``, ``about`` and ``progress``.

    Args:
        config: Options of its recipe, with ``out`` and ``keep_every``.
        training: How it is told of, under its name.
        pipeline: Hash of what it observes through.
        episodes: Identity of what it learns from.
    """
    about = {name: value for name, value in asdict(config).items() if name not in PLACES}
    return {
        "stops": stops_of(config.out, training.label, config.keep_every, training), "progress": training,
        "about": about | {"pipeline": pipeline, "episodes": episodes},
    }  # fmt: skip


def stops_of(out: str, name: str, every: int, training: Training) -> Any:
    """Return where a training of a stage is kept, and its curves with it; None for nowhere.

    Args:
        out: What the stage makes.
        name: Of what is kept.
        every: How often; 0 for never.
        training: How it is told of.
    """
    from worldrl.resuming import Stops

    return Stops(kept_for(out) / name, every, say, training.curves) if every else None


def is_taken(folder: Path) -> bool:
    """Return whether a folder is there and holds more than what a start that was killed leaves."""
    return folder.exists() and any(not path.name.startswith(".") for path in folder.iterdir())
