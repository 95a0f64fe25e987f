"""The figures of the comparison of widths, for a printed page 17 cm wide: the matrices, and all as files."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from worldwidth.comparison.runs import RETENTION
from worldwidth.comparison.statistics import ALPHA
from worldwidth.comparison.tables import Comparison
from worldwidth.core.errors import WorldwidthError
from worldwidth.evaluation.scores import DIFFERENCE, matrix_names, matrix_of
from worldwidth.plots.figures import CLIP, save_figure
from worldwidth.plots.lines import draw_curves, draw_scores
from worldwidth.plots.panels import (
    BUDGETS,
    INTERVAL,
    CellSize,
    Scale,
    Shown,
    color_bar,
    draw_cells,
    frame,
    new_figure,
    seeds_text,
    styled,
)
from worldwidth.settings.schema import Settings

_SCORE = Scale("RdYlGn", 0.0, 1.0, "normalised improvement", "max")
_KEPT = Scale("RdYlGn", 0.0, 1.0, "retention", "both")
_SIGNED = Scale("RdBu", -0.5, 0.5, "score minus expected", "both")
_MARKS = "T: trained; hatched: not measurable or missing"

Key = tuple[str, str]
"""(model, task)."""


@dataclass(frozen=True)
class _Block:
    """The rows of one matrix."""

    title: str
    matrix: str
    """Which rows of the tables."""
    models: list[str]
    scale: Scale
    clip: tuple[float, float] = (-np.inf, np.inf)


def _blocks(settings: Settings) -> list[_Block]:
    """The study's own matrices."""
    found = []
    for name in matrix_names(settings.finetunes):
        if name == DIFFERENCE:
            several = [model for model, trained in settings.finetunes.items() if len(trained) > 1]
            titles = dict.fromkeys(matrix_of(model).upper() for model in several)
            found.append(_Block(f"{', '.join(titles)} - expected", name, several, _SIGNED))
        else:
            found.append(_Block(name.upper(), name, _models(settings, name), _SCORE, CLIP))
    return found


def _models(settings: Settings, name: str) -> list[str]:
    return [model for model in settings.finetunes if matrix_of(model) == name]


def _label(settings: Settings, model: str) -> str:
    """What it is fine-tuned on, in two lines: columns have no width to spare."""
    tasks = settings.finetunes[model]
    half = -(-len(tasks) // 2)
    return "\n+ ".join(" + ".join(part) for part in (tasks[:half], tasks[half:]) if part)


def _labels_width(settings: Settings, blocks: list[_Block]) -> float:
    """About how wide the rows' labels are, in points."""
    lines = (line for block in blocks for model in block.models for line in _label(settings, model).split("\n"))
    return 3.4 * max(map(len, lines))


def _setting(comparison: Comparison, budget: str) -> str:
    return f"(budget {budget}: {BUDGETS[budget]}; scale {comparison.settings.scale})"


def _draw_block(axes: Axes, settings: Settings, block: _Block, shown: dict[Key, Shown], size: CellSize) -> None:
    rows = [[shown.get((model, task)) for task in settings.tasks] for model in block.models]
    trained = [[task in settings.finetunes[model] for task in settings.tasks] for model in block.models]
    draw_cells(axes, rows, trained, block.scale, size)


def _name_rows(axes: Axes, settings: Settings, block: _Block) -> None:
    axes.set_yticks(range(len(block.models)), [_label(settings, model) for model in block.models])


def _name_columns(axes: Axes, settings: Settings) -> None:
    axes.set_xticks(range(len(settings.tasks)), settings.tasks, rotation=90)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")


# --- widths side by side


@styled
def draw_matrices(comparison: Comparison, budget: str) -> Figure:
    """Every matrix of the study (rows) at every width (columns): means over seeds."""
    meaning = (
        "Normalised improvement on Atlantis: 0 as the base model there, 1 as it is on ordinary cities; shown within "
        f"{CLIP[0]:.0f} and {CLIP[1]}. Expected: the better of its tasks' single-task models; blue: better than that."
    )
    return _grid(comparison, budget, _blocks(comparison.settings), "Matrices by width", meaning)


@styled
def draw_retention(comparison: Comparison, budget: str) -> Figure:
    """What fine-tuning left of ordinary cities: all fine-tuned models (rows) at every width (columns)."""
    names = [name for name in matrix_names(comparison.settings.finetunes) if name != DIFFERENCE]
    blocks = [_Block(name.upper(), RETENTION, _models(comparison.settings, name), _KEPT) for name in names]
    meaning = "Fine-tuned models on ordinary cities: 1 as before fine-tuning, 0 as the base model on Atlantis."
    return _grid(comparison, budget, blocks, "Retention by width", meaning)


def _grid(comparison: Comparison, budget: str, blocks: list[_Block], title: str, meaning: str) -> Figure:
    """Blocks of rows above each other, widths side by side."""
    settings, runs = comparison.settings, comparison.runs[comparison.runs["budget"] == budget]
    archs = [arch for arch in comparison.archs if arch in set(runs["arch"])]
    if not archs:
        raise WorldwidthError(f"no run has the budget {budget}; there are: {', '.join(comparison.budgets)}")
    heights, columns = [len(block.models) for block in blocks], len(archs) * len(settings.tasks)
    aside = _labels_width(settings, blocks) + 38 + 4 * len(archs)
    size = CellSize.fitting(columns, aside, 12.5)
    figure = new_figure(aside + size.width * columns, size.height * sum(heights) + 14 * len(blocks) + 115)
    grid = figure.subplots(len(blocks), len(archs), squeeze=False, height_ratios=heights)
    notes = set()
    for block, row in zip(blocks, grid, strict=True):
        for arch, axes in zip(archs, row, strict=True):
            shown = _means(comparison, budget, arch, block)
            notes |= {cell.below for cell in shown.values() if cell.below}
            _draw_block(axes, settings, block, shown, size)
        _name_rows(row[0], settings, block)
        _name_block(row[0], block, size)
    for name in dict.fromkeys(block.matrix for block in blocks):
        chosen = [i for i, block in enumerate(blocks) if block.matrix == name]
        high = sum(heights[i] for i in chosen)
        color_bar(figure, list(grid[chosen].flat), blocks[chosen[0]].scale, high, size)
    for arch, axes in zip(archs, grid[0], strict=True):
        _name_columns(axes, settings)
        _name_width(axes, runs[runs["arch"] == arch], size)
    few = f" ({', '.join(sorted(notes))}: over those that have a number)" if notes else ""
    what = f"means over seeds{few}" if runs["arch"].duplicated().any() else "one seed"
    marks = f"Rows: fine-tuned on; columns: evaluated on. Numbers: {what}. {_MARKS}."
    frame(figure, f"{title}  {_setting(comparison, budget)}", [marks, meaning])
    return figure


def _name_block(axes: Axes, block: _Block, size: CellSize) -> None:
    """The block's title, above its rows' labels."""
    style: dict[str, Any] = {"ha": "right", "va": "bottom", "weight": "bold", "fontsize": size.beside + 0.5}
    title = block.title.replace(" - ", "\n- ")
    axes.annotate(title, (0, 1), (-2, 1), xycoords="axes fraction", textcoords="offset points", **style)


def _name_width(axes: Axes, runs: pd.DataFrame, size: CellSize) -> None:
    """The width's name, seeds and parameters, above its columns."""
    label = f"{seeds_text(len(runs), len(runs))}\n{runs['parameters'].iloc[0]:,} parameters"
    axes.set_xlabel(label, fontsize=size.beside, labelpad=4)
    axes.set_title(runs["arch"].iloc[0], fontweight="bold", fontsize=size.beside + 1, pad=3)


def _means(comparison: Comparison, budget: str, arch: str, block: _Block) -> dict[Key, Shown]:
    """The mean of every measurable cell; how many seeds it is over, where not all have it."""
    table, runs = comparison.cells, comparison.runs
    rows = table[(table["budget"] == budget) & (table["arch"] == arch) & (table["matrix"] == block.matrix)]
    seeds = int(((runs["budget"] == budget) & (runs["arch"] == arch)).sum())
    return {
        (row["model"], row["task"]): Shown(
            float(np.clip(row["mean"], *block.clip)), below=f"n={row['n']}" if row["n"] < seeds else ""
        )
        for row in rows[rows["n"] > 0].to_dict("records")
    }


# --- one width minus another


@styled
def draw_difference(comparison: Comparison, budget: str, arch: str, other: str) -> Figure:
    """``other`` minus ``arch`` in every cell, seed by seed, with its interval over seeds."""
    settings, table = comparison.settings, _difference_rows(comparison, budget, arch, other)
    scale = replace(_SIGNED, label=f"{other} minus {arch}")
    blocks = [replace(block, scale=scale) for block in _blocks(settings)]
    labelled = [block for i, block in enumerate(blocks) if i == 0 or block.models != blocks[i - 1].models]
    aside = sum(_labels_width(settings, [block]) for block in labelled) + 40 + 8 * len(blocks)
    columns, rows = len(blocks) * len(settings.tasks), max(len(block.models) for block in blocks)
    size = CellSize.fitting(columns, aside, 14)
    figure = new_figure(aside + size.width * columns, size.height * rows + 110)
    row = figure.subplots(1, len(blocks), squeeze=False)[0]
    cells: list[Shown] = []
    for block, axes in zip(blocks, row, strict=True):
        shown = _changes(table[table["matrix"] == block.matrix])
        cells += shown.values()
        _draw_block(axes, settings, block, shown, size)
        axes.set_ylim(rows - 0.5, -0.5)
        axes.set_title(block.title, fontweight="bold")
        _name_columns(axes, settings)
        if block in labelled:
            _name_rows(axes, settings, block)
    color_bar(figure, list(row), scale, rows, size)
    frame(figure, f"{other} minus {arch}  {_setting(comparison, budget)}", _difference_caption(cells, table["n"]))
    return figure


def _difference_rows(comparison: Comparison, budget: str, arch: str, other: str) -> pd.DataFrame:
    table = comparison.cell_differences
    if len(table):
        table = table[(table["budget"] == budget) & (table["arch"] == arch) & (table["other"] == other)]
    if not len(table):
        raise WorldwidthError(f"budget {budget} has no runs of {arch} and {other} with the same seed, in this order")
    return table.astype({"mean": float, "low": float, "high": float})


def _changes(rows: pd.DataFrame) -> dict[Key, Shown]:
    """The mean and half the interval of every cell; outlined where the interval excludes 0."""
    return {
        (row["model"], row["task"]): Shown(
            row["mean"],
            below=f"±{(row['high'] - row['low']) / 2:.2f}" if np.isfinite(row["low"]) else f"n={row['n']}",
            outlined=row["low"] < row["high"] and not row["low"] <= 0 <= row["high"],
        )
        for row in rows[rows["n"] > 0].to_dict("records")
    }


def _difference_caption(cells: list[Shown], seeds: pd.Series) -> list[str]:
    tested, outlined = sum("±" in cell.below for cell in cells), sum(cell.outlined for cell in cells)
    if not tested:
        return [f"Numbers: difference of one seed; an interval needs two seeds or more. {_MARKS}."]
    there = seeds[seeds > 0]
    return [
        f"Numbers: mean difference over {seeds_text(there.min(), there.max())}, seed by seed, "
        f"± half of its {INTERVAL} (Student's t). {_MARKS}.",
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
    table, archs = comparison.cell_differences, comparison.archs
    there = table[table["budget"] == budget][["arch", "other"]].drop_duplicates() if len(table) else table
    pairs = list(there.itertuples(index=False, name=None))
    widest = sorted(pairs, key=lambda pair: archs.index(pair[0]) - archs.index(pair[1]))
    chosen = [pair for one, two in asked for pair in ((one, two), (two, one)) if pair in pairs]
    return list(dict.fromkeys([*widest[:1], *chosen]))
