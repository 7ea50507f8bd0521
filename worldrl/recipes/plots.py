"""Two small plots as SVG: points and lines in the unit square, readable without a plotting library."""

from collections.abc import Mapping, Sequence

SIDE, MARGIN = 360, 48
COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb", "#000000")
"""Paul Tol's bright scheme, which the colour-blind can tell apart."""


def scatter(points: Sequence[tuple[float, float, str]], across: str, up: str) -> str:
    """Draw points ``(x, y, group)`` in the unit square, with the diagonal on which both would be equal."""
    groups = list(dict.fromkeys(group for _, _, group in points))
    marks = [_line([(0.0, 0.0), (1.0, 1.0)], "#999999", dashed=True)]
    for x, y, group in points:
        at = _place(x, y)
        marks.append(f'<circle cx="{at[0]:.1f}" cy="{at[1]:.1f}" r="4" fill="{_colour(groups, group)}" opacity="0.7"/>')
    return _frame(marks, groups, across, up, "1")


def curves(
    lines: Mapping[str, Sequence[tuple[float, float]]], across: str, up: str, *, first: float = 0.0, top: float = 1.0
) -> str:
    """Draw lines of points ``(x, y)``, ``x`` from ``first`` to the end of the longest line, ``y`` from 0 to ``top``."""
    furthest = max((x for line in lines.values() for x, _ in line), default=1.0)
    wide = furthest - first or 1.0
    names = list(lines)
    marks = [
        _line([((x - first) / wide, y / top) for x, y in line], _colour(names, name)) for name, line in lines.items()
    ]
    return _frame(marks, names, across, up, _told(furthest), start=_told(first), top=_told(top))


def _told(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _place(x: float, y: float) -> tuple[float, float]:
    return MARGIN + x * SIDE, MARGIN + (1.0 - y) * SIDE


def _line(points: Sequence[tuple[float, float]], colour: str, *, dashed: bool = False) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (_place(*point) for point in points))
    dash = ' stroke-dasharray="4"' if dashed else ""
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"{dash}/>'


def _colour(names: Sequence[str], name: str) -> str:
    return COLOURS[names.index(name) % len(COLOURS)]


def _frame(
    marks: Sequence[str], names: Sequence[str], across: str, up: str, end: str, *, start: str = "0", top: str = "1"
) -> str:
    """Put axes, their names and a legend round the marks."""
    width, height = SIDE + 2 * MARGIN + 200, max(SIDE + 2 * MARGIN, MARGIN + 16 * len(names))
    legend = [
        f'<text x="{SIDE + MARGIN + 16}" y="{MARGIN + 12 + 16 * i}" fill="{_colour(names, name)}">{name}</text>'
        for i, name in enumerate(names)
    ]
    bottom = MARGIN + SIDE + 16
    texts = [
        f'<text x="{MARGIN}" y="{bottom}">{start}</text>',
        f'<text x="{MARGIN + SIDE}" y="{bottom}" text-anchor="end">{end}</text>',
        f'<text x="{MARGIN + SIDE / 2}" y="{bottom + 14}" text-anchor="middle">{across}</text>',
        f'<text x="{MARGIN - 6}" y="{MARGIN + SIDE}" text-anchor="end">0</text>',
        f'<text x="{MARGIN - 6}" y="{MARGIN + 10}" text-anchor="end">{top}</text>',
        f'<text transform="translate({MARGIN - 20},{MARGIN + SIDE / 2}) rotate(-90)" text-anchor="middle">{up}</text>',
    ]
    box = f'<rect x="{MARGIN}" y="{MARGIN}" width="{SIDE}" height="{SIDE}" fill="none" stroke="#333333"/>'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" '
    return "\n".join([head + 'font-size="11">', box, *marks, *texts, *legend, "</svg>"]) + "\n"
