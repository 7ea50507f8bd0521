"""Sentences that are true of a scene, and questions about it, from templates."""

from collections.abc import Sequence

import numpy as np

from worldrl.scene import COLOURS, SHAPES, Thing

TEMPLATES = (
    "a photo of {}",
    "a picture of {}",
    "there is {} on the table",
    "a robot looks at {}",
    "a close photo of {}",
)
"""What a class is said in; ``{}`` is the thing with its article."""
COUNTS = ("zero", "one", "two", "three", "four", "five", "six")


def with_article(name: str) -> str:
    """Return a name with its article: ``a red cube``, ``an orange mug``."""
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def listed(names: Sequence[str]) -> str:
    """Return names with their articles as one list: ``a red cube, a blue ball and an orange mug``."""
    words = [with_article(name) for name in names]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def in_order(things: Sequence[Thing]) -> list[Thing]:
    """Return things from the left of the picture to the right."""
    return sorted(things, key=lambda thing: float(thing.box[0] + thing.box[2]))


def caption_of(things: Sequence[Thing]) -> str:
    """Return the sentence that lists all things from left to right: ``a picture of a red cube and a blue ball``."""
    return f"a picture of {listed([thing.name for thing in in_order(things)])}"


def captions_of(things: Sequence[Thing], *, seed: int) -> tuple[str, ...]:
    """Return the list of all things, one sentence for each of them, and one that relates two neighbours.

    Args:
        things: Of the scene, at least two.
        seed: What chooses the templates and the neighbours.
    """
    rng = np.random.default_rng(seed)
    row = in_order(things)
    single = [str(rng.choice(TEMPLATES)).format(with_article(thing.name)) for thing in things]
    left = int(rng.integers(len(row) - 1))
    pair = f"{with_article(row[left].name)} left of {with_article(row[left + 1].name)}"
    return caption_of(things), *single, pair


def questions_of(things: Sequence[Thing]) -> tuple[tuple[str, str], ...]:
    """Return questions about a scene and their answers, one word each; none is asked that has two answers."""
    asked = [("how many things are there ?", COUNTS[len(things)])]
    for thing in things:
        if sum(other.shape == thing.shape for other in things) == 1:
            asked.append((f"what colour is the {thing.shape} ?", thing.colour))
        if sum(other.colour == thing.colour for other in things) == 1:
            asked.append((f"what is {thing.colour} ?", thing.shape))
    there = {thing.shape for thing in things}
    colours = {thing.colour for thing in things}
    absent = [shape for shape in SHAPES if shape not in there]
    asked += [(f"is there {with_article(shape)} ?", "yes") for shape in sorted(there)]
    asked += [(f"is there {with_article(shape)} ?", "no") for shape in absent[: len(there)]]
    asked += [(f"is anything {colour} ?", "yes" if colour in colours else "no") for colour in sorted(COLOURS)[::3]]
    return tuple(asked)
