"""Episodes on disk: a folder of shards, written whole and read through memory maps.

A data set is ``manifest.json`` and the folders ``shard-<writer>-<number>``. Each writer has a number of its own, so
several processes may record into one folder at the same time; the order of episodes is that of the shards' names.
"""

import copy
import hashlib
import json
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from worldrl.data.claims import claim_writer, release_writer
from worldrl.data.episode import check_episode
from worldrl.data.manifest import (
    NAME,
    RECORD_SOME,
    Manifest,
    check_agreement,
    describe,
    plain,
    put_manifest,
    read_manifest,
)
from worldrl.data.shard import (
    Record,
    check_files,
    cut,
    list_shards,
    open_arrays,
    read_fields,
    read_records,
    shard_name,
    write_shard,
)
from worldrl.errors import DataError
from worldrl.types import Array, Episode

OPEN_SHARDS = 16  # at once; every memory map holds a file descriptor


class DatasetWriter:
    """Write episodes into a data set, new or standing; use it as a context manager.

    A shard is written as soon as it is full; on leaving, with or without an exception, the episodes added so far are
    written too. A process killed in between loses at most the episodes of its unfinished shard.

    Args:
        folder: The data set; made if it is not there.
        env_id: The environment's gymnasium id.
        env_kwargs: The keyword arguments it was made with, as plain JSON values.
        objects: The names of its labelled objects, in order.
        lacks: What of them is only filled in, by the names of ``Episode``: what another format did not keep.
        episodes_per_shard: Episodes in a full shard.
        writer: A number from `claim_writer`, which the caller releases; None claims one.

    Raises:
        ValueError: If ``episodes_per_shard`` is less than one.
        ConfigError: If ``env_kwargs`` are not plain JSON values.
        DataError: If the data set that stands there is of another environment.
    """

    def __init__(
        self,
        folder: Path | str,
        *,
        env_id: str,
        env_kwargs: Mapping[str, Any],
        objects: Sequence[str],
        lacks: Sequence[str] = (),
        episodes_per_shard: int = 25,
        writer: int | None = None,
    ) -> None:
        if episodes_per_shard < 1:
            raise ValueError(f"episodes_per_shard must be at least 1, got {episodes_per_shard}.")
        self.folder = Path(folder)
        self.episodes_per_shard = episodes_per_shard
        self._about: dict[str, Any] = {
            "env_id": env_id, "env_kwargs": plain(env_kwargs), "objects": tuple(objects), "lacks": tuple(lacks)
        }  # fmt: skip
        self._manifest: Manifest | None = None
        if (self.folder / NAME).exists():
            self._manifest = read_manifest(self.folder)
            check_agreement(self.folder, self._manifest, self._about)
        self._owns_claim = writer is None
        self._writer = claim_writer(self.folder) if writer is None else writer
        if (self.folder / shard_name(self._writer, 0)).exists():
            raise DataError(f"writer must be free, got {writer}: {self.folder} has its shards already.")
        self._number = 0
        self._pending: list[Episode] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.flush()
        finally:
            if self._owns_claim:
                release_writer(self.folder, self._writer)

    def add(self, episode: Episode) -> None:
        """Check an episode and queue it; write a shard when it is full.

        Raises:
            DataError: If the episode is not sound or does not fit the data set.
            StorageError: If the shard cannot be written.
        """
        check_episode(episode)
        if self._manifest is None:
            self._manifest = put_manifest(self.folder, describe(episode, **self._about))
        shapes = {
            "frame_shape": episode.frames.shape[1:],
            "proprio_dim": episode.proprio.shape[1],
            "act_dim": episode.acts.shape[1],
            "state_dim": episode.states.shape[1],
        }
        check_agreement(self.folder, self._manifest, shapes)
        self._pending.append(episode)
        if len(self._pending) >= self.episodes_per_shard:
            self.flush()

    def flush(self) -> None:
        """Write the queued episodes as one shard.

        Raises:
            StorageError: If it cannot be written.
        """
        if self._pending:
            write_shard(self.folder / shard_name(self._writer, self._number), self._pending)
            self._pending, self._number = [], self._number + 1


class Dataset:
    """Recorded episodes, read through memory maps: ``dataset[i]`` reads nothing until its arrays are used.

    Arrays are read-only; copy one before handing it to torch. Every shard's sizes are checked on opening, and its bits
    when one of its episodes is first asked for.

    Args:
        folder: The data set.

    Raises:
        DataError: If there are no episodes, or a file is missing, damaged, or of a newer format.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise DataError(f"no episodes in {self.folder} (no such folder): {RECORD_SOME}.")
        self.manifest = read_manifest(self.folder)
        self._entries: list[tuple[Path, int]] = []
        self._records: dict[Path, list[Record]] = {}
        self._checked: set[Path] = set()
        self._open: OrderedDict[Path, tuple[dict[str, Array], list[dict[str, Array]]]] = OrderedDict()
        for path in list_shards(self.folder):
            self._records[path] = read_records(path)
            open_arrays(path, self._records[path], self.manifest)
            self._entries += [(path, index) for index in range(len(self._records[path]))]
        if not self._entries:
            raise DataError(f"no episodes in {self.folder}: {RECORD_SOME}.")

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: int) -> Episode:
        path, position = self._entries[index]
        arrays, fields = self._shard(path)
        record = self._records[path][position]
        return Episode(
            **cut(arrays, record, position),
            end=record.end,
            trunc=record.trunc,
            seed=record.seed,
            policy=record.policy,
            fields=fields[position],
            params=record.params,
        )

    def __iter__(self) -> Iterator[Episode]:
        return (self[index] for index in range(len(self)))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": OrderedDict()}  # a memory map would travel as a copy of its data

    @property
    def lengths(self) -> Array:
        """The steps ``t`` of every episode, int64."""
        return np.array([record.length for record in self._each()], dtype=np.int64)

    @property
    def num_steps(self) -> int:
        """The steps of all episodes together."""
        return int(self.lengths.sum())

    @property
    def policies(self) -> list[str]:
        """Who acted in every episode."""
        return [record.policy for record in self._each()]

    @property
    def seeds(self) -> list[int]:
        """The seed of every episode."""
        return [record.seed for record in self._each()]

    def identity(self) -> str:
        """Return what tells these episodes from others: a hash of the manifest, and of shards, seeds and lengths."""
        digest = hashlib.sha256(json.dumps(self.manifest.to_json(), sort_keys=True, default=str).encode())
        for (path, index), record in zip(self._entries, self._each(), strict=True):
            digest.update(f"{path.name} {index} {record.seed} {record.length} {record.policy}\n".encode())
        return digest.hexdigest()

    def select(self, *, policy: str) -> "Dataset":
        """Return a view of the episodes in which ``policy`` acted.

        Raises:
            DataError: If there is none.
        """
        found = [index for index, name in enumerate(self.policies) if name == policy]
        if not found:
            known = ", ".join(sorted(set(self.policies)))
            raise DataError(f"policy must be one of {known} in {self.folder}, got '{policy}': {RECORD_SOME}.")
        return self.subset(found)

    def subset(self, indices: Iterable[int]) -> "Dataset":
        """Return a view of the episodes ``indices``, in that order.

        Raises:
            DataError: If ``indices`` is empty or names an episode that is not there.
        """
        chosen = [int(index) for index in indices]
        if not chosen:
            raise DataError(f"a part of {self.folder} must have at least 1 of its {len(self)} episodes, got 0.")
        if min(chosen) < -len(self) or max(chosen) >= len(self):
            raise DataError(f"indices must be below {len(self)} in {self.folder}, got {chosen}.")
        view = copy.copy(self)
        view._entries = [self._entries[index] for index in chosen]
        return view

    def require(self, *parts: str, by: str) -> None:
        """Refuse episodes that came from a format which does not keep what is needed.

        Args:
            parts: What is needed, by the names of ``Episode``.
            by: Who needs it, for the sentence.

        Raises:
            DataError: If the data set lacks one.
        """
        if missing := [part for part in parts if part in self.manifest.lacks]:
            raise DataError(
                f"{self.folder} must have {' and '.join(missing)} for {by}, got none: the format that it was imported "
                f"from does not keep them; {RECORD_SOME}."
            )

    def verify(self) -> None:
        """Read everything once.

        Raises:
            DataError: At the first bit that is not what was written.
        """
        for path in self._records:
            self._check(path)

    def _check(self, path: Path) -> None:
        if path not in self._checked:
            check_files(path)
            self._checked.add(path)

    def _each(self) -> Iterator[Record]:
        return (self._records[path][index] for path, index in self._entries)

    def _shard(self, path: Path) -> tuple[dict[str, Array], list[dict[str, Array]]]:
        """Open a shard, or find it open; the one unused longest is closed when too many are."""
        if path not in self._open:
            self._check(path)
            records = self._records[path]
            self._open[path] = open_arrays(path, records, self.manifest), read_fields(path, len(records))
            if len(self._open) > OPEN_SHARDS:
                self._open.popitem(last=False)
        self._open.move_to_end(path)
        return self._open[path]
