"""Training loops that go on after a stop: what they are made of, kept now and then in a folder that is whole or absent.

A loop that was stopped and goes on ends as one that was not: weights, optimisers, learning rates and generators are
kept, and nothing else may change between two steps.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from worldrl import checkpoint, signals
from worldrl.checkpoint import Checkpoint
from worldrl.curves import Curves
from worldrl.errors import CheckpointError, ConfigError

KIND = "training"
Progress = Callable[[int, float], None]
Schedule = torch.optim.lr_scheduler.LRScheduler


def _silent(text: str) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Stops:
    """Where a training that may be stopped is kept, and after how many steps each time.

    What is kept stays when all steps are done: whoever needs it no more removes the folder. ``tell`` is told in one
    line where a training goes on. ``curves``, which are drawn by whoever is told of the progress, are kept with it and
    are, when it goes on, what they were at that step.
    """

    folder: Path
    every: int
    tell: Callable[[str], None] = _silent
    curves: Curves = field(default_factory=Curves)


@dataclass(frozen=True)
class Parts:
    """All that changes in a loop: modules with weights, optimisers, learning rates, generators; each by a name."""

    modules: Mapping[str, nn.Module]
    optimizers: Mapping[str, torch.optim.Optimizer] = field(default_factory=dict)
    schedules: Mapping[str, Schedule] = field(default_factory=dict)
    generators: Mapping[str, torch.Generator] = field(default_factory=dict)

    def tensors(self) -> dict[str, Tensor]:
        """Return what of it is tensors, by name."""
        kept = {f"{name}.{key}": t for name, module in self.modules.items() for key, t in module.state_dict().items()}
        for name, optimizer in self.optimizers.items():
            for i, moments in optimizer.state_dict()["state"].items():
                kept |= {f"{name}/{i}/{key}": torch.as_tensor(value) for key, value in moments.items()}
        return kept | {f"chance/{name}": rng.get_state() for name, rng in self.generators.items()}

    def numbers(self) -> dict[str, Any]:
        """Return what of it is numbers, as plain JSON."""
        rates = {name: [group["lr"] for group in one.param_groups] for name, one in self.optimizers.items()}
        plain = (int, float, bool, list)
        schedules = {
            name: {key: value for key, value in one.state_dict().items() if isinstance(value, plain)}
            for name, one in self.schedules.items()
        }
        return {"rates": rates, "schedules": schedules}

    def restore(self, kept: Checkpoint) -> None:
        """Make everything what it was.

        Raises:
            CheckpointError: If what was kept does not fit.
        """
        for name, module in self.modules.items():
            checkpoint.load_state(module, within(kept.tensors, f"{name}."), path=kept.path)
        with checkpoint.described(kept.path, "this training"):
            for name, optimizer in self.optimizers.items():
                groups = optimizer.state_dict()["param_groups"]
                rates = kept.config["rates"][name]
                state = dict[int, dict[str, Tensor]]()
                for key, tensor in within(kept.tensors, f"{name}/").items():
                    index, _, what = key.partition("/")
                    state.setdefault(int(index), {})[what] = tensor
                groups = [group | {"lr": rate} for group, rate in zip(groups, rates, strict=True)]
                optimizer.load_state_dict({"state": state, "param_groups": groups})
            for name, schedule in self.schedules.items():
                schedule.load_state_dict(kept.config["schedules"][name])
            for name, rng in self.generators.items():
                rng.set_state(kept.tensors[f"chance/{name}"].clone())


def is_late(step: int, steps: int) -> bool:
    """Return whether a step, counted from 0, is in the last tenth of them, whose losses are told in the end."""
    return step >= min(0.9 * steps, steps - 1)


def within(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names begin so, by the rest of their names."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def run_steps(
    take: Callable[[int], float],
    *,
    steps: int,
    parts: Parts,
    stops: Stops | None = None,
    about: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> float:
    """Take the steps of a training that are left, all of them where nothing was kept.

    Args:
        take: Takes one step, given its number, and returns the loss.
        steps: Of the whole training.
        parts: What a step changes.
        stops: Where it is kept; None for nowhere. A signal is then granted after the step at hand is kept.
        about: What tells this training from others, as plain JSON.
        progress: Called with the steps done and the loss.

    Returns:
        The mean loss of the last tenth of the steps.

    Raises:
        CheckpointError: If what was kept is damaged.
        ConfigError: If it is of a training with other options.
        StorageError: If it cannot be kept; what was kept before stays.
        Stopped: If a signal asked for it.
    """
    about, done, tail = {**(about or {}), "steps": steps}, 0, list[float]()
    kept = None if stops is None else find(stops.folder, about)
    if kept is not None and stops is not None:
        parts.restore(kept)
        with checkpoint.described(kept.path, "this training"):
            done, tail = int(kept.config["step"]), [float(loss) for loss in kept.config["tail"]]
            stops.curves.restore(kept.config.get("curves", {}))
        stops.tell(f"found {stops.folder.name}, goes on after step {done} of {steps}")
    with nullcontext() if stops is None else signals.patient():
        for step in range(done, steps):
            loss, done = take(step), step + 1
            if is_late(step, steps):
                tail.append(loss)
            if progress is not None:
                progress(done, loss)
            if stops is not None and (done % stops.every == 0 or done == steps or signals.stopping()):
                numbers = {"step": done, "tail": tail, "curves": stops.curves.state()} | parts.numbers()
                keep(stops.folder, about, numbers, parts.tensors())
                signals.grant()
    return sum(tail) / max(1, len(tail))


def keep(folder: Path, about: Mapping[str, Any], numbers: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Keep a training in place of what was kept of it before, which stays until this is whole.

    Raises:
        StorageError: If it cannot be written.
    """
    checkpoint.save(folder, kind=KIND, config={**numbers, "about": dict(about)}, tensors=tensors)


def find(folder: Path, about: Mapping[str, Any]) -> Checkpoint | None:
    """Return what was kept of a training, or None.

    Raises:
        CheckpointError: If it is damaged.
        ConfigError: If it is of a training with other options.
    """
    if not folder.exists():
        return None
    try:
        kept = checkpoint.load(folder, kind=KIND)
    except CheckpointError as error:
        raise CheckpointError(f"{str(error).rstrip('.')}; remove {folder} to begin anew.") from error
    found = kept.config.get("about")
    require_same(found if isinstance(found, dict) else {}, about, folder=folder)
    return kept


def require_same(
    found: Mapping[str, Any], wanted: Mapping[str, Any], *, folder: Path, free: Collection[str] = ()
) -> list[str]:
    """Refuse to go on with what was begun under other options.

    Args:
        found: The options it was begun with, nested or not.
        wanted: Those of now.
        folder: Where it lies.
        free: Options that change no result, by the last part of their names: they may differ.

    Returns:
        What differs among the free ones, in words.

    Raises:
        ConfigError: With the first option that differs, what it was and what it is.
    """
    was, now = leaves(found), leaves(wanted)
    told = []
    for name in [*now, *(name for name in was if name not in now)]:
        before, after = (repr(one[name]) if name in one else "nothing" for one in (was, now))
        if before == after:
            continue
        if name.rpartition(".")[2] not in free:
            raise ConfigError(
                f"{name} must be {before} to go on with {folder}, got {after}: begin anew in another folder, or "
                "remove that one."
            )
        told.append(f"{name} is {after}, was {before}")
    return told


def leaves(tree: Any, name: str = "") -> dict[str, Any]:
    """Return the values of nested mappings and sequences by dotted name, as JSON has them."""
    entries: Sequence[tuple[Any, Any]] = ()
    if isinstance(tree, Mapping):
        entries = list(tree.items())
    elif isinstance(tree, Sequence) and not isinstance(tree, str):
        entries = list(enumerate(tree))
    else:
        return {name: tree}
    if not entries:
        return {name: {} if isinstance(tree, Mapping) else []} if name else {}
    return {k: v for key, value in entries for k, v in leaves(value, f"{name}.{key}" if name else str(key)).items()}
