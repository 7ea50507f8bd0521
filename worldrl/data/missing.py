"""What a recording that was stopped still lacks: its seeds are cut into parts, and each part is a shard or is not."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from worldrl.data.claims import release_writer
from worldrl.data.shard import list_shards, read_records
from worldrl.errors import DataError


@dataclass(frozen=True)
class Lack:
    """What is left to record.

    Attributes:
        parts: Indices of the parts that are not there, ascending.
        first: The writer number of the first part; None where no part is there yet, and any number will do.
        found: Episodes that are there.
    """

    parts: list[int]
    first: int | None
    found: int


def find_lack(folder: Path, parts: Sequence[Sequence[int]], *, policy: str) -> Lack:
    """Return which parts of a recording a data set lacks, and make room for them.

    The parts were given writer numbers one after the other. A part of which only the first episodes are there, as a
    stop in good order leaves it, is recorded again: what is there goes. So do the claims of other writers, as whoever
    asks must be the only one, and whatever a killed process left half-written.

    Args:
        folder: The data set; it need not be there.
        parts: The seeds of each part, no seed twice.
        policy: Who acts.

    Raises:
        DataError: If the data set has these seeds in another cut, so that the parts cannot be told.
    """
    for claim in folder.glob(".writer-*"):
        release_writer(folder, int(claim.name.split("-")[1]))
    for half in folder.glob(".tmp-*"):
        if half.is_dir():
            shutil.rmtree(half)
        else:
            half.unlink()
    by_seed = {seed: index for index, part in enumerate(parts) for seed in part}
    whole, first, cut, found = set[int](), set[int](), list[Path](), 0
    for path in list_shards(folder):
        records = [record for record in read_records(path) if record.policy == policy and record.seed in by_seed]
        if not records:
            continue
        index, seeds = by_seed[records[0].seed], [record.seed for record in records]
        writer, number = (int(word) for word in path.name.split("-")[1:])
        first.add(writer - index)
        if number or seeds != list(parts[index])[: len(seeds)] or len(first) > 1:
            raise DataError(
                f"{path} must hold the seeds from {parts[index][0]} on, got {seeds[0]} to {seeds[-1]}: it was recorded "
                "by another number of workers. Record into another folder."
            )
        if len(seeds) == len(parts[index]):
            whole.add(index)
            found += len(seeds)
        else:
            cut.append(path)
    for path in cut:
        aside = path.with_name(f".tmp-{path.name}-left")  # gone at once, as no half of it may be seen
        path.rename(aside)
        shutil.rmtree(aside)
    left = [index for index in range(len(parts)) if index not in whole]
    return Lack(left, min(first, default=None), found)
