"""Which figures the study has, and what stands in their titles, rows and columns."""

from pathlib import Path
from typing import Any

import pandas as pd

from worldwidth.figures import MatrixPlot, draw_matrix, draw_overview, draw_training, draw_world, save_figure
from worldwidth.matrix import Matrix
from worldwidth.scores import DIFFERENCE, Cell, matrix_names, matrix_of
from worldwidth.world import City


def study_title(matrix: Matrix) -> str:
    """What every figure says it belongs to."""
    return f"arch {matrix.arch}, scale {matrix.scale}, seed {matrix.seed}, budget {matrix.budget}"


def matrix_plot(
    matrix: Matrix,
    name: str,
    cells: list[Cell],
    statistics: dict[str, Any],
    missing: frozenset[str] = frozenset(),
) -> MatrixPlot:
    """The matrix ``name`` with its labels and the statistics in its caption."""
    several = [m for m, trained in matrix.finetunes.items() if len(trained) > 1]
    models = several if name == DIFFERENCE else [m for m in matrix.finetunes if matrix_of(m) == name]
    constants = {cell.task: cell.constant_score for cell in cells}
    title = " and ".join(dict.fromkeys(matrix_of(m).upper() for m in models))
    title += " minus expected" if name == DIFFERENCE else ""
    return MatrixPlot(
        title=f"{title}  ({study_title(matrix)})",
        caption=_caption(statistics, name == DIFFERENCE),
        rows={m: f"{m.split('-')[1]}  {' + '.join(matrix.finetunes[m])}" for m in models},
        columns={
            task: task if name == DIFFERENCE else f"{task}\n(const {_short(constants.get(task))})"
            for task in matrix.tasks
        },
        cells=[cell for cell in cells if cell.matrix == name],
        trained=matrix.finetunes,
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
    matrix: Matrix,
    cells: list[Cell],
    headline: dict[str, Any],
    folder: Path,
    missing: frozenset[str] = frozenset(),
) -> list[Path]:
    """Write the matrices and their overview as PNG into ``folder``."""
    plots = {
        name: matrix_plot(matrix, name, cells, headline.get(name, {}), missing)
        for name in matrix_names(matrix.finetunes)
    }
    drawn = [save_figure(name, lambda plot=plot: draw_matrix(plot), folder) for name, plot in plots.items()]  # type: ignore[misc]
    return [*drawn, save_figure("overview", lambda: draw_overview(list(plots.values())), folder)]


def draw_setting(matrix: Matrix, curves: pd.DataFrame, cities: list[City], folder: Path) -> list[Path]:
    """Write the training curves and the map as PNG into ``folder``."""
    title = study_title(matrix)
    return [
        save_figure("training", lambda: draw_training(curves, f"Training loss  ({title})"), folder),
        save_figure("world", lambda: draw_world(cities, f"The world: scale {matrix.scale}"), folder),
    ]
