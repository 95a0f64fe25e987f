"""The report's charts of points: rows with names, means, intervals and single runs, as SVG that fits any width.

Lengths along a row are shares of the width and all others are pixels, so that text stays as large on a phone. A row's
title says its numbers; the page has them in a table, too.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from worldwidth.core.text import is_number, number
from worldwidth.plots.style import Look, round_values

_NAMES = 0.31
"""Share of the width that names take."""
_BEYOND = 0.35
"""How far intervals may widen the scale, as a share of what means and single runs take."""
_MARKERS = {
    "o": "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0-10 0z",
    "s": "M-4.4-4.4h8.8v8.8h-8.8z",
    "^": "M0-5.6 5.4 4.2h-10.8z",
    "D": "M0-6 6 0 0 6-6 0z",
    "v": "M0 5.6 5.4-4.2h-10.8z",
    "P": "M-1.9-5.6h3.8v3.7h3.7v3.8h-3.7v3.7h-3.8v-3.7h-3.7v-3.8h3.7z",
}
CONTROL = Markup('<path class="control" d="M0-5 5 0 0 5-5 0z"/>')


@dataclass(frozen=True)
class Row:
    """One mean."""

    name: str
    look: Look
    mean: float
    low: float = math.nan
    high: float = math.nan
    singles: tuple[float, ...] = ()
    control: float = math.nan
    note: str = ""
    """A line below the name."""
    is_joined: bool = False
    """Whether a line leads to it from the last one of its group that is joined."""


@dataclass(frozen=True)
class Group:
    """Rows under a title."""

    title: str
    rows: list[Row]


def marker(look: Look) -> Markup:
    """The sign of one, for a chart or a legend."""
    return Markup('<path class="c{}" d="{}"/>').format(look.place, Markup(_MARKERS[look.marker]))


def legend_sign(sign: Markup) -> Markup:
    """A sign among words."""
    return Markup('<svg class="sign" viewBox="-7 -7 14 14" aria-hidden="true">{}</svg>').format(sign)


def dot_chart(groups: Sequence[Group], label: str) -> Markup:
    """The chart.

    Args:
        label: what it shows, for those who do not see it.
    """
    rows = [row for group in groups for row in group.rows]
    low, high = _limits(rows)
    height = 30 if any(row.note for row in rows) else 17
    parts: list[Markup] = []
    y = 4.0
    for group in groups:
        if group.title:
            y += 18
            parts.append(_text(0, y - 5, group.title, "title"))
        before: Row | None = None
        at = 0.0
        for row in group.rows:
            y += height
            middle = y - height / 2
            if row.is_joined and before:
                ends = _share(before.mean, low, high), at, _share(row.mean, low, high), middle
                parts.append(Markup('<line class="join" x1="{}%" y1="{}" x2="{}%" y2="{}"/>').format(*ends))
            if row.is_joined:
                before, at = row, middle
        y = y - height * len(group.rows)
        for row in group.rows:
            parts.append(_row(row, y + height / 2, low, high))
            y += height
    grid = _grid(low, high, y)
    form = '<svg class="dots" role="img" aria-label="{}" width="100%" height="{:.0f}">{}{}</svg>'
    return Markup(form).format(label, y + 20, grid, Markup("").join(parts))


def _limits(rows: Iterable[Row]) -> tuple[float, float]:
    """The ends of the scale: 0, all means and single runs, and of the intervals as much as leaves them apart."""
    found = list(rows)
    points = [0.0, *(value for row in found for value in (row.mean, row.control, *row.singles) if is_number(value))]
    ends = [value for row in found for value in (row.low, row.high) if is_number(value)]
    span = max(max(points) - min(points), 0.1)
    low = max(min([*points, *ends]), min(points) - _BEYOND * span)
    high = min(max([*points, *ends]), max(points) + _BEYOND * span)
    return low - 0.03 * span, high + 0.03 * span


def _share(value: float, low: float, high: float) -> float:
    """Where a value stands, in per cent of the width."""
    return round(100 * (_NAMES + (0.985 - _NAMES) * (value - low) / (high - low)), 2)


def _grid(low: float, high: float, bottom: float) -> Markup:
    """Lines at round numbers, and 0 dashed."""
    ticks = round_values(low, high)
    digits = max(1, -math.floor(math.log10(ticks[1] - ticks[0]))) if len(ticks) > 1 else 1
    parts = []
    for tick in ticks:
        x, kind = _share(tick, low, high), "zero" if abs(tick) < 1e-9 else "grid"
        parts.append(Markup('<line class="{}" x1="{}%" x2="{}%" y1="2" y2="{:.0f}"/>').format(kind, x, x, bottom + 2))
        parts.append(_text(x, bottom + 16, number(tick, digits), "tick"))
    return Markup("").join(parts)


def _row(row: Row, y: float, low: float, high: float) -> Markup:
    """A row's names and signs."""
    lift = 3 if row.note else -4
    parts = [_text(0, y - lift, row.name, "name")]
    if row.note:
        parts.append(_text(0, y + 11, row.note, "note"))
    if is_number(row.low):
        x1, x2 = (_share(min(max(end, low), high), low, high) for end in (row.low, row.high))
        parts.append(
            Markup('<line class="bar c{}" x1="{}%" x2="{}%" y1="{}" y2="{}"/>').format(row.look.place, x1, x2, y, y)
        )
        for beyond, x, way in ((row.low < low, x1, -1), (row.high > high, x2, 1)):
            if beyond:
                arrow = Markup('<path class="on c{}" d="M{}-4 0 0 {} 4"/>').format(row.look.place, -4 * way, -4 * way)
                parts.append(_at(x, y, arrow))
    for value in row.singles:
        form = '<circle class="single c{}" cx="{}%" cy="{}" r="2"/>'
        parts.append(Markup(form).format(row.look.place, _share(value, low, high), y))
    if is_number(row.control):
        parts.append(_at(_share(row.control, low, high), y, CONTROL))
    if is_number(row.mean):
        parts.append(_at(_share(row.mean, low, high), y, marker(row.look)))
    return Markup("<g><title>{}</title>{}</g>").format(_said(row), Markup("").join(parts))


def _said(row: Row) -> str:
    between = f" [{number(row.low, 2)}, {number(row.high, 2)}]" if is_number(row.low) else ""
    control = f"; control {number(row.control, 2)}" if is_number(row.control) else ""
    return f"{row.name}: {number(row.mean, 2)}{between}{control}"


def _at(x: float, y: float, sign: Markup) -> Markup:
    return Markup('<svg x="{}%" y="{}" overflow="visible">{}</svg>').format(x, y, sign)


def _text(x: float, y: float, text: str, kind: str) -> Markup:
    return Markup('<text class="{}" x="{}%" y="{}">{}</text>').format(kind, x, y, text)
