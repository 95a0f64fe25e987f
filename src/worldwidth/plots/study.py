"""The figures of one study: its matrices, the training curves, the map."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from worldwidth.comparison.labels import LOSS, TOKENS
from worldwidth.core.text import number, score
from worldwidth.data.cities import City
from worldwidth.data.regions import REGIONS
from worldwidth.evaluation.scores import CONTROL, DIFFERENCE, Cell, control_of, matrix_names, matrix_of, rows_below
from worldwidth.evaluation.tables import ABOVE
from worldwidth.plots.heatmap import (
    EXPECTED,
    MARKS,
    MEANING,
    SIGNED,
    Mark,
    Panel,
    draw_panels,
    make_panel,
    models_of,
    score_scale,
    task_label,
    title_of,
)
from worldwidth.plots.style import INK, PAGE, SMALL, STYLE, frame, looks_of, new_figure, plain, save_figure
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
    """Write the matrices as PNG into ``folder``.

    Args:
        missing: models of a half-finished study that have no result yet.
    """
    names = matrix_names(settings.finetunes)
    draw = partial(draw_matrix, settings, cells=cells, headline=headline, missing=missing)
    return [save_figure(name, partial(draw, name), folder) for name in names]


@plt.style.context(STYLE)
def draw_matrix(
    settings: Settings,
    name: str,
    cells: list[Cell],
    headline: dict[str, Any],
    missing: frozenset[str] = frozenset(),
) -> Figure:
    """The matrix ``name``, with its statistics below."""
    panel = _panel(settings, name, cells, missing)
    caption = [f"{panel.title}: {_statistics(headline.get(name, {}))}."]
    caption.append(f"Rows: fine-tuned on; columns: evaluated on. ±: standard error over test lines, one seed. {MARKS}.")
    caption.append(EXPECTED if name == DIFFERENCE else f"{MEANING} const: the best constant answer.")
    if is_plug_in(name):
        caption.append("PLUG-IN: the base model is frozen; only the embeddings of the new cities are learned.")
    if control_of(settings.finetunes) in rows_below(settings.finetunes, name):
        caption.append("no task: the control, fine-tuned on the warm-up lines of every task alone.")
    figure = draw_panels([[replace(panel, title="")]])
    frame(figure, f"{panel.title}  ({study_title(settings)})", caption)
    return figure


def _panel(settings: Settings, name: str, cells: list[Cell], missing: frozenset[str]) -> Panel:
    below = rows_below(settings.finetunes, name)
    models, constants = models_of(settings, name) + below, {cell.task: cell.constant_score for cell in cells}
    marks = {
        (cell.model, cell.task): _mark(cell)
        for cell in cells
        if cell.matrix == name or (cell.model in below and cell.matrix == matrix_of(cell.model))
    }
    panel = make_panel(settings, models, marks, SIGNED if name == DIFFERENCE else score_scale(settings))
    numbers = (model.split("-")[1] for model in models)
    remarks = (" (missing)" if model in missing else "" for model in models)
    rows = tuple(map("{}  {}{}".format, numbers, panel.rows, remarks))
    columns = tuple(f"{task}\n(const {score(constants.get(task))})" for task in settings.tasks)
    return replace(
        panel,
        title=title_of(settings, name),
        rows=rows,
        columns=panel.columns if name == DIFFERENCE else columns,
    )


def _mark(cell: Cell) -> Mark:
    error = "" if cell.standard_error is None else f"±{cell.standard_error:.2f}"
    return Mark(cell.score, below=error)


def _statistics(values: dict[str, Any]) -> str:
    """Mean, standard error and spread of each block."""
    means = [
        f"{block.replace('_', ' ')} {number(values[block], 2)} ± {number(values[f'{block}_se'], 2)} "
        f"(spread over cells {number(values[f'{block}_std'], 2)})"
        for block in ("trained", "transfer", ABOVE, "overall")
        if values.get(block) is not None
    ]
    return " · ".join([*means, f"{values.get('measurable', 0)} of {values.get('cells', 0)} cells measurable"])


def draw_setting(settings: Settings, curves: pd.DataFrame, cities: list[City], folder: Path) -> list[Path]:
    """Write the training curves and the map as PNG into ``folder``."""
    return [
        save_figure("training", lambda: draw_training(settings, curves), folder),
        save_figure("world", lambda: draw_world(cities, f"The world: scale {settings.scale}"), folder),
    ]


@plt.style.context(STYLE)
def draw_training(settings: Settings, curves: pd.DataFrame) -> Figure:
    """Training loss against tokens: a panel for the base model and one a matrix, lines named by the tasks trained.

    Models without a curve are left out.
    """
    there = set(curves["model"])
    panels = {title: [name for name in own if name in there] for title, own in _models_by_panel(settings).items()}
    groups = {title: models for title, models in panels.items() if models}
    figure = new_figure(PAGE, 20 + 165 * -(-len(groups) // 2))
    grid = figure.subplots(-(-len(groups) // 2), 2, squeeze=False).flat
    names = {model: task_label(tasks).replace("\n", " ") for model, tasks in settings.finetunes.items()}
    looks = looks_of(dict.fromkeys([*settings.tasks, *names.values()]))
    for axes, (title, models) in zip(grid, groups.items(), strict=False):
        for model in models:
            curve, name = curves[curves["model"] == model], names.get(model, "base model")
            style = {"color": looks[name].color, "ls": looks[name].dashes} if model in names else {"color": INK}
            axes.plot(curve["tokens"], curve["loss"], label=name, lw=1, **style)
        axes.set_title(title, fontweight="bold")
        axes.set(xlabel=TOKENS, ylabel=LOSS, xscale="log")
        plain(axes)
        if models != ["base"]:
            axes.legend(loc="best", fontsize=SMALL, labelspacing=0.2, handlelength=2.6)
    for axes in list(grid):
        axes.remove()
    frame(figure, f"Training loss  ({study_title(settings)})", ["no task: the control, the warm-up lines alone."])
    return figure


def _models_by_panel(settings: Settings) -> dict[str, list[str]]:
    """Title -> models: the base model, then a panel a matrix; the control is with the first models trained whole."""
    found = {"pre-training": ["base"]}
    whole = next((name for name in map(matrix_of, settings.finetunes) if name != CONTROL and not is_plug_in(name)), "")
    for model in settings.finetunes:
        name = matrix_of(model) if matrix_of(model) != CONTROL else whole or CONTROL
        found.setdefault(title_of(settings, name), []).append(model)
    return found


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
