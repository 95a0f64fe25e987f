"""Matrices to draw, of made-up scores."""

import hashlib
import itertools
from collections.abc import Callable
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from worldwidth.plots.figures import MatrixPlot

from worldwidth.evaluation.scores import DIFFERENCE, Cell, matrix_of
from worldwidth.plots.study import matrix_plot
from worldwidth.settings.schema import Settings

NAMES = ("ftwb1", "ftwb2", DIFFERENCE)


def make_cells(settings: Settings, score: Callable[[str, str, str], float | None]) -> list[Cell]:
    """All cells of a study with ``score(matrix, model, task)`` in them."""
    single = [(matrix_of(model), model) for model in settings.finetunes]
    both = [(DIFFERENCE, model) for model, trained in settings.finetunes.items() if len(trained) > 1]
    cells: list[Cell] = []
    for (name, model), task in itertools.product(single + both, settings.tasks):
        value = score(name, model, task)
        cell = Cell(
            matrix=name,
            model=model,
            task=task,
            trained=task in settings.finetunes[model],
            raw=10.0,
            base_atlantis=20.0,
            base_world=5.0,
            constant=12.0,
            constant_score=0.375,
            score=value,
            standard_error=None if value is None else 0.04,
            expected=None,
            measurable=value is not None,
        )
        cells.append(cell)
    return cells


def varied(name: str, model: str, task: str) -> float | None:
    """Scores from far below to far above the shown range; the angle column and one cell more: not measurable."""
    if task == "angle" or (model, task) == ("ftwb2-9", "inside"):
        return None
    digest = hashlib.sha256(f"{name} {model} {task}".encode()).digest()
    return (digest[0] / 255 - 0.5) * (2 if name == DIFFERENCE else 5)


def statistics(name: str) -> dict[str, Any]:
    values: dict[str, Any] = {"measurable": 36, "cells": 49 if name == "ftwb1" else 42}
    for block in ("trained", "transfer", "overall")[: 3 if name == DIFFERENCE else 2]:
        values |= {block: 0.512, f"{block}_std": 0.257, f"{block}_se": 0.0312}
    return values


def made_plot(settings: Settings, name: str, missing: frozenset[str] = frozenset()) -> MatrixPlot:
    cells = [cell for cell in make_cells(settings, varied) if cell.model not in missing]
    return matrix_plot(settings, name, cells, statistics(name), missing)


def main_axes(figure: Figure) -> list[Axes]:
    """The axes that hold a matrix, without the colour bars."""
    return [axes for axes in figure.axes if axes.images]
