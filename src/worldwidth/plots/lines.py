"""Headline metrics of archs against their parameters and FLOPs; those over another axis are in over_axis.py."""

from collections.abc import Collection, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullLocator
from numpy.typing import NDArray

from worldwidth.comparison.axes import BUDGETS
from worldwidth.comparison.labels import PARAMETERS, PRETRAINING_FLOPS
from worldwidth.comparison.statistics import INTERVAL
from worldwidth.comparison.tables import Comparison
from worldwidth.core.text import seeds, short
from worldwidth.plots.style import (
    DASHES,
    FAINT,
    INK,
    MARKERS,
    PAGE,
    SMALL,
    STYLE,
    TEXT,
    Look,
    arch_looks,
    frame,
    name_sizes,
    new_figure,
    plain,
    wrapped,
)

INTERVAL_LIMITS = (-0.5, 1.5)
"""An interval of two seeds is often longer than the scale: it may take no more of a panel."""
ABREAST = 3  # metrics
_NEAR = 1.1
"""Sizes of this ratio or less are one place: names would lie on each other."""

Place = tuple[str, str]
"""(arm, level)."""


def answers(comparison: Comparison) -> list[str]:
    """Those of the two that the compared models have; plug-ins and the control alone have none."""
    plan = comparison.declared
    wanted = [plan.analysis.primary if plan else "skill_trained", "ftwb1_transfer_minus_control"]
    return [name for name in wanted if name in comparison.metrics]


@plt.style.context(STYLE)
def draw_answer(comparison: Comparison) -> Figure:
    """The two metrics that answer the question, over parameters: what is declared, and transfer minus control."""
    names = answers(comparison)
    points, marks = points_of(comparison, names), marks_of(comparison.arms)
    places, looks = places_of(points, "parameters"), arch_looks(comparison.settings)
    figure = new_figure(PAGE, 200)
    for name, axes in zip(names, figure.subplots(1, len(names), squeeze=False)[0], strict=True):
        own = points[points["metric"] == name]
        draw_metric(axes, comparison.runs, name, own, places, marks, looks, frozenset(comparison.axis.sizes))
        name_points(axes, places)
        axes.set_title(comparison.metrics[name].label, fontweight="bold", pad=34)
        axes.set_xlabel(PARAMETERS)
    _name_arms(figure, comparison.arms, marks)
    title = f"How new entities are taken in, by {comparison.axis.noun}  (scale {comparison.settings.scale})"
    frame(figure, title, _scores_caption(comparison, points))
    return figure


@plt.style.context(STYLE)
def draw_over_sizes(comparison: Comparison) -> Figure:
    """Headline metrics, three a band: against parameters (upper row), against pre-training FLOPs (lower row)."""
    names = headlines(comparison)
    bands, points = -(-len(names) // ABREAST), points_of(comparison, names)
    figure = new_figure(PAGE, 25 + 250 * bands)
    grid = figure.subplots(2 * bands, ABREAST, squeeze=False)
    for axes in grid.T.reshape(-1, 2)[len(names) :].flat:
        axes.set_visible(False)
    marks, looks = marks_of(comparison.arms), arch_looks(comparison.settings)
    for i, name in enumerate(names):
        band, column = divmod(i, ABREAST)
        own, above, below = points[points["metric"] == name], grid[2 * band, column], grid[2 * band + 1, column]
        places = places_of(points, "flops")
        joined, sizes = frozenset(comparison.axis.sizes), places_of(points, "parameters")
        draw_metric(above, comparison.runs, name, own, sizes, marks, looks, joined)
        draw_metric(below, comparison.runs, name, own, places, marks, looks, joined)
        if is_crowded(points):
            name_points(above, sizes)
        else:
            name_widths(above, points)
        name_points(below, places)
        above.set_title(
            comparison.metrics[name].label, fontweight="bold", pad=34 if is_crowded(points) else 6 if band == 0 else 10
        )
        above.set_xlabel(PARAMETERS)
        below.set_xlabel(PRETRAINING_FLOPS)
    _name_arms(figure, comparison.arms, marks)
    title = f"Scores by {comparison.axis.noun}  (scale {comparison.settings.scale})"
    frame(figure, title, _scores_caption(comparison, points))
    return figure


def _name_arms(figure: Figure, arms: Sequence[str], marks: dict[str, dict[str, Any]]) -> None:
    """The legend, beside the panels."""
    word = "budget " if _are_budgets(arms) else ""
    handles = [
        Line2D([], [], ms=4, lw=0.8, color=INK, label=wrapped(f"{word}{arm}", 80, TEXT), **marks[arm]) for arm in arms
    ]
    figure.legend(handles=handles, loc="outside right center")


def _are_budgets(arms: Sequence[str]) -> bool:
    """Whether arms differ in the budget of pre-training alone."""
    return all(arm in BUDGETS for arm in arms)


def marks_of(arms: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Marker and dashes of each; its points have the colours of archs."""
    return {
        arm: {"marker": MARKERS[i % len(MARKERS)], "linestyle": DASHES[i % len(DASHES)]} for i, arm in enumerate(arms)
    }


def headlines(comparison: Comparison) -> list[str]:
    """Trained cells first, then the others, then those above the control."""
    own = [name for name in comparison.metrics if name.startswith("ftwb") and "log_skill" not in name]
    ends = ("_trained", "_transfer", "_minus_control")
    trained, transfer, above = ([name for name in own if name.endswith(end)] for end in ends)
    names = [*trained, "skill_trained", *transfer, "base_skill", *above, "control"]
    return [name for name in names if name in comparison.metrics]


def points_of(comparison: Comparison, names: list[str]) -> pd.DataFrame:
    """The table of means, with the mean parameters and FLOPs of each, and its intervals as numbers."""
    sizes = comparison.runs.groupby(["arm", "level"], sort=False)[["parameters", "flops"]].mean().reset_index()
    points = comparison.means[comparison.means["metric"].isin(names)].merge(sizes, on=["arm", "level"])
    return points.astype({"mean": float, "low": float, "high": float})


def _scores_caption(comparison: Comparison, points: pd.DataFrame) -> list[str]:
    arms = [_said(comparison, arm) for arm in comparison.arms]
    return [
        *points_caption(comparison, points, "small dots"),
        f"{'Budgets' if _are_budgets(comparison.arms) else 'Arms'}: {'; '.join(arms)}.",
    ]


def _said(comparison: Comparison, arm: str) -> str:
    """An arm in the caption, with what it is where its name does not say so."""
    words = comparison.words(arm)
    return f"{arm}, {words}" if arm in BUDGETS else words if words.startswith(f"{arm}: ") else arm


def points_caption(comparison: Comparison, points: pd.DataFrame, marks: str) -> list[str]:
    """What points and bars are, and the scales they are on.

    Args:
        marks: what single runs are drawn as.
    """
    what = f"bars: {INTERVAL} of the mean over all possible seeds (Student's t); {marks}: single seeds."
    there = points["n"][points["n"] > 0]
    over = f"Points: means over {seeds(there)}; {what}"
    return [
        over if points["low"].notna().any() else "Points: one seed each; an interval needs two seeds or more.",
        beyond(points),
        "FTWB: normalised improvement on Atlantis; 0 as the base model there, 1 as it is on ordinary cities. "
        "Skill: 0 the best constant answer, 1 no error.",
        "A seed has a draw of Atlantis of its own." * (comparison.runs["atlantis_seed"].nunique() > 1),
        "Control: fine-tuned on the warm-up lines alone." * bool(points["metric"].eq("control").any()),
    ]


def beyond(points: pd.DataFrame) -> str:
    """What a caption says where an interval is cut by :func:`limits_of`; empty where none is."""
    ends, (low, high) = points[["low", "high"]].astype(float), INTERVAL_LIMITS
    is_cut = ends["low"].min() < low or ends["high"].max() > high
    return "Bars that reach a panel's edge go on beyond it." if is_cut else ""


def places_of(points: pd.DataFrame, size: str) -> dict[Place, float]:
    """Where each arm's level stands on a log axis: at its ``size``."""
    rows = points.drop_duplicates(["arm", "level"])
    return dict(zip(zip(rows["arm"], rows["level"], strict=True), rows[size].astype(float), strict=True))


def draw_metric(
    axes: Axes,
    runs: pd.DataFrame,
    name: str,
    points: pd.DataFrame,
    places: dict[Place, float],
    marks: dict[str, dict[str, Any]],
    looks: dict[str, Look],
    joined: Collection[str],
) -> None:
    """Mean and interval of every level, those of one depth joined within an arm; the single runs as faint dots.

    Args:
        runs: one row a run, with the metric ``name``.
        points: one row per arm and level: the metric's mean, low, high.
        marks: of the arms.
        looks: of the archs, which are the levels.
        joined: the levels of one depth.
    """
    for arm in points["arm"].unique():
        own, rows, mark = runs[runs["arm"] == arm], points[points["arm"] == arm], marks[arm]
        line = rows[rows["level"].isin(joined)]
        x = [places[arm, level] for level in line["level"]]
        axes.plot(x, line["mean"], color=FAINT, lw=0.6, linestyle=mark["linestyle"])
        for row in rows.to_dict("records"):
            shape: dict[str, Any] = {"color": looks[row["level"]].color, "marker": mark["marker"], "linestyle": ""}
            x, single = [places[arm, row["level"]]], own[own["level"] == row["level"]][name]
            axes.plot(x * len(single), single, ms=2.8, mew=0, alpha=0.5, **shape)
            bars = np.array([[row["mean"] - row["low"]], [row["high"] - row["mean"]]])
            axes.errorbar(x, row["mean"], bars, ms=4, mec="none", elinewidth=0.8, capsize=1.5, capthick=0.8, **shape)
    x_limits = _widened(np.log10(list(places.values())), 0.1, 0.8)  # room for two ticks
    axes.set(xscale="log", xlim=10**x_limits, ylim=limits_of(runs[name], points))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    plain(axes)


def _widened(values: NDArray[np.float64], edge: float, least: float) -> NDArray[np.float64]:
    """Lowest and highest value, an ``edge`` of their range beyond; at least ``least`` apart."""
    half = max((1 + 2 * edge) * float(np.ptp(values)), least) / 2
    middle = float(values.min() + values.max()) / 2
    return np.array([middle - half, middle + half])


def limits_of(dots: pd.Series, points: pd.DataFrame) -> NDArray[np.float64]:
    """The panel's range: all points and dots, and the intervals as far as they lie on the scale."""
    bars = [*points["low"].clip(*INTERVAL_LIMITS), *points["high"].clip(*INTERVAL_LIMITS)]
    found = [value for value in (*dots, *points["mean"], *bars) if np.isfinite(value)] or [0.0, 1.0]
    return _widened(np.array(found), 0.05, 0.1)


def is_crowded(points: pd.DataFrame) -> bool:
    """Whether names of levels below their parameters would lie on each other."""
    logs = np.sort(np.log10(points.drop_duplicates("level")["parameters"].to_numpy(dtype=np.float64)))
    return bool(len(logs) > 1 and np.diff(logs).min() < 0.05 * np.ptp(logs))


def name_widths(axes: Axes, points: pd.DataFrame) -> None:
    """Every width and its parameters, below its points."""
    sizes = points.drop_duplicates("level").set_index("level")["parameters"]
    labels = [f"{arch}\n{short(size)}" for arch, size in sizes.items()]
    axes.set_xticks(list(sizes), labels, fontsize=SMALL, rotation=0 if len(labels) <= 4 else 90)
    axes.xaxis.set_minor_locator(NullLocator())


def name_points(axes: Axes, places: dict[Place, float]) -> None:
    """Every width once above its points, at the panel's upper edge; parameters or FLOPs below."""
    style: dict[str, Any] = {"rotation": 90, "ha": "center", "va": "bottom", "fontsize": SMALL, "color": FAINT}
    named: list[tuple[str, float]] = []
    for (_, level), x in sorted(places.items(), key=lambda place: place[1]):
        if not any(level == other and x < _NEAR * at for other, at in named):
            named.append((level, x))
    for level, x in named:
        beside = [other for other, at in named if max(x, at) < _NEAR * min(x, at)]  # names move, not points
        aside = style["fontsize"] * (beside.index(level) - (len(beside) - 1) / 2)
        place: dict[str, Any] = {"xycoords": axes.get_xaxis_transform(), "textcoords": "offset points"}
        axes.annotate(level, (x, 1.02), (aside, 0), **place, **style)
    name_sizes(axes.xaxis, float(np.ptp(np.log10(axes.get_xlim()))))
