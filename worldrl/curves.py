"""Curves of a training, in memory: figures over its steps, never very many, that can be kept and gone on with."""

import math
from collections.abc import Mapping
from typing import Any

MOST = 512
"""Points of a curve, at most (our choice: more than a page is wide)."""


class Curves:
    """Curves of one training by name, each of points ``(step, value)``.

    Points are evenly spaced and never more than ``MOST``, however many came; values that are not finite are left out.
    What is left depends on what came alone, so that a training that goes on after a stop, and has taken ``state`` with
    it, ends with the curves of one that was never stopped.
    """

    def __init__(self) -> None:
        self._curves = dict[str, _Curve]()

    def add(self, name: str, step: int, value: float) -> None:
        """Add a point to a curve, which begins with its first."""
        self._curves.setdefault(name, _Curve([], 1, 0)).add(int(step), float(value))

    @property
    def points(self) -> dict[str, list[tuple[int, float]]]:
        """The points of every curve that has any."""
        return {name: list(curve.points) for name, curve in self._curves.items() if curve.points}

    def state(self) -> dict[str, Any]:
        """Return all of it as plain JSON."""
        return {name: [list(curve.points), curve.every, curve.count] for name, curve in self._curves.items()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Make it what it was when ``state`` was taken.

        Raises:
            ValueError: If it is no such state.
        """
        self._curves = {
            str(name): _Curve([(int(step), float(value)) for step, value in points], int(every), int(count))
            for name, (points, every, count) in state.items()
        }


class _Curve:
    """Points, of which every so many are taken, and how many have come."""

    def __init__(self, points: list[tuple[int, float]], every: int, count: int) -> None:
        self.points, self.every, self.count = points, every, count

    def add(self, step: int, value: float) -> None:
        if self.count % self.every == 0 and math.isfinite(value):
            self.points.append((step, value))
        self.count += 1
        if len(self.points) >= MOST:
            self.points, self.every = self.points[::2], 2 * self.every
