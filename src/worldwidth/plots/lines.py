"""The comparison's line figures: headline metrics against parameters and FLOPs, and the curves of pre-training."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from worldwidth.comparison.statistics import INTERVAL
from worldwidth.comparison.tables import BUDGETS, Comparison
from worldwidth.core.text import seeds, short
from worldwidth.plots.style import (
    BUDGET_COLORS,
    BUDGET_DASHES,
    BUDGET_MARKERS,
    FAINT,
    PAGE,
    STYLE,
    frame,
    new_figure,
    plain,
    width_colors,
)

INTERVAL_LIMITS = (-0.5, 1.5)
"""An interval of two seeds is often longer than the scale: it may take no more of a panel."""
_ABREAST = 3  # metrics

Place = tuple[str, str]
"""(budget, arch)."""


@plt.style.context(STYLE)
def draw_scores(comparison: Comparison) -> Figure:
    """Headline metrics, three a band: against parameters (upper row), against pre-training FLOPs (lower row)."""
    names = _headlines(comparison)
    bands, points = -(-len(names) // _ABREAST), _points(comparison, names)
    figure = new_figure(PAGE, 25 + 238 * bands)
    grid = figure.subplots(2 * bands, _ABREAST, squeeze=False)
    for axes in grid.T.reshape(-1, 2)[len(names) :].flat:
        axes.set_visible(False)
    for i, name in enumerate(names):
        band, column = divmod(i, _ABREAST)
        own, above, below = points[points["metric"] == name], grid[2 * band, column], grid[2 * band + 1, column]
        places = places_of(points, "flops")
        draw_metric(above, comparison.runs, name, own, places_of(points, "parameters"))
        draw_metric(below, comparison.runs, name, own, places)
        name_widths(above, points)
        name_points(below, places)
        above.set_title(comparison.metrics[name].label, fontweight="bold", pad=6 if band == 0 else 10)
        above.set_xlabel("parameters")
        below.set_xlabel("pre-training FLOPs")
    handles = [Line2D([], [], color=BUDGET_COLORS[b], marker=BUDGET_MARKERS[b], ms=4, lw=1) for b in comparison.budgets]
    labels = [f"budget {budget}" for budget in comparison.budgets]
    figure.legend(handles, labels, loc="outside upper right", ncols=3)
    frame(figure, f"Scores by width  (scale {comparison.settings.scale})", _scores_caption(points))
    return figure


def _headlines(comparison: Comparison) -> list[str]:
    """Trained cells first, then the others."""
    own = [name for name in comparison.metrics if name.startswith("ftwb")]
    trained, transfer = ([n for n in own if n.endswith(which)] for which in ("_trained", "_transfer"))
    names = [*trained, "skill_trained", *transfer, "base_skill"]
    return [name for name in names if name in comparison.metrics]


def _points(comparison: Comparison, names: list[str]) -> pd.DataFrame:
    """The table of widths, with the mean parameters and FLOPs of each, and its intervals as numbers."""
    sizes = comparison.runs.groupby(["budget", "arch"], sort=False)[["parameters", "flops"]].mean().reset_index()
    points = comparison.widths[comparison.widths["metric"].isin(names)].merge(sizes, on=["budget", "arch"])
    return points.astype({"mean": float, "low": float, "high": float})


def _scores_caption(points: pd.DataFrame) -> list[str]:
    what = f"bars: {INTERVAL} of the mean over all possible seeds (Student's t); small dots: single seeds."
    there, low, high = points["n"][points["n"] > 0], points["low"].min(), points["high"].max()
    over = f"Points: means over {seeds(there)}; {what}"
    return [
        over if points["low"].notna().any() else "Points: one seed each; an interval needs two seeds or more.",
        "Bars that reach a panel's edge go on beyond it." * bool(low < INTERVAL_LIMITS[0] or high > INTERVAL_LIMITS[1]),
        "FTWB: normalised improvement on Atlantis; 0 as the base model there, 1 as it is on ordinary cities. "
        "Skill: 0 the best constant answer, 1 no error.",
        "Budgets: "
        + "; ".join(f"{budget}, {BUDGETS[budget]}" for budget in points["budget"].unique())
        + ". Points at the same place are set apart sideways.",
    ]


@plt.style.context(STYLE)
def draw_curves(comparison: Comparison) -> Figure:
    """Pre-training loss against FLOPs (left) and tokens (right): seeds thin, their mean thick."""
    figure = new_figure(PAGE, 190)
    colors = width_colors(comparison.archs)
    row = figure.subplots(1, 2, sharey=True)
    for axes, size, label in zip(row, ("flops", "tokens"), ("FLOPs", "tokens"), strict=True):
        draw_losses(axes, comparison.curves, size, colors)
        axes.set_xlabel(f"pre-training {label}")
    row[0].set_ylabel("loss (nats a token)")
    handles = [Line2D([], [], color=colors[arch], lw=2) for arch in comparison.archs]
    handles += [Line2D([], [], color=FAINT, lw=1.2, linestyle=BUDGET_DASHES[budget]) for budget in comparison.budgets]
    labels = [*comparison.archs, *(f"budget {budget}" for budget in comparison.budgets)]
    figure.legend(handles, labels, loc="outside right center", handlelength=2.6)
    frame(figure, f"Pre-training loss  (scale {comparison.settings.scale})", [_curves_caption(comparison.curves)])
    return figure


def _curves_caption(curves: pd.DataFrame) -> str:
    seeds = curves.groupby(["budget", "arch"])["seed"].nunique()
    which = "Validation loss" if curves["validation_loss"].notna().any() else "Training loss"
    lines = "one seed a line" if seeds.max() == 1 else f"thin: single seeds (up to {seeds.max()}); thick: their mean"
    return f"{which}; {lines}."


def places_of(points: pd.DataFrame, size: str) -> dict[Place, float]:
    """Where each budget's width stands on a log axis: at its ``size``, neighbours a little apart."""
    rows = points.drop_duplicates(["budget", "arch"])
    logs = np.log10(rows[size].to_numpy(dtype=np.float64))
    moved = apart(logs, 0.045 * max(float(np.ptp(logs)), 0.5))
    return {place: 10**x for place, x in zip(zip(rows["budget"], rows["arch"], strict=True), moved, strict=True)}


def apart(values: NDArray[np.float64], gap: float) -> list[float]:
    """The values moved as little as need be for neighbours to stand ``gap`` apart; equal ones keep their order."""
    order = np.argsort(np.round(values, 2), kind="stable")
    steps = gap * np.arange(len(values))
    moved = np.empty(len(values))
    moved[order] = isotonic_regression(values[order] - steps).x + steps
    return [float(value) for value in moved]


def draw_metric(axes: Axes, runs: pd.DataFrame, name: str, points: pd.DataFrame, places: dict[Place, float]) -> None:
    """Mean and interval of every width, joined within a budget; the single runs as faint dots.

    Args:
        runs: one row a run, with the metric ``name``.
        points: one row per budget and arch: the metric's mean, low, high.
    """
    for budget in points["budget"].unique():
        own, rows = runs[runs["budget"] == budget], points[points["budget"] == budget]
        color, marker = BUDGET_COLORS[budget], BUDGET_MARKERS[budget]
        x = [places[budget, arch] for arch in own["arch"]]
        axes.plot(x, own[name], marker, color=color, ms=2.8, mew=0, alpha=0.5)
        x = [places[budget, arch] for arch in rows["arch"]]
        bars = np.array([rows["mean"] - rows["low"], rows["high"] - rows["mean"]])
        style: dict[str, Any] = {"color": color, "marker": marker, "ms": 4, "mec": "none", "lw": 0.8}
        axes.errorbar(x, rows["mean"], bars, capsize=1.5, capthick=0.8, **style)
    x_limits = _widened(np.log10(list(places.values())), 0.1, 0.8)  # room for two ticks
    axes.set(xscale="log", xlim=10**x_limits, ylim=_limits(runs[name], points))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    plain(axes)


def _widened(values: NDArray[np.float64], edge: float, least: float) -> NDArray[np.float64]:
    """Lowest and highest value, an ``edge`` of their range beyond; at least ``least`` apart."""
    half = max((1 + 2 * edge) * float(np.ptp(values)), least) / 2
    middle = float(values.min() + values.max()) / 2
    return np.array([middle - half, middle + half])


def _limits(dots: pd.Series, points: pd.DataFrame) -> NDArray[np.float64]:
    """The panel's range: all points and dots, and the intervals as far as they lie on the scale."""
    bars = [*points["low"].clip(*INTERVAL_LIMITS), *points["high"].clip(*INTERVAL_LIMITS)]
    found = [value for value in (*dots, *points["mean"], *bars) if np.isfinite(value)] or [0.0, 1.0]
    return _widened(np.array(found), 0.05, 0.1)


def name_widths(axes: Axes, points: pd.DataFrame) -> None:
    """Every width and its parameters, below its points."""
    sizes = points.drop_duplicates("arch").set_index("arch")["parameters"]
    labels = [f"{arch}\n{short(size)}" for arch, size in sizes.items()]
    axes.set_xticks(list(sizes), labels, fontsize=5.5, rotation=0 if len(labels) <= 4 else 90)
    axes.xaxis.set_minor_locator(NullLocator())


def name_points(axes: Axes, places: dict[Place, float]) -> None:
    """Every width above its points, at the panel's upper edge; FLOPs below."""
    style: dict[str, Any] = {"rotation": 90, "ha": "center", "va": "bottom", "fontsize": 4.8, "color": FAINT}
    for (_, arch), x in places.items():
        axes.text(x, 1.02, arch, transform=axes.get_xaxis_transform(), **style)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axes.xaxis.set_minor_locator(NullLocator())


def draw_losses(axes: Axes, curves: pd.DataFrame, size: str, colors: dict[str, Any]) -> None:
    """Loss against ``size``: the validation loss of runs that have one, or else the training loss."""
    validated = curves.groupby(["budget", "arch", "seed"])["validation_loss"].transform("count") > 0
    shown = curves.assign(shown=curves["validation_loss"].where(validated, curves["loss"])).dropna(subset=["shown"])
    for budget, arch in dict.fromkeys(zip(shown["budget"], shown["arch"], strict=True)):
        own = shown[(shown["budget"] == budget) & (shown["arch"] == arch)]
        style = {"color": colors[arch], "linestyle": BUDGET_DASHES[budget]}
        for _, of_seed in own.groupby("seed"):
            axes.plot(of_seed[size], of_seed["shown"], lw=0.5, alpha=0.6, **style)
        mean = own.groupby("step")[[size, "shown"]].mean()
        axes.plot(mean[size], mean["shown"], lw=1.4, **style)
    axes.set(xscale="log", yscale="log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    plain(axes)
