"""The figure of a frontier: transfer above the control against the trained score and retention, a line an arch."""

from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from worldwidth.plots.style import INK, PAGE, SMALL, STYLE, arch_looks, frame, new_figure, plain
from worldwidth.settings.schema import DEFAULT, Settings

_MEASURED = {
    "trained": "trained score (normalised improvement)",
    "retention": "retention on ordinary cities, other tasks",
}


@plt.style.context(STYLE)
def draw_frontier(settings: Settings, table: pd.DataFrame, ratio: float, title: str, caption: list[str]) -> Figure:
    """Both panels, each ratio labelled, the chosen one ringed.

    Args:
        table: setup, trained, above and retention of every replicate at its chosen rate.
        ratio: the chosen one.
    """
    figure = new_figure(PAGE, 260)
    panels = figure.subplots(1, len(_MEASURED), sharey=True)
    looks = arch_looks(settings)
    colors = {arch: looks[arch].color for arch in table["arch"].unique()}
    for axes, (column, label) in zip(panels, _MEASURED.items(), strict=True):
        for arch, color in colors.items():
            _draw_arch(axes, table[table["arch"] == arch], column, color, ratio)
        axes.axhline(0, color=INK, lw=0.5)
        axes.set_xlabel(label)
        plain(axes)
    panels[0].set_ylabel("transfer minus control")
    handles = [Line2D([], [], color=color, marker="o", ms=4) for color in colors.values()]
    marks: list[dict[str, Any]] = [
        {"marker": "o", "ms": 8, "mew": 1.2, "mfc": "none"}, {"marker": "s", "ms": 5, "mfc": "none"},
        {"marker": "x", "ms": 5},
    ]  # fmt: skip
    handles += [Line2D([], [], color=INK, ls="none", **mark) for mark in marks]
    figure.legend(handles, [*colors, "chosen ratio", "new rows alone", "published recipe"], loc="outside right center")
    frame(figure, title, caption)
    return figure


def _draw_arch(axes: Axes, own: pd.DataFrame, column: str, color: str, ratio: float) -> None:
    axes.plot(own[column], own["above"], ls="none", marker=".", color=color, ms=3, alpha=0.5)
    keys = ["recipe", "trainable", "body_ratio"]
    means = own.groupby(keys)[[column, "above"]].mean().reset_index()
    line = means[(means["recipe"] == DEFAULT) & (means["trainable"] == "all")].sort_values("body_ratio")
    axes.plot(line[column], line["above"], "o-", color=color, ms=4, lw=1)
    for row in line.to_dict("records"):
        axes.annotate(
            f"{row['body_ratio']:g}", (row[column], row["above"]), xytext=(4, 3), textcoords="offset points",
            fontsize=SMALL, color=color,
        )  # fmt: skip
    for rows, marker, size in (
        (line[line["body_ratio"] == ratio], "o", 9),
        (means[means["trainable"] != "all"], "s", 6),
        (means[means["recipe"] != DEFAULT], "x", 6),
    ):
        axes.plot(rows[column], rows["above"], ls="none", mfc="none", color=color, marker=marker, ms=size)
