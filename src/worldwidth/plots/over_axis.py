"""Headline metrics over an axis: a line an arch, and for whatever else differs; single runs as thin marks."""

from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullLocator

from worldwidth.comparison.axes import ARCH, Axis
from worldwidth.comparison.tables import Comparison, records
from worldwidth.core.errors import WorldwidthError
from worldwidth.plots.lines import ABREAST, Place, headlines, limits_of, points_caption, points_of
from worldwidth.plots.style import (
    DASHES,
    MARKERS,
    PAGE,
    SMALL,
    STYLE,
    TEXT,
    arch_looks,
    frame,
    looks_of,
    new_figure,
    plain,
    wrapped,
)
from worldwidth.settings.axes import shortest


@plt.style.context(STYLE)
def draw_over_axis(comparison: Comparison) -> Figure:
    """Headline metrics against the values of an axis, a line for each of all else that differs.

    Raises:
        WorldwidthError: the comparison is of archs alone.
    """
    axis = comparison.design.drawn_over
    if axis is None:
        raise WorldwidthError("archs alone are drawn against their sizes")
    names, lines = headlines(comparison), _lines(comparison, axis)
    bands, points = -(-len(names) // ABREAST), points_of(comparison, names)
    figure = new_figure(PAGE, 30 + 125 * bands)
    grid = figure.subplots(bands, ABREAST, squeeze=False)
    for axes in grid.flat[len(names) :]:
        axes.set_visible(False)
    for i, (name, axes) in enumerate(zip(names, grid.flat, strict=False)):
        for line in lines:
            draw_line(axes, comparison.runs, name, points[points["metric"] == name], line)
        axes.set_title(comparison.metrics[name].label, fontweight="bold")
        axes.set_ylim(limits_of(comparison.runs[name], points[points["metric"] == name]))
        _name_values(axes, axis)
        axes.set_xlabel(axis.key if i + ABREAST >= len(names) else "")
    handles = [Line2D([], [], ms=3.5, lw=1, **line.style) for line in lines]
    labels = [wrapped(line.name, 90, TEXT) for line in lines]
    figure.legend(handles, labels, loc="outside right center", handlelength=2.6)
    frame(
        figure,
        f"Scores over {axis.key}  (scale {comparison.settings.scale})",
        points_caption(comparison, points, "thin marks"),
    )
    return figure


@dataclass(frozen=True)
class Line:
    """A curve over an axis."""

    name: str
    places: dict[Place, float]
    """Where its points stand."""
    style: dict[str, Any]


def _lines(comparison: Comparison, axis: Axis) -> list[Line]:
    """One for each of all else that differs: an arch by its colour, the rest by marker and dashes."""
    rows = records(comparison.runs.drop_duplicates(["arm", "level"]))
    found: dict[tuple[str, str], dict[Place, float]] = {}
    for row in rows:
        rest = comparison.design.rest_of(row, without=(axis.key, ARCH))
        found.setdefault((row["arch"], rest), {})[row["arm"], row["level"]] = _position(axis, shortest(row[axis.key]))
    rests = list(dict.fromkeys(rest for _, rest in found))
    looks, of_rest = arch_looks(comparison.settings), looks_of(rests)
    several = len(comparison.archs) > 1
    lines = []
    order = sorted(found, key=lambda line: (rests.index(line[1]), comparison.archs.index(line[0])))
    for i, (arch, rest) in enumerate(order):
        n = rests.index(rest)
        shape: dict[str, Any] = {"marker": MARKERS[n % len(MARKERS)], "linestyle": DASHES[n % len(DASHES)]}
        color = (looks[arch] if several else of_rest[rest]).color
        aside = 0 if axis.is_quantitative else (i - (len(found) - 1) / 2) * 0.012 * _span(axis)
        moved = {place: x + aside for place, x in found[arch, rest].items()}  # names have room beside them
        name = ", ".join(part for part in (arch if several or not rest else "", rest) if part)
        lines.append(Line(name, moved, {"color": color, **shape}))
    return lines


def _position(axis: Axis, level: str) -> float:
    value = axis.values[level]
    return float(value) if axis.is_quantitative and not isinstance(value, str) else float(axis.levels.index(level))


def _span(axis: Axis) -> float:
    """How long the axis is, in its own units or in decades."""
    ends = [_position(axis, axis.levels[i]) for i in (0, -1)]
    return float(np.log10(ends[1] / ends[0])) if axis.is_log else ends[1] - ends[0]


def draw_line(axes: Axes, runs: pd.DataFrame, name: str, points: pd.DataFrame, line: Line) -> None:
    """Mean and interval at every value, joined; the single runs as thin marks."""
    x, y = [], []
    for row in runs.to_dict("records"):
        if (row["arm"], row["level"]) in line.places:
            x.append(line.places[row["arm"], row["level"]])
            y.append(row[name])
    axes.plot(x, y, "_", color=line.style["color"], ms=3.5, mew=0.6, alpha=0.7)
    rows = [row for row in points.to_dict("records") if (row["arm"], row["level"]) in line.places]
    rows.sort(key=lambda row: line.places[row["arm"], row["level"]])
    means = np.array([[row["mean"], row["mean"] - row["low"], row["high"] - row["mean"]] for row in rows])
    at = [line.places[row["arm"], row["level"]] for row in rows]
    bars: dict[str, Any] = {"capsize": 1.2, "capthick": 0.6, "elinewidth": 0.6, "lw": 1.0, "ms": 3, "mec": "none"}
    axes.errorbar(at, means[:, 0], means[:, 1:].T, **bars, **line.style)


def _name_values(axes: Axes, axis: Axis) -> None:
    """The values that there are, as ticks."""
    places = [_position(axis, level) for level in axis.levels]
    if axis.is_log:
        axes.set_xscale("log")
    crowded = sum(map(len, axis.levels)) > 26
    axes.set_xticks(places, axis.levels, fontsize=SMALL, rotation=90 if crowded else 0)
    axes.xaxis.set_minor_locator(NullLocator())
    room = 0.07 * (_span(axis) or 1)
    low, high = min(places), max(places)
    axes.set_xlim((low / 10**room, high * 10**room) if axis.is_log else (low - room, high + room))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    plain(axes)
