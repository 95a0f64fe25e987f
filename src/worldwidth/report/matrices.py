"""The report's matrices: coloured cells of every width, and how they differ between the ends."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from worldwidth.comparison.tables import Comparison
from worldwidth.evaluation.scores import DIFFERENCE
from worldwidth.report.format import (
    DASH,
    MINUS,
    NOT_MEASURABLE,
    interval,
    is_number,
    line_note,
    number,
    plural,
    records,
)
from worldwidth.report.tables import archs_of, models_of
from worldwidth.report.theme import step_class


@dataclass(frozen=True)
class Spot:
    """A coloured cell of a matrix."""

    value: str
    interval: str
    hint: str
    color: str
    """A class: a step of a scale, or ``none`` for hatching."""
    trained: bool


@dataclass(frozen=True)
class Heat:
    """A matrix: rows of models, columns of tasks."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, str, tuple[Spot, ...]], ...]
    """Label, remark (what is missing), cells."""


def heats(comparison: Comparison, budget: str, name: str) -> list[Heat]:
    """The matrix ``name`` of every width."""
    found = []
    for arch in archs_of(comparison, budget):
        cells = records(comparison.cells, budget=budget, arch=arch, matrix=name)
        found.append(_heat(comparison, name, arch, cells, _missing(comparison, budget, arch)))
    return found


def widest_minus_narrowest(comparison: Comparison, budget: str, name: str) -> Heat | None:
    """How the cells of ``name`` differ between the ends, with intervals; None where the ends share no seed."""
    archs = archs_of(comparison, budget)
    cells = records(comparison.cell_differences, budget=budget, matrix=name, arch=archs[0], other=archs[-1])
    if not cells:
        return None
    missing: dict[str, str] = {}
    for arch in (archs[0], archs[-1]):
        for model, remark in _missing(comparison, budget, arch).items():
            missing[model] = "; ".join(filter(None, [missing.get(model), f"{arch}: {remark}"]))
    there = [cell for cell in cells if cell["n"] or cell["model"] not in missing]
    return _heat(comparison, name, f"{archs[-1]} {MINUS} {archs[0]}", there, missing, is_change=True)


def _missing(comparison: Comparison, budget: str, arch: str) -> dict[str, str]:
    """model -> a remark, of the models that some run lacks."""
    lacking = [row["missing_models"].split() for row in records(comparison.runs, budget=budget, arch=arch)]
    found = {}
    for model in comparison.settings.models:
        n = sum(model in models for models in lacking)
        if n:
            found[model] = "missing" if n == len(lacking) else f"missing in {n} of {plural(len(lacking), 'run')}"
    return found


def _heat(
    comparison: Comparison,
    name: str,
    caption: str,
    cells: list[dict[str, Any]],
    missing: dict[str, str],
    is_change: bool = False,
) -> Heat:
    by_place = {(cell["model"], cell["task"]): cell for cell in cells}
    finetunes, tasks = comparison.settings.finetunes, comparison.settings.tasks

    def spots(model: str) -> Iterator[Spot]:
        for task in tasks:
            where = f"{caption}, trained on {' and '.join(finetunes[model])}, evaluated on {task}"
            yield _spot(by_place.get((model, task)), where, task in finetunes[model], name == DIFFERENCE, is_change)

    rows = [(" + ".join(finetunes[m]), missing.get(m, ""), tuple(spots(m))) for m in models_of(comparison, name)]
    return Heat(caption, tasks, tuple(rows))


def _spot(cell: dict[str, Any] | None, where: str, trained: bool, is_difference: bool, is_change: bool) -> Spot:
    if cell is None:
        return Spot(DASH, "", f"{where}: no model", "none", trained)
    if not is_number(cell["mean"]):
        return Spot(NOT_MEASURABLE, "", f"{where}: not measurable", "none", trained)
    diverging = is_difference or is_change
    value, found = number(cell["mean"], 2, sign=diverging), interval(cell, 2)
    hint = f"{where}: {value}, " + (f"95 % {found}" if found else "no interval") + f", n = {cell['n']}"
    lines = line_note(cell, 2)
    hint += f", {lines}" if lines else ""
    shown = (found or lines) if is_change else ""
    return Spot(value, shown, hint, step_class(cell["mean"], diverging), trained)
