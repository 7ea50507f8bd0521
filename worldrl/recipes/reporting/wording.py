"""How figures are put into words."""

from html import escape
from typing import Any


def percent(share: float | None) -> str:
    """Return a share as per cent; a dash where there is none."""
    return "-" if share is None else f"{100 * share:.1f} %"


def details(name: str, inside: str) -> str:
    """Return what is shown on a tap; ``inside`` is HTML."""
    return f"<details><summary>{escape(name)}</summary>{inside}</details>"


def span(interval: Any) -> str:
    """Return an interval of shares, a pair or ``low`` and ``high``, in per cent."""
    if interval is None:
        return ""
    low, high = (interval["low"], interval["high"]) if isinstance(interval, dict) else interval
    return f"[{100 * low:.1f}, {100 * high:.1f}]"


def signed(value: float | None) -> str:
    """Return a difference of shares in points, with its sign."""
    return "-" if value is None else f"{100 * value:+.1f}"


def number(value: float | None) -> str:
    """Return a number with two digits."""
    return "-" if value is None else f"{value:.2f}"


def points_of(gain: dict[str, Any]) -> str:
    """Return the interval of a gain in points."""
    return f"[{100 * gain['low']:+.1f}, {100 * gain['high']:+.1f}]"
