"""How much of what a picture shows a text says, and how much of what it says is there."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from worldrl.language.words import split
from worldrl.scene import COLOURS, SHAPES, Thing, is_novel


@dataclass(frozen=True)
class Said:
    """Which shapes, colours and names a text has in it."""

    shapes: frozenset[str]
    colours: frozenset[str]
    names: frozenset[str]


def said_in(text: str) -> Said:
    """Return what a text says; a name is a colour with a shape right after it."""
    words = split(text)
    names = {f"{left} {right}" for left, right in pairwise(words) if left in COLOURS and right in SHAPES}
    return Said(frozenset(words) & frozenset(SHAPES), frozenset(words) & frozenset(COLOURS), frozenset(names))


def recall(texts: Sequence[str], scenes: Sequence[Sequence[Thing]]) -> dict[str, float]:
    """Compare texts with the things that are there.

    Args:
        texts: One a scene.
        scenes: Things of each scene.

    Returns:
        Shares in [0, 1]: ``objects``, ``colours`` and ``pairs``, mean over scenes of how many of its shapes, colours
        and names its text says; ``precision``, mean of how many of the names that a text says are there, 0 where it
        says none; ``base_pairs`` and ``novel_pairs``, of all things of such a class, how many are said; and ``said``,
        how many names a text says.

    Raises:
        ValueError: If there is no scene, or not one text for each.
    """
    if not scenes or len(texts) != len(scenes):
        raise ValueError(f"texts must be one for each of at least one scene, got {len(texts)} for {len(scenes)}.")
    found = [said_in(text) for text in texts]
    true = [said_in(" ".join(thing.name for thing in things)) for things in scenes]
    both = list(zip(found, true, strict=True))
    names = {
        novel: [(name, one.names) for one, scene in both for name in scene.names if is_novel(name) == novel]
        for novel in (False, True)
    }
    return {
        "objects": _mean(len(one.shapes & scene.shapes) / len(scene.shapes) for one, scene in both),
        "colours": _mean(len(one.colours & scene.colours) / len(scene.colours) for one, scene in both),
        "pairs": _mean(len(one.names & scene.names) / len(scene.names) for one, scene in both),
        "precision": _mean(len(one.names & scene.names) / max(1, len(one.names)) for one, scene in both),
        "base_pairs": _mean(name in said for name, said in names[False]),
        "novel_pairs": _mean(name in said for name, said in names[True]),
        "said": _mean(len(one.names) for one in found),
    }


def chance(
    texts: Sequence[str], scenes: Sequence[Sequence[Thing]], seen: Sequence[Sequence[Thing]]
) -> dict[str, float]:
    """Return what recall would be had each text said as many words, but always the most frequent ones.

    Recall grows with the number of words said, so this is what to compare it with: a guess without a look, as long as
    the text.

    Args:
        texts: One a scene.
        scenes: Things of each scene.
        seen: Things of the scenes that are known, in which words are counted.

    Returns:
        ``objects_chance``, ``colours_chance`` and ``pairs_chance``, shares in [0, 1].
    """
    true, known = ([said_in(" ".join(thing.name for thing in things)) for things in some] for some in (scenes, seen))
    found = {}
    for figure, kind in {"objects": "shapes", "colours": "colours", "pairs": "names"}.items():
        counts = Counter(word for one in known for word in sorted(getattr(one, kind)))
        ranked = [word for word, _ in counts.most_common()]
        lengths = [len(getattr(said_in(text), kind)) for text in texts]
        there = [getattr(one, kind) for one in true]
        found[f"{figure}_chance"] = _mean(
            len(words.intersection(ranked[:length])) / len(words) for words, length in zip(there, lengths, strict=True)
        )
    return found


def _mean(values: Iterable[float]) -> float:
    rows = [float(value) for value in values]
    return sum(rows) / max(1, len(rows))
