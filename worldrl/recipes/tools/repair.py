"""``worldrl repair PATH``: a data set without its damaged shards, and folders without what dead runs left."""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from worldrl.data.claims import claim_writer, release_writer
from worldrl.data.manifest import read_manifest
from worldrl.data.shard import list_shards, read_records
from worldrl.errors import StorageError
from worldrl.locks import is_alive
from worldrl.recipes.results import Result
from worldrl.recipes.tools.places import data_sets, one_path
from worldrl.recipes.tools.verify import verify_shard

UNFINISHED = re.compile(r"\.tmp-.+-(\d+)(?:\.old)?|\.tmp-(\d+)-.+")
"""What a run writes before it is renamed, with the number of its process."""


def repair(words: Sequence[str]) -> Result:
    """Take damaged shards out of the data sets at a path, and remove what dead runs left unfinished.

    What is whole is not touched, nor is any checkpoint. A shard that is taken out is kept beside its data set, in
    ``NAME.dropped``, for whoever can save more of it.

    Raises:
        ConfigError: If there is not one path.
        DataError: If the manifest of a data set is gone: what it said cannot be known.
        StorageError: If the folder cannot be written.
    """
    path = one_path("repair", words)
    dropped, kept = [], 0
    for folder in data_sets(path):
        read_manifest(folder)
        for shard in list_shards(folder):
            verdict = verify_shard(folder, shard)
            if verdict.damaged:
                dropped.append({"shard": shard, "to": _drop(folder, shard), "why": verdict.damaged[0]})
            else:
                kept += len(read_records(shard))
    swept = _sweep(path)
    lines = [f"dropped {one['shard']} (now {one['to']}): {one['why']}" for one in dropped]
    lines += [f"removed {name}, which a run that is dead left unfinished" for name in swept]
    lines += [f"{path}: {len(dropped)} shards dropped, {kept} episodes kept, {len(swept)} unfinished things removed."]
    return Result("\n".join(lines), {"path": path, "dropped": dropped, "episodes": kept, "swept": swept})


def _drop(folder: Path, shard: Path) -> Path:
    """Move a shard out of its data set."""
    aside = folder.with_name(f"{folder.name}.dropped")
    try:
        aside.mkdir(exist_ok=True)
        names = [shard.name, *(f"{shard.name}.{i}" for i in range(1, 1000))]
        target = next(aside / name for name in names if not (aside / name).exists())
        return Path(shutil.move(shard, target))
    except OSError as error:
        raise StorageError(f"{folder} cannot be written: {error}. Copy it to where it can be.") from error


def _sweep(path: Path) -> list[str]:
    """Remove unfinished files and folders of dead processes, and the claims of dead writers; return their names."""
    swept = []
    for left in sorted(path.rglob(".tmp-*")):
        found = UNFINISHED.fullmatch(left.name)
        if found and left.exists() and not is_alive(int(found[1] or found[2])):
            if left.name.endswith(".old") and not left.with_name(_final(left.name)).exists():
                continue  # the one whole copy of what was being replaced
            _remove(left)
            swept.append(str(left))
    for folder in data_sets(path):
        claims = set(folder.glob(".writer-*"))
        release_writer(folder, claim_writer(folder))  # claiming sweeps
        swept += [str(claim) for claim in sorted(claims) if not claim.exists()]
    return swept


def _final(name: str) -> str:
    """Return under which name a folder that was set aside stood."""
    return re.sub(r"^\.tmp-(.+)-\d+\.old$", r"\1", name)


def _remove(left: Path) -> None:
    try:
        shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
    except OSError as error:
        raise StorageError(f"{left} cannot be removed: {error}.") from error
