"""Run a verb in several processes of this machine, through torch's launcher."""

import json
import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

from worldrl.errors import error_of
from worldrl.recipes.config import changes

ERROR_FILE = "TORCHELASTIC_ERROR_FILE"
"""Where a launcher looks for what a process has to say of its end."""


def launch(verb: str, config: Any, *, processes: int) -> None:
    """Run a verb in as many processes, and wait until all of them are done; where one fails, the others are stopped.

    Args:
        verb: What they run.
        config: Under which options.
        processes: How many.

    Raises:
        WorldRLError: With what the first that failed had to say, and of its kind.
    """
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.getLogger("torch.distributed").setLevel(logging.CRITICAL)  # a page for what is one sentence
    how = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=processes, rdzv_backend="c10d", rdzv_endpoint="localhost:0",
        max_restarts=0, monitor_interval=0.2, run_id=uuid4().hex,
    )  # fmt: skip
    words = ["-m", "worldrl.cli", verb, *changes(config, quoted=True)]
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, len(os.sched_getaffinity(0)) // processes)))
    try:
        elastic_launch(how, sys.executable)(*words)
    except ChildFailedError as error:
        rank, failure = min(error.failures.items(), key=lambda item: _aftermath(item[1]))
        sentence, code = _end(failure)
        told = f"process {rank} of {processes} died with exit code {failure.exitcode}, without a word."
        raise error_of(code)(sentence or told) from None


def _end(failure: Any) -> tuple[str | None, int]:
    """Return what a process had to say of its end, if anything, and the exit code that it meant to have.

    Stopped by the launcher while it was leaving, it has another one.
    """
    told = failure.error_file_data.get("message")
    code = told.get("extraInfo", {}).get("exit_code", failure.exitcode) if isinstance(told, dict) else failure.exitcode
    return (str(told["message"]) if isinstance(told, dict) else None), int(code)


def _aftermath(failure: Any) -> tuple[int, int]:
    """Return an order in which what went wrong by itself comes before what followed from it.

    First those that say why they end, then those that something killed, then those whom another's end took by surprise
    (which looks like a bug), last those that the launcher stopped. Its clock knows whole seconds only.
    """
    sentence, code = _end(failure)
    if code == -signal.SIGTERM and sentence is None:
        return 3, failure.timestamp
    if code == 1:
        return 2, failure.timestamp
    return int(sentence is None), failure.timestamp


def tell_launcher(sentence: str, code: int) -> bool:
    """Tell the launcher that began this process why it ends, and with which exit code; return whether there is one."""
    file = os.environ.get(ERROR_FILE)
    if not file:
        return False
    about = {"timestamp": str(int(time.time())), "py_callstack": sentence, "exit_code": code}
    Path(file).write_text(json.dumps({"message": {"message": sentence, "extraInfo": about}}))
    return True
