"""Small charts as inline SVG whose colours are the page's, so that they follow its light or dark scheme."""

from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 420, 240
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 12, 40
"""Margins; a chart of 420 units is still legible on a phone of 390 pixels."""
Points = Sequence[tuple[float, float]]


def lines(
    series: Mapping[str, Points],
    *,
    across: str,
    up: str,
    top: float | None = None,
    low: float | None = None,
    dots: bool = False,
    marks: Sequence[tuple[float, float, float, float, str]] = (),
) -> str:
    """Draw named lines with axes and a legend.

    Args:
        series: Points ``(x, y)`` of each line.
        across: Name of the axis across.
        up: Name of the axis up.
        top: Upper end of the axis up; None for that of the points.
        low: Its lower end; None for 0, or the lowest point where that is below 0.
        dots: Whether every point is marked.
        marks: Single points ``(x, y, low, high, name)`` with their intervals, e.g. measured in MuJoCo.
    """
    xs = [x for points in series.values() for x, _ in points] + [mark[0] for mark in marks]
    ys = [y for points in series.values() for _, y in points] + [one for mark in marks for one in mark[1:4]]
    if not xs:
        return ""
    frame = _Frame(min(xs), max(xs), min(0.0, *ys) if low is None else low, max(ys) if top is None else top)
    drawn = [frame.grid(across, up)]
    for i, points in enumerate(series.values()):
        path = " ".join(f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y in points)
        drawn.append(f'<polyline class="line s{i % 6}" points="{path}"/>')
        if dots:
            drawn += [
                f'<circle class="dot s{i % 6}" cx="{frame.x(x):.1f}" cy="{frame.y(y):.1f}" r="3"/>' for x, y in points
            ]
    for j, (x, y, below, above, name) in enumerate(marks):
        colour, at = f"s{(len(series) + j) % 6}", frame.x(x)
        drawn.append(
            f'<line class="line {colour}" x1="{at:.1f}" x2="{at:.1f}" '
            f'y1="{frame.y(below):.1f}" y2="{frame.y(above):.1f}"/>'
        )
        drawn.append(
            f'<circle class="dot {colour}" cx="{at:.1f}" cy="{frame.y(y):.1f}" r="5">'
            f"<title>{escape(name)}</title></circle>"
        )
    return _figure(drawn, [*series, *(mark[4] for mark in marks)], f"{up} over {across}")


def small(name: str, points: Points) -> str:
    """Draw one line of which two stand beside each other on a phone: its ends are told, and how far it reaches."""
    xs, ys = [x for x, _ in points], [y for _, y in points]
    low, high = min(ys), max(ys)
    wide, tall = 200, 104
    across, up = max(xs) - min(xs) or 1.0, high - low or 1.0
    path = " ".join(
        f"{4 + (x - min(xs)) / across * (wide - 8):.1f},{18 + (high - y) / up * (tall - 38):.1f}" for x, y in points
    )
    ends = [
        f'<text x="4" y="12">{_told(high)}</text>',
        f'<text x="4" y="{tall - 3}">{_told(low)}</text>',
        f'<text x="{wide - 4}" y="{tall - 3}" text-anchor="end">to step {_told(max(xs))}</text>',
    ]
    edges = "".join(f'<line class="grid" x1="4" x2="{wide - 4}" y1="{y}" y2="{y}"/>' for y in (18, tall - 20))
    dot = path.rpartition(" ")[2].split(",")
    last = f'<circle class="dot s0" cx="{dot[0]}" cy="{dot[1]}" r="3"/>'
    return (
        f'<figure class="chart"><figcaption>{escape(name)} <b>{_told(ys[-1])}</b></figcaption>'
        f'<svg viewBox="0 0 {wide} {tall}" role="img" aria-label="{escape(name)} over steps">{edges}'
        f'<polyline class="line s0" points="{path}"/>{last}{"".join(ends)}</svg></figure>'
    )


def intervals(rows: Sequence[tuple[str, float, float | None, float | None]], *, across: str) -> str:
    """Draw shares in ``[0, 1]`` as bars, ``(name, value, low, high)``, with their intervals where there are any."""
    height, wide = 34 * len(rows) + 34, WIDTH - 2 * RIGHT
    drawn = []
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        at, anchor = RIGHT + tick * wide, {0.0: "start", 1.0: "end"}.get(tick, "middle")
        drawn.append(f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="2" y2="{height - 30}"/>')
        drawn.append(f'<text x="{at:.1f}" y="{height - 17}" text-anchor="{anchor}">{tick:.0%}</text>')
    for i, (name, value, low, high) in enumerate(rows):
        y = 6 + 34 * i
        drawn.append(f'<rect class="bar s{i % 6}" x="{RIGHT}" y="{y + 14}" width="{value * wide:.1f}" height="10"/>')
        if low is not None and high is not None:
            ends = RIGHT + low * wide, RIGHT + high * wide
            drawn.append(f'<line class="whisker" x1="{ends[0]:.1f}" x2="{ends[1]:.1f}" y1="{y + 19}" y2="{y + 19}"/>')
        drawn.append(f'<text class="name" x="{RIGHT + 2}" y="{y + 10}">{escape(name)}</text>')
    drawn.append(f'<text x="{WIDTH / 2}" y="{height - 3}" text-anchor="middle">{escape(across)}</text>')
    return _figure(drawn, [], across, height=height)


class _Frame:
    """Where numbers stand on a chart."""

    def __init__(self, left: float, right: float, low: float, high: float) -> None:
        self.left, self.right = left, right if right > left else left + 1.0
        self.low, self.high = low, high if high > low else low + 1.0

    def x(self, value: float) -> float:
        return LEFT + (value - self.left) / (self.right - self.left) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - (value - self.low) / (self.high - self.low) * (HEIGHT - TOP - BOTTOM)

    def grid(self, across: str, up: str) -> str:
        drawn = []
        for i in range(5):
            y, x = self.low + i / 4 * (self.high - self.low), self.left + i / 4 * (self.right - self.left)
            anchor = {0: "start", 4: "end"}.get(i, "middle")
            drawn.append(
                f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{self.y(y):.1f}" y2="{self.y(y):.1f}"/>'
            )
            drawn.append(f'<text x="{LEFT - 5}" y="{self.y(y) + 4:.1f}" text-anchor="end">{_told(y)}</text>')
            drawn.append(f'<text x="{self.x(x):.1f}" y="{HEIGHT - 24}" text-anchor="{anchor}">{_told(x)}</text>')
        middle = (HEIGHT - BOTTOM + TOP) / 2
        drawn.append(f'<text x="{(LEFT + WIDTH) / 2}" y="{HEIGHT - 6}" text-anchor="middle">{escape(across)}</text>')
        drawn.append(f'<text transform="translate(11,{middle}) rotate(-90)" text-anchor="middle">{escape(up)}</text>')
        return "".join(drawn)


def _told(value: float) -> str:
    if abs(value) >= 10_000:
        return f"{value / 1000:,.0f}k"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2g}"


def _figure(drawn: Sequence[str], names: Sequence[str], title: str, *, height: int = HEIGHT) -> str:
    legend = "".join(f'<li class="s{i % 6}">{escape(name)}</li>' for i, name in enumerate(names))
    listed = f'<ul class="legend">{legend}</ul>' if len(names) > 1 else ""  # one says what its axis says
    svg = f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">{"".join(drawn)}</svg>'
    return f'<figure class="chart">{svg}{listed}</figure>'
