"""The figures of one study: its matrices and their overview, the training curves, the map."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from worldwidth.data.cities import City
from worldwidth.data.regions import REGIONS
from worldwidth.evaluation.scores import DIFFERENCE, Cell, control_of, matrix_names, matrix_of, rows_below
from worldwidth.evaluation.tables import ABOVE
from worldwidth.plots.heatmap import (
    EXPECTED,
    MARKS,
    MEANING,
    SCORE,
    SIGNED,
    Mark,
    Panel,
    draw_panels,
    in_rows,
    make_panel,
    models_of,
    title_of,
)
from worldwidth.plots.style import INK, PAGE, STYLE, frame, new_figure, plain, save_figure
from worldwidth.settings.schema import Settings, is_plug_in


def study_title(settings: Settings) -> str:
    """What every figure says it belongs to."""
    return f"arch {settings.arch}, scale {settings.scale}, seed {settings.seed}, budget {settings.budget}"


def draw_study(
    settings: Settings,
    cells: list[Cell],
    headline: dict[str, Any],
    folder: Path,
    missing: frozenset[str] = frozenset(),
) -> list[Path]:
    """Write the matrices and their overview as PNG into ``folder``.

    Args:
        missing: models of a half-finished study that have no result yet.
    """
    names = matrix_names(settings.finetunes)
    draw = partial(draw_matrices, settings, cells=cells, headline=headline, missing=missing)
    drawn: dict[str, Callable[[], Figure]] = {name: partial(draw, [name]) for name in names}
    drawn["overview"] = partial(draw, names)
    return [save_figure(name, of_name, folder) for name, of_name in drawn.items()]


@plt.style.context(STYLE)
def draw_matrices(
    settings: Settings,
    names: list[str],
    cells: list[Cell],
    headline: dict[str, Any],
    missing: frozenset[str] = frozenset(),
) -> Figure:
    """The matrices ``names`` side by side, with the statistics of each below."""
    panels = [_panel(settings, name, cells, missing) for name in names]
    what = panels[0].title if len(panels) == 1 else "Matrices"
    caption = [f"{panel.title}: {_statistics(headline.get(n, {}))}." for n, panel in zip(names, panels, strict=True)]
    caption.append(f"Rows: fine-tuned on; columns: evaluated on. ±: standard error over test lines, one seed. {MARKS}.")
    if names != [DIFFERENCE]:
        caption.append(f"{MEANING} const: the best constant answer.")
    if any(is_plug_in(name) for name in names):
        caption.append("PLUG-IN: the base model is frozen; only the embeddings of the new cities are learned.")
    if control_of(settings.finetunes) in [row for name in names for row in rows_below(settings.finetunes, name)]:
        caption.append("no task: the control, fine-tuned on the warm-up lines of every task alone.")
    if DIFFERENCE in names:
        caption.append(EXPECTED)
    figure = draw_panels(in_rows(panels) if len(panels) > 1 else [[replace(panels[0], title="")]])
    frame(figure, f"{what}  ({study_title(settings)})", caption)
    return figure


def _panel(settings: Settings, name: str, cells: list[Cell], missing: frozenset[str]) -> Panel:
    below = rows_below(settings.finetunes, name)
    models, constants = models_of(settings, name) + below, {cell.task: cell.constant_score for cell in cells}
    marks = {
        (cell.model, cell.task): _mark(cell)
        for cell in cells
        if cell.matrix == name or (cell.model in below and cell.matrix == matrix_of(cell.model))
    }
    panel = make_panel(settings, models, marks, SIGNED if name == DIFFERENCE else SCORE)
    numbers = (model.split("-")[1] for model in models)
    remarks = (" (missing)" if model in missing else "" for model in models)
    rows = tuple(map("{}  {}{}".format, numbers, panel.rows, remarks))
    columns = tuple(f"{task}\n(const {_number(constants.get(task))})" for task in settings.tasks)
    return replace(
        panel,
        title=title_of(settings, name),
        rows=rows,
        columns=panel.columns if name == DIFFERENCE else columns,
    )


def _mark(cell: Cell) -> Mark:
    error = "" if cell.standard_error is None else f"±{cell.standard_error:.2f}"
    return Mark(cell.score, below=error)


def _number(value: float | None) -> str:
    return "n.m." if value is None else f"{value:.2f}"


def _statistics(values: dict[str, Any]) -> str:
    """Mean, standard error and spread of each block."""
    means = [
        f"{block.replace('_', ' ')} {_number(values[block])} ± {_number(values[f'{block}_se'])} "
        f"(spread over cells {_number(values[f'{block}_std'])})"
        for block in ("trained", "transfer", ABOVE, "overall")
        if values.get(block) is not None
    ]
    return " · ".join([*means, f"{values.get('measurable', 0)} of {values.get('cells', 0)} cells measurable"])


def draw_setting(settings: Settings, curves: pd.DataFrame, cities: list[City], folder: Path) -> list[Path]:
    """Write the training curves and the map as PNG into ``folder``."""
    title = study_title(settings)
    return [
        save_figure("training", lambda: draw_training(curves, f"Training loss  ({title})"), folder),
        save_figure("world", lambda: draw_world(cities, f"The world: scale {settings.scale}"), folder),
    ]


@plt.style.context(STYLE)
def draw_training(curves: pd.DataFrame, title: str) -> Figure:
    """Training loss against tokens: the base model left, the fine-tuned ones right, plug-ins among them dashed."""
    fine = [name for name in curves["model"].unique() if name != "base"]
    figure = new_figure(PAGE, max(180, 30 + 11 * len(fine)))  # as high as the legend
    left, right = figure.subplots(1, 2)
    palette = matplotlib.colormaps["tab20"].resampled(20)
    for axes, names, subtitle in ((left, ["base"], "pre-training"), (right, fine, "fine-tuning")):
        for i, name in enumerate(names):
            curve = curves[curves["model"] == name]
            color, style = INK if name == "base" else palette(i % 20), "--" if is_plug_in(name) else "-"
            axes.plot(curve["tokens"], curve["loss"], label=name, lw=1, color=color, ls=style)
        axes.set(title=subtitle, xlabel="training tokens", ylabel="loss (nats a token)", xscale="log")
        plain(axes)
    if fine:
        figure.legend(*right.get_legend_handles_labels(), loc="outside right center")
    frame(figure, title, [])
    return figure


@plt.style.context(STYLE)
def draw_world(cities: list[City], title: str) -> Figure:
    """The plane with every city, coloured by region; Atlantis black."""
    figure = new_figure(PAGE, 225)
    axes = figure.subplots()
    palette = matplotlib.colormaps["tab20"].resampled(20)
    present = [region for region in (*REGIONS, "Other") if any(city.region == region for city in cities)]
    size = float(np.clip(1500 / len(cities), 1, 12))
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
    axes.set(xlabel="x (units of the plane)", ylabel="y")
    plain(axes)
    figure.legend(loc="outside right center")
    frame(figure, title, [])
    return figure
