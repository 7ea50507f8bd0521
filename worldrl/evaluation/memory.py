"""What a run cost: peak memory, and seconds by stage."""

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def peak_memory_gb(*, own: bool = False) -> float:
    """Return the most memory that this process or any one of its finished children has held, in gigabytes (1e9 bytes).

    It is resident memory of one process, the largest. The two are not added up: on Linux a child's peak starts from
    what its parent held, so even a tiny child would count the parent twice.

    Args:
        own: Leave the children out.
    """
    return max(_own_peak(), 0 if own else _usage(resource.RUSAGE_CHILDREN)) / 1e9


def forget_peak() -> bool:
    """Let this process's own peak begin anew from what it holds now; return whether the system can do that."""
    try:
        Path("/proc/self/clear_refs").write_text("5")  # Linux: resets VmHWM
    except OSError:
        return False
    return True


def _own_peak() -> int:
    """Return bytes; where Linux tells it, not by ``getrusage``, in which the parent's peak is inherited."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    kibibytes = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
    return 1024 * kibibytes[0] if kibibytes else _usage(resource.RUSAGE_SELF)


def _usage(who: int) -> int:
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux kibibytes
    return resource.getrusage(who).ru_maxrss * unit


class Stopwatch:
    """Collect wall-clock seconds by stage.

    ``seconds_by_stage`` is in the order in which the stages first ended; a stage that comes again adds up, one that
    fails counts until it failed, and one within another counts in both.
    """

    def __init__(self) -> None:
        self.seconds_by_stage: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what stands under ``with watch.stage("fit"):``."""
        start = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - start
            self.seconds_by_stage[name] = self.seconds_by_stage.get(name, 0.0) + spent
