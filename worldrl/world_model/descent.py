"""Gradient steps of a network: optimiser, learning rate, running average, and how they go on after a stop."""

import copy
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from worldrl import checkpoint, signals
from worldrl.errors import CheckpointError, NumericsError
from worldrl.resuming import KIND, Progress, Stops, is_late, require_same
from worldrl.world_model.engine import Engine

LATEST = "latest.json"
MOMENTS = ("exp_avg", "exp_avg_sq", "step")


class Descent:
    """Train a network by AdamW with a running average of its weights, alone or beside other processes.

    Args:
        net: The network; changed in place, and moved to the engine's device.
        engine: Who takes part.
        lr: Highest learning rate; warmed up over 100 steps, then falling along a cosine.
        steps: Gradient steps.
        average: How much of the running average is kept at each step.
        stops: What to go on from, and to keep; None for neither.
        about: What tells this training from another one, as plain JSON.

    Attributes:
        called: What is called in place of the network.

    Raises:
        CheckpointError: If what was kept is damaged, or of another number of processes.
        ConfigError: If it is of a training with other options.
    """

    def __init__(
        self,
        net: nn.Module,
        engine: Engine,
        *,
        lr: float,
        steps: int,
        average: float,
        stops: Stops | None = None,
        about: dict[str, Any] | None = None,
    ) -> None:
        self.engine, self.steps, self.average, self.stops = engine, steps, average, stops
        self._about = {**(about or {}), "lr": lr, "steps": steps, "average": average}
        self._plain = copy.deepcopy(net) if engine.shard else net
        self.net = net.to(engine.device)
        self.called = engine.spread(self.net)
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=lr, weight_decay=1e-3, betas=(0.9, 0.99))
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, lr, total_steps=steps, pct_start=min(0.3, 100 / steps), cycle_momentum=False
        )
        self._averaged = {name: p.detach().clone() for name, p in self.net.named_parameters()}
        self._next, self._tail = 0, list[float]()
        if stops is not None and (stops.folder / LATEST).exists():
            self._go_on(stops)
            stops.tell(f"found {stops.folder.name}, goes on after step {self._next} of {steps}")

    def run(self, loss_of: Callable[[int, int], Tensor], progress: Progress | None = None) -> float:
        """Take the steps that are left, and return the mean loss of the last tenth of all.

        Left are all steps, or those after the last one that was kept in ``stops``. There, a process that is alone
        grants a signal once the step at hand is kept; of several, none can tell when the others would.

        Args:
            loss_of: Returns this process's share of the loss, given the step and which of its ``accumulate`` parts: all
                shares add up to it.
            progress: Called with the step and the loss.

        Raises:
            NumericsError: If the loss or its gradient is not finite.
            Stopped: If a signal asked for it.
        """
        alone = self.stops is not None and self.engine.processes == 1
        with signals.patient() if alone else nullcontext():
            for step in range(self._next, self.steps):
                loss, done = self._take(step, partial(loss_of, step)), step + 1
                if is_late(step, self.steps):
                    self._tail.append(loss)
                if progress is not None:
                    progress(done, loss)
                asked = alone and signals.stopping()
                if self.stops is not None and (done % self.stops.every == 0 or done == self.steps or asked):
                    self._keep(self.stops, done)
                if asked:
                    signals.grant()
        return sum(self._tail) / max(1, len(self._tail))

    def _take(self, step: int, loss_of: Callable[[int], Tensor]) -> float:
        """Take one gradient step and return the loss."""
        self.optimizer.zero_grad()
        told = torch.zeros((), device=self.engine.device)
        for part in range(self.engine.accumulate):
            with self.engine.alone(self.called, part + 1 == self.engine.accumulate):
                loss = loss_of(part)
                # Processes average their gradients, and the shares of the loss are to be added.
                (loss * self.engine.processes).backward()
            told += loss.detach()
        told = self.engine.sum(told)
        _check_finite(told, step)
        _check_finite(_whole(torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)), step, "size of the gradient")
        self.optimizer.step()
        self._schedule.step()
        keep = min(self.average, (1 + step) / (10 + step))
        with torch.no_grad():
            for name, p in self.net.named_parameters():
                self._averaged[name].lerp_(p, 1 - keep)
        return told.item()

    def finish(self) -> nn.Module:
        """Return the whole network on the CPU, with the averaged weights."""
        with torch.no_grad():
            for name, p in self.net.named_parameters():
                p.copy_(self._averaged[name])
            if self.engine.shard:
                self._plain.load_state_dict({name: _whole(t) for name, t in self.net.state_dict().items()})
        return self._plain.to("cpu")

    def _keep(self, stops: Stops, done: int) -> None:
        """Keep where the training is: first every process its share, then the word that they are whole."""
        folder = stops.folder
        if self.engine.shard or self.engine.rank == 0:
            checkpoint.save(self._share_of(folder, done), kind=KIND, config={"step": done}, tensors=self._state())
        self.engine.meet()
        if self.engine.rank == 0:
            shards = self.engine.processes if self.engine.shard else 0
            latest = {"step": done, "shards": shards, "about": self._about}
            told = {"tail": self._tail, "curves": stops.curves.state()}
            checkpoint.write_json(folder / LATEST, latest | told)
            for old in folder.glob("step-*"):
                if old.name != f"step-{done}":
                    shutil.rmtree(old, ignore_errors=True)

    def _go_on(self, stops: Stops) -> None:
        folder = stops.folder
        latest = checkpoint.read_json(folder / LATEST)
        require_same(latest.get("about") or {}, self._about, folder=folder)
        mine = self.engine.processes if self.engine.shard else 0
        if (shards := latest.get("shards")) != mine:
            told = ["weights that are whole" if one == 0 else f"weights shared by {one}" for one in (mine, shards)]
            raise CheckpointError(
                f"{folder} must hold {told[0]}, got {told[1]}: use as many processes, or remove it to begin anew."
            )
        try:
            self._next, self._tail = int(latest["step"]), [float(loss) for loss in latest.get("tail", [])]
            stops.curves.restore(latest.get("curves", {}))
        except (LookupError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"{folder / LATEST} is damaged ({error!r}): remove {folder} to begin anew."
            ) from error
        path = self._share_of(folder, self._next)
        self._restore(checkpoint.load(path, kind=KIND).tensors, path)
        self._schedule.load_state_dict({"last_epoch": self._next - 1, "_step_count": self._next})
        self._schedule.step()

    def _share_of(self, folder: Path, done: int) -> Path:
        return folder / f"step-{done}" / f"share-{self.engine.rank if self.engine.shard else 0}"

    def _state(self) -> dict[str, Tensor]:
        """Return everything that a training is made of, of a shared network the share of this process."""
        state = dict[str, Tensor]()
        for name, p in self.net.named_parameters():
            moments = self.optimizer.state[p]
            parts = {"weight": p.detach(), "average": self._averaged[name], **{m: moments[m] for m in MOMENTS}}
            state |= {f"{part}.{name}": _own(tensor) for part, tensor in parts.items()}
        return state

    @torch.no_grad()
    def _restore(self, kept: dict[str, Tensor], path: Path) -> None:
        for name, p in self.net.named_parameters():
            moments = {m: torch.zeros_like(p) if m != "step" else torch.zeros(()) for m in MOMENTS}
            self.optimizer.state[p] = moments
            for part, tensor in {"weight": p, "average": self._averaged[name], **moments}.items():
                found = kept.get(f"{part}.{name}")
                if found is None or found.shape != _own(tensor).shape:
                    raise CheckpointError(f"{path} must hold {part}.{name} of this network: remove it to begin anew.")
                _own(tensor).copy_(found)


def _own(tensor: Tensor) -> Tensor:
    """Return the share of this process."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def _whole(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def descend(
    loss: Tensor, optimizer: torch.optim.Optimizer, schedule: torch.optim.lr_scheduler.LRScheduler, step: int
) -> None:
    """Take one gradient step, or raise NumericsError if the loss or its gradient is not finite."""
    _check_finite(loss, step)
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    _check_finite(torch.nn.utils.clip_grad_norm_(parameters, 1.0), step, "size of the gradient")
    optimizer.step()
    schedule.step()


def _check_finite(value: Tensor, step: int, what: str = "loss") -> None:
    if not torch.isfinite(value):
        raise NumericsError(f"the {what} is {value.item()} at step {step}: lower lr or check the data.")
