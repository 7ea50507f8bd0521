"""Text about scenes that nobody drew: what a small language model learns to speak from, before it meets a picture."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np

from worldrl.data.captions import TEMPLATES, caption_of, in_order, listed, questions_of, with_article
from worldrl.errors import ConfigError
from worldrl.language.words import words_of
from worldrl.scene import BASE, NAMES, Thing

LEAST, MOST = 2, 6
"""Things in a made-up scene, as in the drawn ones."""
QUESTIONS = 2
"""Questions asked in a document."""
Item = TypeVar("Item")


def imagined_things(names: Sequence[str], *, rng: np.random.Generator) -> list[Thing]:
    """Return things that stand side by side in a random order; nothing of them is known but name and order."""
    count = int(rng.integers(LEAST, min(MOST, len(names)) + 1))
    chosen = rng.choice(len(names), count, replace=False)
    nowhere: dict[str, Any] = {"centre": np.zeros(3), "size": np.ones(3), "rotation": np.eye(3), "visible": 1.0}
    things = []
    for place, i in enumerate(chosen):
        colour, shape = names[i].split()
        things.append(Thing(shape, colour, np.array([place, 0, place + 1, 1], np.float32), **nowhere))
    return things


def documents(count: int, *, names: Sequence[str] = BASE, seed: int) -> Iterator[tuple[str, ...]]:
    """Make up scenes and say several true sentences about each, the list of its things and answers among them.

    Because all sentences of a document are about the same things, whoever is to guess its words learns to look up what
    was said before: what a bridge from pictures relies on (our choice; LiMBeR's language model learnt it from the web).

    Args:
        count: Of documents.
        names: What may stand in a scene; the base classes by default, so that no held-out pair is ever said.
        seed: Of everything.

    Raises:
        ConfigError: If there are fewer names than things in the smallest scene.
    """
    if len(names) < LEAST:
        raise ConfigError(f"names must be at least {LEAST}, got {len(names)}.")
    rng = np.random.default_rng(seed)
    for _ in range(count):
        things = imagined_things(names, rng=rng)
        told = [*_facts(things, rng), caption_of(things)]
        asked = questions_of(things)
        picked = rng.choice(len(asked), QUESTIONS, replace=False)
        yield (*told, *(f"{asked[i][0]} {asked[i][1]}" for i in picked))


def _facts(things: Sequence[Thing], rng: np.random.Generator) -> list[str]:
    """Return sentences that together name all things: one by one, in pairs, or as a list in any order."""
    row, form = in_order(things), rng.random()
    if form < 0.6:  # some are told twice in a row, as a thing covers several patches
        told = [thing for thing in row for _ in range(1 + int(rng.random() < 0.4))]
        return _shuffled_now_and_then([_single(thing, rng) for thing in told], rng)
    if form < 0.8:
        pairs = pairwise(row)
        facts = [f"{with_article(left.name)} left of {with_article(right.name)}" for left, right in pairs]
        return _shuffled_now_and_then(facts, rng)
    return [f"there is {listed([thing.name for thing in _shuffled_now_and_then(row, rng)])}"]


def _single(thing: Thing, rng: np.random.Generator) -> str:
    return str(rng.choice(TEMPLATES)).format(with_article(thing.name))


def _shuffled_now_and_then(items: list[Item], rng: np.random.Generator) -> list[Item]:
    """Return items as they are, from left to right, or, one time in four, in any order."""
    return [items[i] for i in rng.permutation(len(items))] if rng.random() < 0.25 else items


def vocabulary() -> list[str]:
    """Return every word that documents may be made of, whatever names they are about."""
    said = [" ".join(document) for document in documents(400, names=NAMES, seed=0)]
    return words_of([*said, *NAMES, *(template.format("") for template in TEMPLATES)])
