"""A comparison's pairs with and without the divergent task, and what every task gives and takes."""

from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from worldwidth.comparison.axes import ARCH
from worldwidth.comparison.divergence import CONTRAST, GIVER, TAKER, WITH, WITHOUT
from worldwidth.comparison.statistics import INTERVAL
from worldwidth.comparison.tables import Comparison, records
from worldwidth.core.text import seeds
from worldwidth.evaluation.scores import DIVERGENT
from worldwidth.plots.lines import beyond, limits_of
from worldwidth.plots.style import FAINT, INK, PAGE, STYLE, arch_looks, frame, looks_of, new_figure, plain

_PAIRS: dict[str, dict[str, Any]] = {
    WITH: {"color": INK, "marker": "o"},
    WITHOUT: {"color": INK, "marker": "s", "mfc": "none", "mec": INK},
    CONTRAST: {"color": FAINT, "marker": "D"},
}
_SCOPES = {"trained": "tasks that the pair was trained on", "other": "other tasks"}
_ROLES = {GIVER: "gives: its model in the other tasks", TAKER: "takes: in it, the models of other tasks"}


@plt.style.context(STYLE)
def draw_divergence(comparison: Comparison) -> Figure:
    """Gain of pairs with and without the divergent task, a row of panels an arm: tasks trained left, others right."""
    table = _numbers(comparison.divergence)
    arms = list(dict.fromkeys(table["arm"]))
    figure = new_figure(PAGE, 40 + 120 * len(arms))
    grid = figure.subplots(len(arms), len(_SCOPES), squeeze=False, sharey="row")
    for row, arm in zip(grid, arms, strict=True):
        for axes, (scope, title) in zip(row, _SCOPES.items(), strict=True):
            own = table[(table["arm"] == arm) & (table["tasks"] == scope)]
            _draw_groups(axes, own, "level", "pairs", comparison.levels(arm), _PAIRS)
            axes.set_title(title if arm == arms[0] else "", fontweight="bold")
        row[0].set_ylim(limits_of(table[table["arm"] == arm]["mean"], table[table["arm"] == arm]))
        row[0].set_ylabel(_in_arm(arm, arms, "gain of pairs"))
    handles = [Line2D([], [], ls="", ms=4, **style) for style in _PAIRS.values()]
    figure.legend(handles, [f"pairs {WITH}", f"pairs {WITHOUT}", CONTRAST], loc="outside right center")
    title = f"Does {DIVERGENT} harm what is learned beside it?  (scale {comparison.settings.scale})"
    meaning = (
        "Gain: score of a model of two tasks minus that of the better of its two single-task models; below 0: one of "
        "the two alone does better."
    )
    frame(figure, title, [_points(table), meaning])
    return figure


@plt.style.context(STYLE)
def draw_givers(comparison: Comparison) -> Figure:
    """What every task gives and takes, a colour a level, a row of panels an arm."""
    table = _numbers(comparison.givers)
    table = table[table["matrix"] == table["matrix"].iloc[0]]
    arms, tasks = list(dict.fromkeys(table["arm"])), list(comparison.settings.tasks)
    figure = new_figure(PAGE, 50 + 120 * len(arms))
    grid = figure.subplots(len(arms), len(_ROLES), squeeze=False, sharey="row")
    styles = _level_styles(comparison)
    for row, arm in zip(grid, arms, strict=True):
        for axes, (role, title) in zip(row, _ROLES.items(), strict=True):
            own = table[(table["arm"] == arm) & (table["role"] == role)]
            _draw_groups(axes, own, "task", "level", tasks, styles)
            axes.set_title(title if arm == arms[0] else "", fontweight="bold")
        row[0].set_ylim(limits_of(table[table["arm"] == arm]["mean"], table[table["arm"] == arm]))
        over = " minus control" if table["minus_control"].all() else ""
        row[0].set_ylabel(_in_arm(arm, arms, f"transfer{over}"))
    figure.legend(
        [Line2D([], [], ls="", ms=4, **style) for style in styles.values()], list(styles), loc="outside right center"
    )
    meaning = (
        "Gives: mean score of the model of this task in all others. Takes: mean score in this task of the models of "
        "all others. Normalised improvement on Atlantis."
    )
    frame(figure, f"What tasks give and take  (scale {comparison.settings.scale})", [_points(table), meaning])
    return figure


def _numbers(table: pd.DataFrame) -> pd.DataFrame:
    return table.astype({"mean": float, "low": float, "high": float})


def _in_arm(arm: str, arms: list[str], label: str) -> str:
    return f"{arm}\n{label}" if len(arms) > 1 else label


def _points(table: pd.DataFrame) -> str:
    if not table["low"].notna().any():
        return "Points: one seed each; an interval needs two seeds or more."
    over = seeds(table["n"][table["n"] > 0])
    return f"Points: means over {over}; bars: {INTERVAL} (Student's t). {beyond(table)}".strip()


def _level_styles(comparison: Comparison) -> dict[str, dict[str, Any]]:
    """A colour a level: that of the arch, where archs are compared."""
    levels = comparison.axis.levels
    looks = arch_looks(comparison.settings) if comparison.axis.key == ARCH else looks_of(levels)
    return {level: looks[level].dots for level in levels}


def _draw_groups(
    axes: Axes, table: pd.DataFrame, group: str, member: str, groups: list[str], styles: dict[str, dict[str, Any]]
) -> None:
    """Mean and interval of every member of a group beside each other, groups along the x axis.

    Args:
        group: the column whose values are the groups.
        member: the column whose values have a style each.
    """
    for i, (name, style) in enumerate(styles.items()):
        rows = records(table[table["mean"].notna()], **{member: name})
        x = [groups.index(row[group]) + 0.7 * ((i + 0.5) / len(styles) - 0.5) for row in rows]
        means = [row["mean"] for row in rows]
        bars = [[row["mean"] - row["low"] for row in rows], [row["high"] - row["mean"] for row in rows]]
        shape: dict[str, Any] = {"ls": "", "ms": 3.5, "mew": 0.6, "elinewidth": 0.8, "capsize": 1.5, "capthick": 0.8}
        axes.errorbar(x, means, bars, **shape, **style)
    axes.axhline(0, color=FAINT, lw=0.5)
    is_crowded = sum(map(len, groups)) > 36
    axes.set_xticks(
        range(len(groups)), groups, rotation=30 if is_crowded else 0, ha="right" if is_crowded else "center"
    )
    axes.set_xlim(-0.6, len(groups) - 0.4)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    plain(axes)
    axes.grid(visible=False, axis="x")
