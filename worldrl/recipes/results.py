"""What a verb has to say: a text for people, and the same as plain values for programs (``--json``)."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, is_dataclass
from os import PathLike
from typing import Any


@dataclass(frozen=True)
class Result:
    """What a recipe or a tool returns.

    Attributes:
        text: For people.
        figures: For programs, by name; what ``plain`` can turn into JSON.
    """

    text: str
    figures: Mapping[str, Any]

    def __str__(self) -> str:
        return self.text


def figures_of(result: object) -> dict[str, Any]:
    """Return what a verb returned as one JSON object: its figures, its values, or its text."""
    if isinstance(result, Result):
        return {str(name): plain(value) for name, value in result.figures.items()} or {"text": result.text}
    if isinstance(result, Mapping):
        return {str(name): plain(value) for name, value in result.items()}
    return {} if result is None else {"text": str(result)}


def plain(value: Any) -> Any:
    """Return a value as JSON can have it: what is no finite number becomes None, what is unknown its text."""
    if hasattr(value, "tolist"):  # of numpy and of torch
        value = value.tolist()
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(one) for one in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    return str(value) if isinstance(value, PathLike) else repr(value)


def to_json(value: Mapping[str, Any]) -> str:
    """Return one JSON object, without anything that JSON does not have."""
    return json.dumps(plain(value), indent=2, allow_nan=False)
