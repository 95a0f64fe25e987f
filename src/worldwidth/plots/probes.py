"""The figures of a study's representations: its maps, and how they form and what they are worth."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from worldwidth.core.text import number, p_value
from worldwidth.evaluation.scores import Cell, matrix_of
from worldwidth.plots.heatmap import Mark, Scale, draw_panels, make_panel
from worldwidth.plots.maps import Panel, draw_maps, map_note
from worldwidth.plots.study import study_title
from worldwidth.plots.style import (
    FAINT,
    INK,
    PAGE,
    SMALL,
    STYLE,
    frame,
    looks_of,
    new_figure,
    plain,
    save_figure,
)
from worldwidth.representation.rows import ALL, SHUFFLES
from worldwidth.representation.tables import (
    finished,
    load_map,
    maps_against_transfer,
    rank_correlation,
    shown_models,
    shown_rows,
    transfer_of,
)
from worldwidth.settings.schema import Settings

_SHARE = "error over that of guessing"


def draw_representations(settings: Settings, table: pd.DataFrame, cells: Sequence[Cell], folder: Path) -> list[Path]:
    """Write maps.png, known.png and probes.png into ``folder``."""
    return [
        save_figure("known", partial(draw_known, settings, table), folder),
        save_figure("maps", partial(draw_study_maps, settings, table, cells), folder),
        save_figure("probes", partial(draw_probes, settings, table, cells), folder),
    ]


def draw_study_maps(settings: Settings, table: pd.DataFrame, cells: Sequence[Cell]) -> Figure:
    """The maps of the base model, of the one that gives most, and of the one of distance, below each other."""
    shown = finished(shown_rows(table))
    rows = {row["model"]: row for row in shown.to_dict("records")}
    grid = [
        [Panel(f"{model}: {what}\n{map_note(rows[model])}", load_map(model))]
        for model, what in shown_models(cells, settings).items()
    ]
    title = f"The world as models have it  ({study_title(settings)})"
    return draw_maps(grid, settings.selected.world.units_per_degree, title, [null_note(shown), layer_note(shown)])


def null_note(rows: pd.DataFrame) -> str:
    """What probes of shuffled coordinates reach, over some rows of the table of probes."""
    low, high = rows["null_low"].min(), rows["null_high"].max()
    return (
        f"n = {rows['cities'].iloc[0]} ordinary cities; one seed. With shuffled coordinates R² is "
        f"{number(rows['null_r2'].mean(), 2)} (95 % of {SHUFFLES} shuffles: {number(low, 2)} to {number(high, 2)}). "
        "Mean city: the error of guessing the mean of the ordinary cities. Errors are distances in units of the plane."
    )


def layer_note(rows: pd.DataFrame) -> str:
    """Which features a map is of."""
    return f"Features: the mean over the prompts of all tasks, after layer {rows['layer'].iloc[0]}."


@plt.style.context(STYLE)
def draw_known(settings: Settings, table: pd.DataFrame) -> Figure:
    """How well fine-tuned models (rows) have Atlantis, read through the prompt of every task (columns)."""
    rows = finished(table)
    rows = rows[(rows["layer"] == shown_rows(table)["layer"].iloc[0]) & (rows["prompt"] != ALL)]
    marks = {(row["model"], row["prompt"]): Mark(row["atlantis_share"]) for row in rows.to_dict("records")}
    panel = make_panel(settings, list(settings.finetunes), marks, Scale(f"{settings.colours}_r", 0.0, 1.0, _SHARE))
    names = (f"{model}  {label}" for model, label in zip(settings.finetunes, panel.rows, strict=True))
    figure = draw_panels([[replace(panel, rows=tuple(names))]])
    caption = [
        "Rows: fine-tuned on; columns: read through the prompt of. Mean error of Atlantis over that of guessing the "
        f"mean of the ordinary cities: 0 found, 1 no better. After layer {rows['layer'].iloc[0]}; one seed.",
    ]
    frame(figure, f"For which tasks models know where Atlantis lies  ({study_title(settings)})", caption)
    return figure


@plt.style.context(STYLE)
def draw_probes(settings: Settings, table: pd.DataFrame, cells: Sequence[Cell]) -> Figure:
    """Through pre-training: R2 and errors; over fine-tuned models: the error of Atlantis against transfer."""
    figure = new_figure(PAGE, 165)
    left, middle, right = figure.subplots(1, 3)
    base = table[(table["model"] == "base") & (table["prompt"] == ALL)]
    shown = shown_rows(base)
    _draw_r2(left, base, shown)
    _draw_errors(middle, shown)
    pairs = maps_against_transfer(table, transfer_of(cells))
    _draw_pairs(right, pairs)
    correlation = rank_correlation(pairs)
    said = "too few models for a rank correlation"
    if "spearman" in correlation:
        rho, p = number(correlation["spearman"], 2), p_value(correlation["p"])
        said = f"Spearman's correlation {rho} (p {p}; models that start from one base model are not independent)"
    caption = [
        f"Left and middle: the base model's checkpoints; {null_note(shown)} {layer_note(shown)}",
        f"Right: n = {len(pairs)} fine-tuned models; {said}.",
    ]
    frame(figure, f"Probes of where cities lie  ({study_title(settings)})", caption)
    return figure


def _draw_r2(axes: Axes, base: pd.DataFrame, shown: pd.DataFrame) -> None:
    """Held-out R2 of every layer, of the shown one in bold and with whole regions held out; shuffled as a band."""
    axes.fill_between(
        shown["step"], shown["null_low"], shown["null_high"], color=FAINT, alpha=0.25, lw=0, label="shuffled"
    )
    layers = sorted(base["layer"].unique())
    for layer, color in zip(layers, plt.get_cmap("viridis")(np.linspace(0.1, 0.85, len(layers))), strict=True):
        own, is_shown = base[base["layer"] == layer], layer == shown["layer"].iloc[0]
        name = "embedding" if layer == 0 else f"layer {layer}"
        axes.plot(own["step"], own["r2"], color=color, lw=1.6 if is_shown else 0.7, label=name)
    axes.plot(shown["step"], shown["region_r2"], color=INK, lw=1, ls=(0, (3, 1.5)), label="regions held out")
    axes.set(title="where ordinary cities lie: R²", ylim=(-0.55, 1.05))
    _steps(axes)
    axes.legend(loc="upper left", fontsize=SMALL, labelspacing=0.2)


def _draw_errors(axes: Axes, shown: pd.DataFrame) -> None:
    """Errors of ordinary cities and of Atlantis, dashed what guessing the mean city gives."""
    for name, label, color in (("", "ordinary cities", FAINT), ("atlantis_", "Atlantis", INK)):
        axes.plot(shown["step"], shown[f"{name}error"], color=color, lw=1.2, label=label)
        axes.plot(
            shown["step"], shown[f"{name}guess_error"], color=color, lw=0.8, ls=(0, (3, 1.5)), label="  mean city"
        )
    axes.set(title="error (units of the plane)")
    axes.set_ylim(bottom=0)
    _steps(axes)
    axes.legend(loc="best", fontsize=SMALL, labelspacing=0.2)


def _steps(axes: Axes) -> None:
    axes.set_xscale("symlog", linthresh=1, linscale=0.3)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step:g}"))
    axes.set_xlabel("steps of pre-training")
    plain(axes)


def _draw_pairs(axes: Axes, pairs: pd.DataFrame) -> None:
    """Fine-tuned models, named, by matrix."""
    matrices = pairs["model"].map(matrix_of)
    for matrix, look in looks_of(dict.fromkeys(matrices)).items():
        own = pairs[matrices == matrix]
        axes.scatter(own["atlantis_error"], own["transfer"], s=12, linewidths=0, label=matrix, **look.dots)
        for row in own.to_dict("records"):
            where = (row["atlantis_error"], row["transfer"])
            axes.annotate(
                row["model"].split("-")[1], where, (2, 2), textcoords="offset points", fontsize=SMALL, color=FAINT
            )
    axes.set(title="transfer against the error of Atlantis", xlabel="error of Atlantis (units)", ylabel="transfer")
    plain(axes)
    if len(pairs):
        axes.legend(loc="best", fontsize=SMALL, labelspacing=0.2)
