"""``worldrl verify PATH``: whether everything below a folder is as it was written."""

import json
from collections.abc import Sequence
from pathlib import Path

from worldrl.data.manifest import read_manifest
from worldrl.data.shard import check_files, list_shards, open_arrays, read_fields, read_records
from worldrl.errors import CheckpointError, ConfigError, DataError
from worldrl.recipes.results import Result
from worldrl.recipes.telling import say
from worldrl.recipes.tools.places import data_sets, is_data_set, one_path, passing
from worldrl.verification import MANIFEST, Verdict, verify_folder


def verify(words: Sequence[str]) -> Result:
    """Hold a checkpoint, a data set, or all that a run made, to hashes and shapes; every damaged file is named.

    Raises:
        ConfigError: If there is not one path, or nothing at it that says what it should be.
        CheckpointError: If a checkpoint, or a file beside it, is damaged.
        DataError: If only data sets are.
    """
    path = one_path("verify", words)
    sets = data_sets(path)
    data = sum((verify_data_set(one) for one in sets), Verdict())
    rest = Verdict()
    if not is_data_set(path):
        rest = _others(path, sets)
    whole, damaged = data.whole + rest.whole, [*rest.damaged, *data.damaged]
    if not whole and not damaged:
        raise ConfigError(f"{path} must be a checkpoint, a data set or a run, got a folder without a {MANIFEST} in it.")
    if damaged:
        for sentence in damaged:
            say(sentence)
        kind = CheckpointError if rest.damaged else DataError
        error = kind(f"{path}: {len(damaged)} of {whole + len(damaged)} files are damaged: copy or make them again.")
        error.details = {"path": path, "whole": whole, "damaged": damaged}
        raise error
    return Result(f"{path} is whole: {whole} files.", {"path": path, "whole": whole, "damaged": []})


def verify_data_set(folder: Path) -> Verdict:
    """Return the verdict on a data set: its manifest, and the files and shapes of every shard."""
    try:
        read_manifest(folder)
        shards = list_shards(folder)
    except DataError as error:
        return Verdict(damaged=(str(error),))
    return sum((verify_shard(folder, shard) for shard in shards), Verdict(1))


def verify_shard(folder: Path, shard: Path) -> Verdict:
    """Return the verdict on one shard; one of before shards had hashes is held to its shapes alone."""
    try:
        records = read_records(shard)
        check_files(shard)
        open_arrays(shard, records, read_manifest(folder))
        read_fields(shard, len(records))
    except DataError as error:
        return Verdict(damaged=(str(error),))
    return Verdict(len(list(shard.iterdir())))


def _others(path: Path, sets: Sequence[Path]) -> Verdict:
    """Return the verdict on checkpoints, and on JSON that lies about: evaluation, summary, records."""
    mine = [one for one in sorted(path.rglob(MANIFEST)) if not any(one.is_relative_to(data) for data in sets)]
    verdict = sum((verify_folder(one.parent) for one in mine if not passing(path, one)), Verdict())
    for file in sorted(path.rglob("*.json")):
        hashed = file.name == "config.json" and (file.parent / MANIFEST).exists()
        if hashed or file in mine or passing(path, file) or any(file.is_relative_to(data) for data in sets):
            continue
        try:
            json.loads(file.read_text())
            verdict += Verdict(1)
        except (OSError, ValueError, RecursionError) as error:
            verdict += Verdict(damaged=(f"{file} cannot be read as JSON: {error}.",))
    return verdict
