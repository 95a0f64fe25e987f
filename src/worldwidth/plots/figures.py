"""The figures, drawn with matplotlib: three matrices, their overview, training curves, the map."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from worldwidth.core.files import replacing
from worldwidth.data.cities import City
from worldwidth.data.regions import REGIONS
from worldwidth.evaluation.scores import Cell

CLIP = (0.0, 1.5)  # normalised improvement is clipped to this in the plots, never in a statistic
INK, FAINT = "#1a1a1a", "#555555"


@dataclass(frozen=True)
class MatrixPlot:
    """One matrix ready to draw: a title, rows of models, columns of tasks."""

    title: str
    caption: str
    rows: dict[str, str]
    """model -> its label."""
    columns: dict[str, str]
    """task -> its label."""
    cells: list[Cell]
    trained: dict[str, tuple[str, ...]]
    """model -> the tasks it is trained on."""
    is_difference: bool
    """Whether the cells are differences, to be shown on the diverging scale."""
    missing: frozenset[str] = frozenset()
    """Models of a half-finished study that have no result yet."""


def save_figure(name: str, draw: Callable[[], Figure], folder: Path) -> Path:
    """Draw a figure and write it as PNG; the bytes hang on the data alone (no date, no version inside)."""
    path = folder / f"{name}.png"
    style: dict[Any, Any] = {"font.family": "DejaVu Sans", "font.size": 9, "axes.titlesize": 10, "figure.dpi": 150}
    with plt.rc_context(style), replacing(path) as temporary:
        figure = draw()
        figure.savefig(temporary, format="png", metadata={"Software": None}, bbox_inches="tight", facecolor="white")
        plt.close(figure)
    return path


def draw_matrix(plot: MatrixPlot) -> Figure:
    """One matrix with its colour bar."""
    return draw_overview([plot])


def draw_overview(plots: list[MatrixPlot]) -> Figure:
    """Matrices beside each other."""
    tallest = max(len(plot.rows) for plot in plots)
    size = (9.2 * len(plots), 2.0 + 0.6 * tallest)
    figure, axes = plt.subplots(1, len(plots), figsize=size, layout="constrained", squeeze=False)
    for one, plot in zip(axes[0], plots, strict=True):
        _matrix(one, plot)
    return figure


def _scale(plot: MatrixPlot) -> tuple[Colormap, Normalize]:
    if plot.is_difference:  # red = worse than expected, blue = better
        return matplotlib.colormaps["RdBu"], Normalize(-0.5, 0.5)
    return matplotlib.colormaps["RdYlGn"], Normalize(0.0, 1.0)


def _matrix(axes: Axes, plot: MatrixPlot) -> None:
    """Cells with two decimals and the standard error; T where the task was trained; hatched without a number."""
    colors, norm = _scale(plot)
    models, tasks = list(plot.rows), list(plot.columns)
    table = np.full((len(models), len(tasks)), np.nan)
    by_place = {(cell.model, cell.task): cell for cell in plot.cells}
    for (model, task), cell in by_place.items():
        if cell.score is not None:
            shown = cell.score if plot.is_difference else np.clip(cell.score, *CLIP)
            table[models.index(model), tasks.index(task)] = shown
    image = axes.imshow(table, cmap=colors, norm=norm, aspect="auto")
    for row, model in enumerate(models):
        for column, task in enumerate(tasks):
            ink = _cell_text(axes, column, row, by_place.get((model, task)), table[row, column], colors, norm)
            if task in plot.trained[model]:
                axes.text(column + 0.44, row - 0.28, "T", ha="right", va="center", color=ink, fontsize=9, weight="bold")
    axes.set_xticks(range(len(tasks)), list(plot.columns.values()), fontsize=8)
    axes.set_yticks(range(len(models)), [plot.rows[m] + (" (missing)" if m in plot.missing else "") for m in models])
    axes.set_xticks(np.arange(0.5, len(tasks) - 1), minor=True)
    axes.set_yticks(np.arange(0.5, len(models) - 1), minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("evaluated on Atlantis")
    axes.set_ylabel("fine-tuned on")
    lines = plot.caption.count("\n") + 1
    axes.set_title(plot.title, fontweight="bold", loc="left", pad=10 + 10 * lines)
    axes.annotate(
        plot.caption,
        (0, 1),
        xytext=(0, 5),
        xycoords="axes fraction",
        textcoords="offset points",
        fontsize=7,
        color=FAINT,
    )
    label = "score minus expected" if plot.is_difference else "normalised improvement"
    extend = "both" if plot.is_difference else "max"
    bar = axes.figure.colorbar(image, ax=axes, label=label, fraction=0.035, pad=0.015, extend=extend)
    bar.outline.set_visible(False)


def _cell_text(
    axes: Axes, column: int, row: int, cell: Cell | None, value: float, colors: Colormap, norm: Normalize
) -> str:
    """Draw the number, or hatching without one; return the colour to write in."""
    ink = INK
    if np.isnan(value):
        place = (column - 0.5, row - 0.5)
        axes.add_patch(Rectangle(place, 1, 1, facecolor="#f4f4f4", hatch="////", edgecolor="#b5b5b5", linewidth=0))
    else:
        red, green, blue, _ = colors(norm(value))
        ink = "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 0.5 else INK
        axes.text(column, row - 0.08, f"{value:.2f}", ha="center", va="center", color=ink, fontsize=10)
    if cell is not None and cell.standard_error is not None:
        axes.text(column, row + 0.28, f"± {cell.standard_error:.2f}", ha="center", va="center", color=ink, fontsize=6.5)
    return ink


def draw_training(curves: pd.DataFrame, title: str) -> Figure:
    """Training loss against tokens: the base model left, the fine-tuned ones right."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.6), layout="constrained")
    fine = [name for name in curves["model"].unique() if name != "base"]
    palette = matplotlib.colormaps["tab20"].resampled(20)
    for axes, names, subtitle in ((left, ["base"], "pre-training"), (right, fine, "fine-tuning")):
        for i, name in enumerate(names):
            curve = curves[curves["model"] == name]
            axes.plot(curve["tokens"], curve["loss"], label=name, lw=1.3, color=INK if name == "base" else palette(i))
        axes.set(title=subtitle, xlabel="training tokens", ylabel="loss (nats a token)", xscale="log")
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    if fine:
        figure.legend(*right.get_legend_handles_labels(), loc="outside right center", fontsize=7, frameon=False)
    figure.suptitle(title, fontweight="bold", fontsize=10, x=0.01, ha="left")
    return figure


def draw_world(cities: list[City], title: str) -> Figure:
    """The plane with every city, coloured by region; Atlantis black."""
    figure, axes = plt.subplots(figsize=(9.5, 4.6), layout="constrained")
    palette = matplotlib.colormaps["tab20"].resampled(20)
    present = [region for region in (*REGIONS, "Other") if any(city.region == region for city in cities)]
    size = float(np.clip(4000 / len(cities), 2, 30))
    for i, region in enumerate(present):
        chosen = [city for city in cities if city.region == region]
        atlantis = chosen[0].is_atlantis
        axes.scatter(
            [city.x for city in chosen],
            [city.y for city in chosen],
            s=size,
            marker="*" if atlantis else "o",
            color=INK if atlantis else palette(i),
            label=f"{region} ({len(chosen)})",
            linewidths=0,
        )
    axes.set_aspect("equal")
    axes.set(xlabel="x (units of the plane)", ylabel="y", title=title)
    axes.grid(alpha=0.2)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right center", fontsize=7, frameon=False)
    return figure
