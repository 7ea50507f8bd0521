"""Which episodes of a data set are kept out of training, and how many are looked at where there are very many.

Whoever makes a world notes that in ``held_out.json`` beside its figures; whoever measures it reads it there.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from worldrl import checkpoint
from worldrl.data.rows import spaced
from worldrl.errors import ConfigError, DataError
from worldrl.recipes.demonstrations import OWN

NAME = "held_out.json"
SHARE = 0.15
"""Of the policy's episodes, unless told otherwise (our choice)."""
FEW = 1000
"""Episodes, evenly spaced, from which imagined ones start and on which worlds are judged, where there are more."""


def few(episodes: list[int]) -> list[int]:
    """Return some of the episodes, evenly spaced, where there are very many."""
    return [episodes[i] for i in spaced(len(episodes), FEW)]


def split(policies: Any, share: float, without: Collection[str] = ()) -> tuple[list[int], list[int]]:
    """Keep the last share of the policy's episodes (of all, if it has none) out of training.

    Args:
        policies: Who acted in each episode.
        share: How much is kept.
        without: Whose episodes are not learned from.

    Raises:
        DataError: If none is left to learn from.
    """
    kinds = [[i for i, policy in enumerate(policies) if policy == kind] for kind in OWN]
    kinds = [kind for kind in kinds if kind] or [list(range(len(policies)))]
    held = {i for kind in kinds for i in kind[-max(1, round(share * len(kind))) :]}
    if len(held) == len(policies):
        raise DataError(
            f"episodes must be at least 2, to learn from and to hold out, got {len(policies)}: worldrl collect."
        )
    return [i for i, who in enumerate(policies) if i not in held and who not in without], sorted(held)


def check_share(share: float | None) -> None:
    """Refuse a share that leaves nothing to learn from, or nothing to measure on.

    Raises:
        ConfigError: If it is one.
    """
    if share is not None and not 0 < share < 1:
        raise ConfigError(f"held_out must be in (0, 1), got {share}.")


def note(world: Path, dataset: Any, share: float, without: Collection[str] = ()) -> None:
    """Note which episodes a world was not fitted to: a share of those that its data set has now, and who was left out.

    Raises:
        StorageError: If it cannot be written.
    """
    told = {"share": share, "episodes": len(dataset), "data": dataset.identity(), "without": list(without)}
    checkpoint.write_json(world / NAME, told)


def pass_on(world: Path, other: Path, dataset: Any, share: float | None) -> None:
    """Note of a world that was made from another one what ``split_of`` says of that.

    Raises:
        StorageError: If it cannot be written.
    """
    if share is None and (world / NAME).is_file():
        checkpoint.write_json(other / NAME, checkpoint.read_json(world / NAME))
    else:
        note(other, dataset, SHARE if share is None else share)


def split_of(world: Path, dataset: Any, share: float | None = None) -> tuple[list[int], list[int]]:
    """Return which episodes a world was fitted to, and which it has not seen.

    Episodes that were added to its data set since then belong to neither.

    Args:
        world: Its folder.
        dataset: The episodes.
        share: Share of the policy's episodes of this data set that it has not seen; None for what was noted when it
            was made, or ``SHARE`` where nothing was.

    Raises:
        CheckpointError: If what was noted is damaged.
        DataError: If the world was made of other episodes, or none are left to learn from.
    """
    if share is not None or not (world / NAME).is_file():
        return split(dataset.policies, SHARE if share is None else share)
    known = checkpoint.read_json(world / NAME)
    with checkpoint.described(world, "what was held out of a world"):
        count, share, data = int(known["episodes"]), float(known["share"]), str(known["data"])
        without = [str(who) for who in known.get("without", [])]
    if len(dataset) < count or dataset.subset(range(count)).identity() != data:
        raise DataError(
            f"episodes must be those that {world} was fitted to, got others at {dataset.folder}: name its own, or say "
            "by held_out= which share of these it has not seen."
        )
    return split(dataset.policies[:count], share, without)
