"""Recording many episodes into a data set, in several processes.

Seeds are cut into shards before anything starts, and each shard has its writer number, so the data set is the same
whatever the number of processes, and however often recording was stopped and went on.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

from worldrl.data.claims import claim_writer, release_writer
from worldrl.data.cluster import Cluster, run_episodes
from worldrl.data.dataset import Dataset, DatasetWriter
from worldrl.data.manifest import plain
from worldrl.data.missing import find_lack
from worldrl.data.rollout import Actor, AnyEnv, roll_out
from worldrl.data.workers import work_side_by_side
from worldrl.types import Episode, SimulatedEnv


@dataclass(frozen=True)
class _Work:
    """What a worker process is given; ``shards`` are pairs of writer number and seeds."""

    folder: Path
    make_env: Callable[[], AnyEnv]
    make_actor: Callable[[], Actor]
    policy: str
    env_id: str
    env_kwargs: dict[str, Any]
    beyond: int
    slots: int
    shards: list[tuple[int, list[int]]]


def collect(
    folder: Path | str,
    make_env: Callable[[], AnyEnv],
    make_actor: Callable[[], Actor],
    *,
    policy: str,
    seeds: Sequence[int],
    workers: int,
    env_id: str,
    env_kwargs: Mapping[str, Any],
    beyond: int = 0,
    slots: int = 1,
    missing: bool = False,
    episodes_per_shard: int = 25,
    timeout_s: float = 600.0,
    cluster: Cluster | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Dataset:
    """Record one episode for every seed and append them, in order, to the data set ``folder``.

    What is recorded is added to what is there, the same seeds included, unless only what is ``missing`` is asked for.
    Then a recording that was stopped goes on: shards that are there are left, and the data set ends as it would have
    without the stop, episode for episode, in the same order and in shards of the same names. Whoever asks for that
    must be the only one who writes there, and ask as before.

    Args:
        folder: The data set; made if it is not there.
        make_env: Builds the environment, once a process; picklable if ``workers`` is more than one.
        make_actor: Builds the actor, likewise.
        policy: The name recorded for whoever acts.
        seeds: One episode each.
        workers: Processes; 1 records in this one.
        env_id: The environment's gymnasium id, for the manifest.
        env_kwargs: Its keyword arguments, for the manifest.
        beyond: Decisions that an episode goes on after its first success, if the environment does not end it there.
        slots: Environments that each process steps side by side, for an actor that is faster so; the episodes of a
            shard begin together, so that what is in one depends on no other.
        missing: Whether to record only what the data set lacks of these episodes.
        episodes_per_shard: At most so many episodes are lost with a killed process.
        timeout_s: The longest silence of all workers, in seconds, that is not taken for a hang.
        cluster: Where workers run that are no processes of this machine; None for those.
        progress: Called with the number of finished episodes and of all.

    Returns:
        The whole data set, with what it held before.

    Raises:
        ValueError: If there is no seed, or ``workers``, ``slots`` or ``episodes_per_shard`` is less than one.
        DataError: If a worker dies or hangs, an episode is not sound or does not fit the data set, or what is there of
            these episodes was recorded by another number of workers.
        StorageError: If the folder cannot be written.
    """
    counts = {"seeds": len(seeds), "workers": workers, "slots": slots, "episodes_per_shard": episodes_per_shard}
    for name, value in counts.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}.")
    about = (make_env, make_actor, policy, env_id, plain(env_kwargs), beyond, slots)
    size = min(episodes_per_shard, -(-len(seeds) // workers))
    parts = [[int(seed) for seed in seeds[i : i + size]] for i in range(0, len(seeds), size)]
    folder, report = Path(folder), _Progress(len(seeds), progress)
    numbers: list[int | None] = [None] * len(parts)
    if missing:
        lack = find_lack(folder, parts, policy=policy)
        parts, report.done = [parts[index] for index in lack.parts], lack.found
        numbers = [None if lack.first is None else lack.first + index for index in lack.parts]
    if not parts:
        return Dataset(folder)
    with _claimed(folder, numbers) as claims:
        shards = list(zip(claims, parts, strict=True))
        if cluster is not None:
            _record_on(cluster, _Work(folder, *about, shards), report.count)
            return Dataset(folder)
        jobs = [_Work(folder, *about, shards[i::workers]) for i in range(min(workers, len(shards)))]
        if workers == 1:
            _record(jobs[0], report.count)
        else:
            work_side_by_side(_record, jobs, count=report.count, timeout_s=timeout_s)
    return Dataset(folder)


@contextmanager
def _claimed(folder: Path, numbers: Sequence[int | None]) -> Iterator[list[int]]:
    """Hold these writer numbers, in ascending order; where one is None, the next that is free."""
    claims: list[int] = []
    try:
        claims.extend(claim_writer(folder, number) for number in numbers)
        yield claims
    finally:
        for claim in claims:
            release_writer(folder, claim)


class _Progress:
    """Counts finished episodes and tells."""

    def __init__(self, total: int, tell: Callable[[int, int], None] | None) -> None:
        self.done, self.total, self.tell = 0, total, tell

    def count(self) -> None:
        """Count one more."""
        self.done += 1
        if self.tell is not None:
            self.tell(self.done, self.total)


def _record(work: _Work, count: Callable[[], None]) -> None:
    """Record the shards of ``work``, one after the other, each in as many environments as there are slots."""
    envs = [work.make_env() for _ in range(work.slots)]
    try:
        actor = work.make_actor()
        objects = cast(SimulatedEnv, envs[0].unwrapped).objects
        for number, seeds in work.shards:
            with DatasetWriter(
                work.folder,
                env_id=work.env_id,
                env_kwargs=work.env_kwargs,
                objects=objects,
                episodes_per_shard=len(seeds),
                writer=number,
            ) as writer:
                _fill(writer, envs, actor, work, seeds, count)
    finally:
        for env in envs:
            env.close()


def _record_on(cluster: Cluster, work: _Work, count: Callable[[], None]) -> None:
    """Record on a cluster; each shard is written here, once all of its episodes have come."""
    seeds = [seed for _, part in work.shards for seed in part]
    missing = {number: len(part) for number, part in work.shards}
    owners = [number for number, part in work.shards for _ in part]
    held: dict[int, Episode] = {}
    objects: tuple[str, ...] | None = None
    made = partial(_made, work.make_env, work.make_actor)
    for index, found in run_episodes(cluster, made, seeds=seeds, record=True, policy=work.policy, beyond=work.beyond):
        held[index], number = found, owners[index]
        missing[number] -= 1
        count()
        if missing[number]:
            continue
        if objects is None:
            objects = _objects(work.make_env)
        mine = [at for at, owner in enumerate(owners) if owner == number]
        with DatasetWriter(
            work.folder, env_id=work.env_id, env_kwargs=work.env_kwargs, objects=objects,
            episodes_per_shard=len(mine), writer=number,
        ) as writer:  # fmt: skip
            for at in mine:
                writer.add(held.pop(at))


def _made(make_env: Callable[[], AnyEnv], make_actor: Callable[[], Actor]) -> tuple[AnyEnv, Actor]:
    return make_env(), make_actor()


def _objects(make_env: Callable[[], AnyEnv]) -> tuple[str, ...]:
    env = make_env()
    try:
        return cast(SimulatedEnv, env.unwrapped).objects
    finally:
        env.close()


def _fill(
    writer: DatasetWriter, envs: list[AnyEnv], actor: Actor, work: _Work, seeds: list[int], count: Callable[[], None]
) -> None:
    """Record one shard; its first episodes are written even where the others are never finished."""
    ready, missing = defaultdict[int, list[Episode]](list), list(seeds)

    def keep(episode: Episode) -> None:
        ready[episode.seed].append(episode)
        while missing and ready[missing[0]]:
            writer.add(ready[missing.pop(0)].pop())
        count()

    roll_out(envs, actor, seeds=seeds, record=True, policy=work.policy, beyond=work.beyond, on_episode=keep)
