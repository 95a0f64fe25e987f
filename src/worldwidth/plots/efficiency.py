"""A comparison's scores against what they cost, the frontier marked: which point is best at a given budget."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from worldwidth.comparison.axes import ARCH
from worldwidth.comparison.efficiency import COSTS
from worldwidth.comparison.statistics import INTERVAL
from worldwidth.comparison.tables import Comparison, records
from worldwidth.core.text import plural, seeds
from worldwidth.plots.lines import Place, beyond, limits_of
from worldwidth.plots.style import (
    FAINT,
    PAGE,
    STYLE,
    TEXT,
    arch_looks,
    frame,
    looks_of,
    name_sizes,
    new_figure,
    plain,
    wrapped,
)
from worldwidth.settings.schema import DEFAULT, finetuned


@plt.style.context(STYLE)
def draw_efficiency(comparison: Comparison) -> Figure:
    """A row of panels a cost, a column a score; a point an arm and level; the frontier as a step line."""
    table = comparison.efficiency
    names, styles = list(dict.fromkeys(table["metric"])), _styles(comparison)
    figure = new_figure(PAGE, 30 + 125 * len(COSTS))
    grid = figure.subplots(len(COSTS), len(names), squeeze=False, sharex="row", sharey="col")
    for row, (cost, label) in zip(grid, COSTS.items(), strict=True):
        for axes, name in zip(row, names, strict=True):
            own = table[(table["metric"] == name) & (table["cost"] == cost)].astype({"low": float, "high": float})
            draw_points(axes, own, styles)
            axes.set_ylim(limits_of(own["mean"], own))
            axes.set_xlabel(label)
        row[0].set_xlim(_limits(table[table["cost"] == cost]["at"]))
    for axes, name in zip(grid[0], names, strict=True):
        axes.set_title(comparison.metrics[name].label, fontweight="bold")
    figure.legend(handles=_legend(comparison, styles), loc="outside right center")
    frame(figure, f"Scores against their cost  (scale {comparison.settings.scale})", _caption(comparison))
    return figure


def _styles(comparison: Comparison) -> dict[Place, dict[str, Any]]:
    """(arm, level) -> its colour (that of its arch, if there are several) and marker."""
    rests, several = _rests(comparison), len(comparison.archs) > 1
    shapes, looks = looks_of(dict.fromkeys(rests.values())), arch_looks(comparison.settings)
    found = {}
    for row in records(comparison.runs.drop_duplicates(["arm", "level"])):
        shape = shapes[rests[row["arm"], row["level"]]]
        color = looks[row["arch"]].color if several else shape.color
        found[row["arm"], row["level"]] = {"color": color, "marker": shape.marker}
    return found


def _rests(comparison: Comparison) -> dict[Place, str]:
    """(arm, level) -> what tells it from the others beside its arch."""
    rows = records(comparison.runs.drop_duplicates(["arm", "level"]))
    return {(row["arm"], row["level"]): comparison.design.rest_of(row, without=(ARCH,)) for row in rows}


def _legend(comparison: Comparison, styles: dict[Place, dict[str, Any]]) -> list[Line2D]:
    """Archs by their colours, all else by markers, and the frontier."""
    several, looks = len(comparison.archs) > 1, arch_looks(comparison.settings)
    first = {rest: place for place, rest in reversed(_rests(comparison).items())}
    of_archs = [_mark(arch, {"color": looks[arch].color, "marker": "s"}) for arch in comparison.archs if several]
    rests = dict(reversed(first.items())) if len(first) > 1 or not several else {}
    of_rest = [
        _mark(rest or DEFAULT, styles[place] | ({"color": FAINT} if several else {})) for rest, place in rests.items()
    ]
    frontier: dict[str, Any] = {"color": FAINT, "lw": 0.8, "marker": "o", "mfc": "none", "mew": 0.8, "ms": 6.5}
    return [*of_archs, *of_rest, Line2D([], [], label="frontier", **frontier)]


def _mark(name: str, style: dict[str, Any]) -> Line2D:
    return Line2D([], [], ls="", ms=4, label=wrapped(name, 80, TEXT), **style)


def draw_points(axes: Axes, points: pd.DataFrame, styles: dict[Place, dict[str, Any]]) -> None:
    """Mean and interval of every point, those of the frontier ringed and joined by a step line.

    Args:
        points: arm, level, at, mean, low, high and frontier.
    """
    best = points[points["frontier"]].sort_values("at")
    ends = [*best["at"], _limits(points["at"])[1]], [*best["mean"], *best["mean"].iloc[-1:]]
    axes.step(*ends, where="post", color=FAINT, lw=0.8)
    axes.plot(best["at"], best["mean"], ls="", marker="o", ms=6.5, mew=0.8, mfc="none", mec=FAINT)
    for row in points.to_dict("records"):
        bars = [[row["mean"] - row["low"]], [row["high"] - row["mean"]]]
        shape: dict[str, Any] = {"ms": 3.5, "mec": "none", "elinewidth": 0.8, "capsize": 1.5, "capthick": 0.8}
        axes.errorbar(row["at"], row["mean"], bars, **shape, **styles[row["arm"], row["level"]])
    axes.set_xscale("log")
    decades = float(np.ptp(np.log10(points["at"].to_numpy(dtype=np.float64))))
    name_sizes(axes.xaxis, decades)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    plain(axes)


def _limits(costs: pd.Series) -> tuple[float, float]:
    """A little beyond the points, and room for two of the ticks 1, 2, 5: without, matplotlib takes others."""
    logs = np.log10(costs.to_numpy(dtype=np.float64))
    half = max(0.58 * float(np.ptp(logs)), 0.42)
    middle = float(logs.min() + logs.max()) / 2
    return float(10 ** (middle - half)), float(10 ** (middle + half))


def _caption(comparison: Comparison) -> list[str]:
    table = comparison.efficiency
    bars = f"bars: {INTERVAL} (Student's t)" if table["low"].notna().any() else "an interval needs two seeds or more"
    tunes = plural(len(finetuned(comparison.settings)), "fine-tune")
    return [
        f"Points: means over {seeds(table['n'])}; {bars}. Frontier: no other point has at least its mean score for at "
        "most its cost; the means alone decide.",
        beyond(table),
        f"FLOPs: pre-training and all {tunes} of a run, 6 x parameters x tokens. FTWB: normalised improvement on "
        "Atlantis; skill: 0 the best constant answer, 1 no error.",
    ]
