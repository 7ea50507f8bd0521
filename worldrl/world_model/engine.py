"""Where gradient steps are taken: in one process or in many that share each batch, through Accelerate."""

import os
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from worldrl.errors import ConfigError, DeviceError, first_line

PRECISIONS = ("no", "bf16")
"""How numbers are kept in the network: as float32, or as bfloat16 beside float32 weights."""


class Engine:
    """The processes that ``accelerate launch`` or ``torchrun`` began, or this one alone.

    Each batch is cut into ``processes * accumulate`` parts of as many rows as can be; what is learnt is the same
    however it is cut, but for rounding.

    Args:
        accumulate: Parts of its rows that each process takes one after the other before the weights change.
        precision: A name in ``PRECISIONS``.
        shard: Whether each process keeps a share of the weights and of the optimiser (FSDP) rather than all (DDP).
        device: ``cpu`` or ``cuda``, where each process has a GPU of its own.
        patience_s: Seconds after which processes that do not answer are given up.

    Attributes:
        processes: How many there are.
        rank: Which of them this is; 0 is the one that judges and saves.
        device: Of this process.

    Raises:
        ConfigError: If an argument is out of range, or the others are not there in time.
        DeviceError: If there are fewer devices than processes here.
    """

    def __init__(
        self,
        *,
        accumulate: int = 1,
        precision: str = "no",
        shard: bool = False,
        device: str = "cpu",
        patience_s: float = 120.0,
    ) -> None:
        from accelerate import Accelerator, InitProcessGroupKwargs
        from accelerate.state import AcceleratorState

        if accumulate < 1:
            raise ConfigError(f"accumulate must be at least 1, got {accumulate}.")
        if precision not in PRECISIONS:
            raise ConfigError(f"precision must be one of {', '.join(PRECISIONS)}, got '{precision}'.")
        check_devices(device, launched("LOCAL_WORLD_SIZE"))
        AcceleratorState._reset_state()  # it outlives an engine, and refuses one of another precision
        try:
            self._accelerator = Accelerator(
                cpu=device == "cpu",
                mixed_precision=precision,
                kwargs_handlers=[InitProcessGroupKwargs(timeout=timedelta(seconds=patience_s))],
            )
        except (dist.DistError, ValueError, OSError) as error:
            raise ConfigError(
                f"the other processes must be there within {patience_s:g} s, got: {first_line(error)}. "
                "See that MASTER_ADDR and MASTER_PORT are the same and reachable everywhere."
            ) from error
        self.accumulate, self.precision = accumulate, precision
        self.processes, self.rank = self._accelerator.num_processes, self._accelerator.process_index
        self.shard = shard and self.processes > 1
        self.device = self._accelerator.device

    def rows(self, total: int, part: int) -> slice:
        """Return which of ``total`` rows this process takes in one of its ``accumulate`` parts.

        Raises:
            ConfigError: If there are fewer rows than parts.
        """
        parts, index = self.processes * self.accumulate, self.rank * self.accumulate + part
        if total < parts:
            raise ConfigError(
                f"batch_size must be at least {parts}, a transition for each part of {self.processes} processes, "
                f"got {total}."
            )
        return slice(total * index // parts, total * (index + 1) // parts)

    def spread(self, net: nn.Module) -> nn.Module:
        """Return what must be called in place of a network that is on ``device``, so that all processes learn."""
        if not self.shard:
            prepared: nn.Module = self._accelerator.prepare_model(net)
            return prepared
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

        warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view")  # which nobody changes in place
        fully_shard(net, mesh=init_device_mesh(self.device.type, (self.processes,)))
        for method in ("look", "answer"):  # imagination calls these, not the network
            register_fsdp_forward_method(net, method)
        return net

    def alone(self, called: nn.Module, last: bool) -> AbstractContextManager[Any]:
        """Return the context of a part: only after the last one do processes tell each other their gradients."""
        return nullcontext() if last or self.shard else self._accelerator.no_sync(called)

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context in which the network computes."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def sum(self, value: Tensor) -> Tensor:
        """Return the sum over processes."""
        total: Tensor = self._accelerator.reduce(value, "sum")
        return total

    def meet(self) -> None:
        """Wait for all processes."""
        self._accelerator.wait_for_everyone()

    @contextmanager
    def first(self) -> Iterator[None]:
        """Let the first process go ahead, so that the others find what it made; all leave together.

        However long that takes: who dies meanwhile is noticed by the launcher.
        """
        if self.processes == 1:
            yield
            return
        group = dist.new_group(backend="gloo", timeout=timedelta(days=7))
        if self.rank > 0:
            dist.barrier(group)
        yield
        if self.rank == 0:
            dist.barrier(group)
        dist.barrier(group)

    def close(self) -> None:
        """Leave the other processes."""
        self._accelerator.end_training()


def launched(name: str = "WORLD_SIZE") -> int:
    """Return how many processes a launcher began, here or everywhere; 1 where there was none."""
    return int(os.environ.get(name, os.environ.get("WORLD_SIZE", "1")))


def check_devices(device: str, processes: int) -> None:
    """Refuse more processes than this machine has devices for.

    Raises:
        ConfigError: If there is no such kind of device.
        DeviceError: If there are too few.
    """
    if device not in ("cpu", "cuda"):
        raise ConfigError(f"device must be cpu or cuda, got '{device}'.")
    found = torch.cuda.device_count() if device == "cuda" else processes
    if found < processes:
        raise DeviceError(
            f"{processes} processes need {processes} GPUs, got {found}: ask for fewer, or for device=cpu."
        )
