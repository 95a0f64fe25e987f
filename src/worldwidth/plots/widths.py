"""The figures of the comparison of widths: the matrices, and all figures as files."""

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from worldwidth.comparison.runs import RETENTION
from worldwidth.comparison.statistics import ALPHA, INTERVAL
from worldwidth.comparison.tables import BUDGETS, Comparison, archs_of, records
from worldwidth.core.errors import WorldwidthError
from worldwidth.core.text import MINUS, count, interval, is_number, listed, number, plural, seeds
from worldwidth.evaluation.scores import DIFFERENCE, matrix_names
from worldwidth.plots.heatmap import (
    EXPECTED,
    MARKS,
    MEANING,
    SCORE,
    SIGNED,
    Key,
    Mark,
    Panel,
    Scale,
    draw_panels,
    make_panel,
    models_of,
    title_of,
)
from worldwidth.plots.lines import draw_curves, draw_scores
from worldwidth.plots.style import STYLE, frame, save_figure
from worldwidth.settings.schema import Settings


@dataclass(frozen=True)
class Block:
    """Some rows of a matrix that are shown together."""

    title: str
    matrix: str
    """Which rows of the tables."""
    models: list[str]
    scale: Scale


def study_blocks(settings: Settings) -> list[Block]:
    """The study's own matrices."""
    return [
        Block(title_of(settings, name), name, models_of(settings, name), SIGNED if name == DIFFERENCE else SCORE)
        for name in matrix_names(settings.finetunes)
    ]


def retention_blocks(settings: Settings) -> list[Block]:
    """The fine-tuned models on ordinary cities."""
    kept = replace(SCORE, label="retention")
    names = [name for name in matrix_names(settings.finetunes) if name != DIFFERENCE]
    return [Block(title_of(settings, name), RETENTION, models_of(settings, name), kept) for name in names]


def mean_panel(comparison: Comparison, budget: str, arch: str, block: Block) -> Panel:
    """The mean over seeds of every measurable cell; how many seeds it is over, where not all have it."""
    rows = records(comparison.cells, budget=budget, arch=arch, matrix=block.matrix)
    runs = len(records(comparison.runs, budget=budget, arch=arch))
    marks = {(row["model"], row["task"]): Mark(row["mean"], f"n={row['n']}" * (row["n"] < runs)) for row in rows}
    return _panel(comparison.settings, block, arch, rows, marks)


def change_panel(comparison: Comparison, budget: str, arch: str, other: str, block: Block) -> Panel:
    """The mean of ``other`` minus ``arch`` and half its interval; outlined where the interval excludes 0."""
    rows = records(comparison.cell_differences, budget=budget, arch=arch, other=other, matrix=block.matrix)
    missing = missing_models(comparison, budget, arch, other)
    rows = [row for row in rows if row["n"] or row["model"] not in missing]
    marks = {(row["model"], row["task"]): _change(row) for row in rows}
    block = replace(block, scale=replace(SIGNED, label=f"{other} minus {arch}"))
    return _panel(comparison.settings, block, f"{other} {MINUS} {arch}", rows, marks)


def _change(row: dict[str, Any]) -> Mark:
    if not is_number(row["low"]):
        return Mark(row["mean"], below=f"n={row['n']}")
    away = row["low"] < row["high"] and not row["low"] <= 0 <= row["high"]
    return Mark(row["mean"], below=f"±{(row['high'] - row['low']) / 2:.2f}", outlined=away)


def _panel(settings: Settings, block: Block, who: str, rows: list[dict[str, Any]], marks: dict[Key, Mark]) -> Panel:
    """The panel of a block; every cell says in its tooltip all that is known about it."""
    known = {(row["model"], row["task"]): _hint(row) for row in rows}
    hinted = {}
    for model, task in itertools.product(block.models, settings.tasks):
        where = f"{who}, trained on {listed(settings.finetunes[model])}, evaluated on {task}"
        mark = marks.get((model, task), Mark())
        value = mark.value if is_number(mark.value) else None
        hint = f"{where}: {known.get((model, task), 'no model')}"
        hinted[model, task] = replace(mark, value=value, below=mark.below * (value is not None), hint=hint)
    return make_panel(settings, block.models, hinted, block.scale)


def _hint(row: dict[str, Any]) -> str:
    if not row["n"]:
        return "not measurable"
    between = interval(row["low"], row["high"], 2)
    lines = f", lines ±{number(row['line_se'], 2)}" if is_number(row["line_se"]) else ""
    return f"{number(row['mean'], 2)}, {f'{INTERVAL} {between}' if between else 'no interval'}, n = {row['n']}{lines}"


def missing_models(comparison: Comparison, budget: str, *archs: str) -> dict[str, str]:
    """model -> a remark, of the models that some run of ``archs`` lacks."""
    found: dict[str, list[str]] = {}
    for arch in archs:
        lacking = [row["missing_models"].split() for row in records(comparison.runs, budget=budget, arch=arch)]
        for model in comparison.settings.models:
            n = sum(model in models for models in lacking)
            if n:
                remark = "missing" if n == len(lacking) else f"missing in {n} of {plural(len(lacking), 'run')}"
                found.setdefault(model, []).append(remark if len(archs) == 1 else f"{arch}: {remark}")
    return {model: "; ".join(remarks) for model, remarks in found.items()}


# --- widths side by side


def draw_matrices(comparison: Comparison, budget: str) -> Figure:
    """Every matrix of the study (rows) at every width (columns): means over seeds."""
    return _side_by_side(comparison, budget, study_blocks, "Matrices by width", f"{MEANING} {EXPECTED}")


def draw_retention(comparison: Comparison, budget: str) -> Figure:
    """What fine-tuning left of ordinary cities: all fine-tuned models (rows) at every width (columns)."""
    meaning = "Fine-tuned models on ordinary cities: 1 as before fine-tuning, 0 as the base model on Atlantis."
    return _side_by_side(comparison, budget, retention_blocks, "Retention by width", meaning)


@plt.style.context(STYLE)
def _side_by_side(
    comparison: Comparison, budget: str, blocks: Callable[[Settings], list[Block]], title: str, meaning: str
) -> Figure:
    archs = archs_of(comparison, budget)
    if not archs:
        raise WorldwidthError(f"no run has the budget {budget}; there are: {', '.join(comparison.budgets)}")
    grid = []
    for i, block in enumerate(blocks(comparison.settings)):
        row = [mean_panel(comparison, budget, arch, block) for arch in archs]
        row[0] = replace(row[0], corner=block.title.replace(" minus ", "\nminus "))
        if i == 0:
            row = [
                replace(panel, title=arch, note=_note(comparison, budget, arch))
                for panel, arch in zip(row, archs, strict=True)
            ]
        grid.append(row)
    notes = sorted(
        {mark.below for row in grid for panel in row for marks in panel.marks for mark in marks if mark.below}
    )
    few = f" ({', '.join(notes)}: over those that have a number)" if notes else ""
    runs = comparison.runs[comparison.runs["budget"] == budget]
    what = f"means over seeds{few}" if runs["arch"].duplicated().any() else "one seed"
    figure = draw_panels(grid)
    marks = f"Rows: fine-tuned on; columns: evaluated on. Numbers: {what}. {MARKS}."
    frame(figure, f"{title}  {_setting(comparison, budget)}", [marks, meaning])
    return figure


def _note(comparison: Comparison, budget: str, arch: str) -> str:
    runs = records(comparison.runs, budget=budget, arch=arch)
    return f"{plural(len(runs), 'seed')}\n{count(runs[0]['parameters'])} parameters"


def _setting(comparison: Comparison, budget: str) -> str:
    return f"(budget {budget}: {BUDGETS[budget]}; scale {comparison.settings.scale})"


# --- one width minus another


@plt.style.context(STYLE)
def draw_difference(comparison: Comparison, budget: str, arch: str, other: str) -> Figure:
    """``other`` minus ``arch`` in every cell, seed by seed, with its interval over seeds."""
    rows = records(comparison.cell_differences, budget=budget, arch=arch, other=other)
    if not rows:
        raise WorldwidthError(f"budget {budget} has no runs of {arch} and {other} with the same seed, in this order")
    panels = [
        replace(change_panel(comparison, budget, arch, other, block), title=block.title)
        for block in study_blocks(comparison.settings)
    ]
    figure = draw_panels([panels])
    caption = _difference_caption(panels, [row["n"] for row in rows])
    frame(figure, f"{other} minus {arch}  {_setting(comparison, budget)}", caption)
    return figure


def _difference_caption(panels: list[Panel], ns: list[int]) -> list[str]:
    cells = [mark for panel in panels for marks in panel.marks for mark in marks]
    tested, outlined = sum("±" in cell.below for cell in cells), sum(cell.outlined for cell in cells)
    if not tested:
        return [f"Numbers: difference of one seed; an interval needs two seeds or more. {MARKS}."]
    return [
        f"Numbers: mean difference over {seeds(n for n in ns if n)}, seed by seed, ± half of its {INTERVAL} "
        f"(Student's t). {MARKS}.",
        f"Outlined: intervals without 0, {outlined} of {tested}; not adjusted for their number: "
        f"by chance alone about {ALPHA * tested:.0f} would be.",
    ]


# --- the files


def draw_comparison_figures(comparison: Comparison, folder: Path, pairs: Iterable[Key] = ()) -> list[Path]:
    """Write all figures as PNG into ``folder``; remove those of an earlier comparison that had other runs.

    Args:
        pairs: two widths each, whose difference is drawn beside that of the narrowest and the widest.
    """
    drawn: dict[str, Callable[[], Figure]] = {}
    asked = list(pairs)
    for budget in comparison.budgets:
        drawn[f"matrices-{budget}"] = partial(draw_matrices, comparison, budget)
        for arch, other in _pairs(comparison, budget, asked):
            drawn[f"difference-{budget}-{arch}-{other}"] = partial(draw_difference, comparison, budget, arch, other)
        drawn[f"retention-{budget}"] = partial(draw_retention, comparison, budget)
    drawn |= {"scores": partial(draw_scores, comparison), "curves": partial(draw_curves, comparison)}
    written = [save_figure(name, draw, folder) for name, draw in drawn.items()]
    for kind in ("matrices", "difference", "retention"):
        for path in set(folder.glob(f"{kind}-*.png")) - set(written):
            path.unlink()
    return written


def _pairs(comparison: Comparison, budget: str, asked: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The narrowest and the widest that share a seed, then those asked for, of this budget."""
    rows = records(comparison.cell_differences, budget=budget)
    pairs = list(dict.fromkeys((row["arch"], row["other"]) for row in rows))
    widest = sorted(pairs, key=lambda pair: comparison.archs.index(pair[0]) - comparison.archs.index(pair[1]))
    chosen = [pair for one, two in asked for pair in ((one, two), (two, one)) if pair in pairs]
    return list(dict.fromkeys([*widest[:1], *chosen]))
