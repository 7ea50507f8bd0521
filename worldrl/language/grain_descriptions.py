"""What things look like, in words that other things share: sentences a class can be told by before it was ever seen.

GRAIN has a frozen multimodal language model describe the regions of its photographs; here the simulator knows what it
drew, so templates do. A novel class is a new pair of known words, which is what makes its naming a test.
"""

from collections.abc import Iterable

from worldrl.errors import ConfigError
from worldrl.scene import COLOURS, SHAPES

PARTS: dict[str, tuple[str, str]] = {
    "cube": ("six flat square sides", "sharp corners and straight edges"),
    "ball": ("a smooth round surface", "no corners and no edges"),
    "can": ("a tall round body and no handle", "a dark lid on a straight round body"),
    "mug": ("a handle on a round body", "a dark opening above a handle"),
    "bottle": ("a thin neck on a wide round body", "round shoulders below a thin neck"),
    "hammer": ("a heavy block at the end of a long bar", "a long bar below a flat head"),
    "arch": ("two legs below a flat roof", "a gap between two legs"),
    "dumbbell": ("a bar between two round ends", "two balls on a thin bar"),
}
"""Two ways to say what every shape is made of."""
NAMED = ("a {colour} {shape}", "a {shape} that is {colour}")
"""Descriptions by name."""
DESCRIBED = ("a {colour} thing with {part}", "a {colour} {shape} with {part}")
"""Descriptions by parts, without and with the name."""


def describe(name: str) -> tuple[str, ...]:
    """Return the six descriptions of a class: two by its name, four by its parts.

    Raises:
        ConfigError: If it is not a colour and a shape of ``worldrl.scene``.
    """
    colour, _, shape = name.partition(" ")
    if colour not in COLOURS or shape not in SHAPES:
        raise ConfigError(f"name must be a colour and a shape, such as 'red cube', got '{name}'.")
    plain = [template.format(colour=colour, shape=shape) for template in NAMED]
    return (
        *plain,
        *(template.format(colour=colour, shape=shape, part=p) for p in PARTS[shape] for template in DESCRIBED),
    )


def describe_all(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return the descriptions of every class by its name.

    Raises:
        ConfigError: If one of them is not a colour and a shape.
    """
    return {name: describe(name) for name in names}
