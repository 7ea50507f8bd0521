"""Episodes run by workers on a Ray cluster, each with one environment; what a lost worker had is done again."""

import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from worldrl import signals
from worldrl.data.rollout import Actor, AnyEnv, roll_out
from worldrl.errors import ConfigError, DataError, DeviceError, WorldRLError, first_line

PLACES = ("local", "auto")
"""Addresses that are words: a cluster of this machine alone, begun for us; or the one that runs here."""
DEATHS = 3
"""Workers that may be lost one after the other without anything finished."""
POLL_S = 1.0


@dataclass(frozen=True)
class Cluster:
    """Where workers run.

    Attributes:
        address: ``local``, ``auto``, or ``HOST:PORT`` of a cluster's head.
        workers: How many, a processor each.
        patience_s: Seconds without an answer after which the cluster, or all of its workers, are given up.
    """

    address: str
    workers: int
    patience_s: float = 120.0


Made = tuple[AnyEnv, Actor]


def run_episodes(
    cluster: Cluster,
    make: Callable[[], Made],
    *,
    seeds: Sequence[int],
    record: bool,
    policy: str = "policy",
    beyond: int = 0,
) -> Iterator[tuple[int, Any]]:
    """Yield the index and the result of every seed's episode once, as they are finished; see ``roll_out``.

    Args:
        cluster: Where.
        make: Builds environment and actor, once a worker; sent to it.
        seeds: One episode each.
        record: Whether to yield whole episodes rather than outcomes.
        policy: The name recorded for whoever acts.
        beyond: Decisions that an episode goes on after its first success.

    Raises:
        ConfigError: If the cluster cannot be reached, or Ray is not installed.
        DeviceError: If it has fewer processors than workers are asked for.
        DataError: If workers die one after the other, or none answers in time.
    """
    with connected(cluster) as ray:
        yield from _Crew(ray, cluster, (make, record, policy, beyond)).run(seeds)


@contextmanager
def connected(cluster: Cluster) -> Iterator[Any]:
    """Join a cluster, and leave it in the end.

    Raises:
        ConfigError: If it cannot be reached in time, or Ray is not installed.
        DeviceError: If it has fewer processors than workers are asked for.
    """
    try:
        ray: Any = import_module("ray")
    except ImportError as error:
        raise ConfigError("cluster.address needs Ray: pip install 'worldrl[ray]'.") from error
    if cluster.address not in PLACES:
        _check_reachable(cluster.address, cluster.patience_s)
    os.environ.setdefault("RAY_worker_niceness", "0")  # of a local cluster: nothing is to come before its workers
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "ignore_reinit_error": True}
    where = {"num_cpus": cluster.workers, "include_dashboard": False} if cluster.address == "local" else {}
    try:
        with signals.kept():  # Ray would end this process by SIGTERM its own way
            ray.init(address=cluster.address, **where, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ConfigError(f"no Ray cluster could be joined at '{cluster.address}': {first_line(error)}.") from error
    try:
        found = int(ray.cluster_resources().get("CPU", 0))
        if found < cluster.workers:
            raise DeviceError(
                f"{cluster.workers} workers need as many processors, got {found} at '{cluster.address}': "
                "ask for fewer, or add nodes."
            )
        yield ray
    finally:
        ray.shutdown()


def _check_reachable(address: str, patience_s: float) -> None:
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise ConfigError(f"cluster.address must be {', '.join(PLACES)} or HOST:PORT, got '{address}'.")
    try:
        socket.create_connection((host, int(port)), timeout=patience_s).close()
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"nobody answers at '{address}' within {patience_s:g} s ({error}): see that `ray start --head` runs there."
        ) from error


class _Worker:
    """What a process of the cluster does: it has one environment and runs one episode after the other in it."""

    def __init__(self, make: Callable[[], Made], record: bool, policy: str, beyond: int) -> None:
        self.env, self.actor = make()
        self.record, self.policy, self.beyond = record, policy, beyond

    def ready(self) -> None:
        """Say that the worker is there."""

    def run(self, seed: int) -> Any:
        """Return the result of one episode, or the error of this package that ended it."""
        run: Callable[..., list[Any]] = roll_out
        try:
            return run(
                [self.env], self.actor, seeds=[seed], record=self.record, policy=self.policy, beyond=self.beyond
            )[0]
        except WorldRLError as error:
            return error


class _Crew:
    """Workers: those that are coming, those that wait, and those that run an episode."""

    def __init__(self, ray: Any, cluster: Cluster, work: tuple[Any, ...]) -> None:
        self.ray, self.cluster, self.work = ray, cluster, work
        self.coming: dict[Any, Any] = {}
        self.idle: list[Any] = []
        self.running: dict[Any, tuple[Any, int]] = {}
        self.deaths, self.heard = 0, time.monotonic()

    def run(self, seeds: Sequence[int]) -> Iterator[tuple[int, Any]]:
        """Yield every index with its result, once."""
        waiting = list(range(len(seeds)))[::-1]
        while waiting or self.running:
            self._hire(len(waiting))
            while waiting and self.idle:  # a worker that is only coming gets nothing: its node may never be there
                worker, index = self.idle.pop(), waiting.pop()
                self.running[worker.run.remote(int(seeds[index]))] = worker, index
            done, _ = self.ray.wait([*self.running, *self.coming], timeout=POLL_S)
            for ref in done:
                found, lost = self._result(ref)
                if ref in self.coming:
                    self.idle += [] if lost else [self.coming[ref]]
                    del self.coming[ref]
                    continue
                worker, index = self.running.pop(ref)
                if lost:
                    waiting.append(index)  # another worker does it again
                    continue
                self.deaths, self.heard = 0, time.monotonic()
                self.idle.append(worker)
                yield index, found
            self._check_patience()

    def _hire(self, waiting: int) -> None:
        """Ask for workers until there is one for every episode, or as many as there may be."""
        crew = len(self.coming) + len(self.idle) + len(self.running)
        for _ in range(crew, min(self._room(), len(self.running) + waiting)):
            worker = self.ray.remote(num_cpus=1, max_restarts=0)(_Worker).remote(*self.work)
            self.coming[worker.ready.remote()] = worker

    def _room(self) -> int:
        """Return how many workers there may be on the nodes that are left."""
        alive = sum(node["Resources"].get("CPU", 0) for node in self.ray.nodes() if node["Alive"])
        return min(int(alive), self.cluster.workers)

    def _result(self, ref: Any) -> tuple[Any, bool]:
        """Return what a worker found, and whether it was lost instead.

        Raises:
            DataError: If its own code failed, or too many were lost.
        """
        try:
            found = self.ray.get(ref)
        except self.ray.exceptions.RayTaskError as error:
            raise DataError(f"a worker failed with {_last_line(error)}: try it with workers=1.") from error
        except self.ray.exceptions.RayActorError as error:
            if "raised in its creation task" in str(error):  # the next one would fail as well
                raise DataError(f"a worker failed with {_last_line(error)}: try it with workers=1.") from error
            self._count_death(error)
            return None, True
        except self.ray.exceptions.RayError as error:  # what it found was lost with its node
            self._count_death(error)
            return None, True
        if isinstance(found, WorldRLError):
            raise found
        return found, False

    def _count_death(self, error: Exception) -> None:
        """Count a lost worker; raise DataError where too many were lost and nothing was finished."""
        self.deaths += 1
        if self.deaths >= DEATHS * self.cluster.workers:
            told = f"{self.deaths} workers died one after the other, and no episode was finished"
            raise DataError(f"{told}: see that the nodes have memory enough.") from error

    def _check_patience(self) -> None:
        if time.monotonic() - self.heard > self.cluster.patience_s:
            raise DataError(
                f"workers must finish an episode within {self.cluster.patience_s:g} s, got none: they seem to hang, "
                "or no node is left."
            )


def _last_line(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip().rstrip(".") if lines else type(error).__name__
