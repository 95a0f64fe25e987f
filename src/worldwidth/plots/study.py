"""Which figures the study has, and what stands in their titles, rows and columns."""

from pathlib import Path
from typing import Any

import pandas as pd

from worldwidth.data.cities import City
from worldwidth.evaluation.scores import DIFFERENCE, Cell, matrix_names, matrix_of
from worldwidth.plots.figures import MatrixPlot, draw_matrix, draw_overview, draw_training, draw_world, save_figure
from worldwidth.settings.schema import Settings


def study_title(settings: Settings) -> str:
    """What every figure says it belongs to."""
    return f"arch {settings.arch}, scale {settings.scale}, seed {settings.seed}, budget {settings.budget}"


def matrix_plot(
    settings: Settings,
    name: str,
    cells: list[Cell],
    statistics: dict[str, Any],
    missing: frozenset[str] = frozenset(),
) -> MatrixPlot:
    """The matrix ``name`` with its labels and the statistics in its caption."""
    several = [m for m, trained in settings.finetunes.items() if len(trained) > 1]
    models = several if name == DIFFERENCE else [m for m in settings.finetunes if matrix_of(m) == name]
    constants = {cell.task: cell.constant_score for cell in cells}
    title = " and ".join(dict.fromkeys(matrix_of(m).upper() for m in models))
    title += " minus expected" if name == DIFFERENCE else ""
    return MatrixPlot(
        title=f"{title}  ({study_title(settings)})",
        caption=_caption(statistics, name == DIFFERENCE),
        rows={m: f"{m.split('-')[1]}  {' + '.join(settings.finetunes[m])}" for m in models},
        columns={
            task: task if name == DIFFERENCE else f"{task}\n(const {_short(constants.get(task))})"
            for task in settings.tasks
        },
        cells=[cell for cell in cells if cell.matrix == name],
        trained=settings.finetunes,
        is_difference=name == DIFFERENCE,
        missing=missing & frozenset(models),
    )


def _short(value: float | None) -> str:
    return "n.m." if value is None else f"{value:.2f}"


def _caption(statistics: dict[str, Any], is_difference: bool) -> str:
    """Mean, standard error and spread of each block, and what the marks mean."""
    blocks = [block for block in ("trained", "transfer", "overall") if statistics.get(block) is not None]
    means = [
        f"{block} {statistics[block]:.2f} ± {_short(statistics[f'{block}_se'])} "
        f"(spread over cells {statistics[f'{block}_std']:.2f})"
        for block in blocks
    ]
    cells = f"{statistics.get('measurable', 0)} of {statistics.get('cells', 0)} cells measurable (others hatched)"
    scale = (
        "expected: the best of its tasks' single-task models; blue: better than that"
        if is_difference
        else "cells shown in [0, 1.5], means unclipped; const: the best constant answer"
    )
    lines = [" · ".join(means[:2]), *means[2:], f"±: standard error over test lines, one seed; {cells}"]
    return "\n".join([*lines, f"T: trained; {scale}"])


def draw_study(
    settings: Settings,
    cells: list[Cell],
    headline: dict[str, Any],
    folder: Path,
    missing: frozenset[str] = frozenset(),
) -> list[Path]:
    """Write the matrices and their overview as PNG into ``folder``."""
    plots = {
        name: matrix_plot(settings, name, cells, headline.get(name, {}), missing)
        for name in matrix_names(settings.finetunes)
    }
    drawn = [save_figure(name, lambda plot=plot: draw_matrix(plot), folder) for name, plot in plots.items()]  # type: ignore[misc]
    return [*drawn, save_figure("overview", lambda: draw_overview(list(plots.values())), folder)]


def draw_setting(settings: Settings, curves: pd.DataFrame, cities: list[City], folder: Path) -> list[Path]:
    """Write the training curves and the map as PNG into ``folder``."""
    title = study_title(settings)
    return [
        save_figure("training", lambda: draw_training(curves, f"Training loss  ({title})"), folder),
        save_figure("world", lambda: draw_world(cities, f"The world: scale {settings.scale}"), folder),
    ]
