"""Processes that work side by side and say how far they are; none outlives whoever waits for them."""

import multiprocessing
import signal
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

from worldrl.errors import DataError, WorldRLError

GRACE_S = 10.0  # for a worker to write what is whole
Job = TypeVar("Job")
Do = Callable[[Job, Callable[[], None]], None]


def work_side_by_side(do: Do[Job], jobs: Sequence[Job], *, count: Callable[[], None], timeout_s: float) -> None:
    """Do every job in a process of its own, and wait for all of them.

    Args:
        do: Does one; picklable. It calls its second argument for everything that is finished.
        jobs: Picklable too.
        count: Called here as often as all of them together call theirs.
        timeout_s: The longest silence of all workers, in seconds, that is not taken for a hang.

    Raises:
        DataError: If a worker dies or hangs, or fails with an error that is not ours.
        WorldRLError: What a worker raised.
    """
    context = multiprocessing.get_context("spawn")
    workers: dict[Connection, Any] = {}
    try:
        for job in jobs:
            ours, theirs = context.Pipe(duplex=False)
            workers[ours] = process = context.Process(target=_serve, args=(theirs, do, job), daemon=True)
            process.start()
            theirs.close()
        _watch(dict(workers), count, timeout_s)
    finally:
        for process in workers.values():
            if process.pid is not None and process.is_alive():
                process.terminate()
        for connection, process in workers.items():
            _end(process)
            connection.close()


def _serve(connection: Connection, do: Do[Job], job: Job) -> None:
    """Be a worker: send None for everything that is finished, "done" at the end, or the error that stopped it."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt_once)
    try:
        do(job, lambda: connection.send(None))
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # it ends by itself, and a signal would interrupt that
        connection.send("done")
    except BrokenPipeError:  # the parent is gone
        return
    except WorldRLError as error:
        connection.send(error)
    except Exception as error:
        connection.send(DataError(f"a worker failed with {type(error).__name__}: {error}. Try it with workers=1."))
    except KeyboardInterrupt:
        return


def _interrupt_once(number: int, frame: object) -> None:
    """Stop in good order; a second signal must not cut off the writing of what is whole."""
    for further in (signal.SIGINT, signal.SIGTERM):
        signal.signal(further, signal.SIG_IGN)
    raise KeyboardInterrupt


def _watch(running: dict[Connection, Any], count: Callable[[], None], timeout_s: float) -> None:
    """Listen until every worker is done; raise what one of them raised."""
    while running:
        heard = wait(list(running), timeout_s)
        if not heard:
            raise DataError(f"workers must finish an episode within {timeout_s:g} s, got none: they seem to hang.")
        for connection in heard:
            assert isinstance(connection, Connection)
            try:
                message = connection.recv()
            except EOFError:
                process = running[connection]
                process.join(GRACE_S)
                raise DataError(
                    f"a worker died with exit code {process.exitcode}: its finished shards are kept. "
                    "Use fewer workers if memory ran out, and collect the rest."
                ) from None
            if isinstance(message, BaseException):
                raise message
            if message == "done":
                del running[connection]
            else:
                count()


def _end(process: Any) -> None:
    """Wait for a worker that was asked to stop, then make it."""
    if process.pid is not None:
        process.join(GRACE_S)
        if process.is_alive():
            process.kill()
            process.join()
