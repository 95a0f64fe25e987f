"""The figures of a comparison: the matrices, and all figures as files."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from worldwidth.comparison.axes import ARCH, BUDGET, in_file_name
from worldwidth.comparison.labels import RETENTION as RETENTION_LABEL
from worldwidth.comparison.runs import RETENTION
from worldwidth.comparison.statistics import ALPHA, INTERVAL
from worldwidth.comparison.tables import Comparison, records
from worldwidth.core.errors import WorldwidthError
from worldwidth.core.text import count, is_number, plural, seeds
from worldwidth.evaluation.scores import DIFFERENCE, matrix_names, matrix_of, rows_below
from worldwidth.plots.divergence import draw_divergence, draw_givers
from worldwidth.plots.efficiency import draw_efficiency
from worldwidth.plots.heatmap import (
    EXPECTED,
    MARKS,
    MEANING,
    SIGNED,
    Key,
    Mark,
    Panel,
    Scale,
    abreast,
    draw_panels,
    in_rows,
    make_panel,
    models_of,
    score_scale,
    title_of,
)
from worldwidth.plots.lines import answers, draw_answer, draw_over_sizes
from worldwidth.plots.losses import draw_curves
from worldwidth.plots.over_axis import draw_over_axis
from worldwidth.plots.patterns import draw_patterns
from worldwidth.plots.printed import save_printed
from worldwidth.plots.ratios import draw_ratios, has_ratios
from worldwidth.plots.style import STYLE, frame
from worldwidth.settings.schema import Settings

_KINDS = (
    "matrices-*", "difference-*", "retention-*", "patterns-*", "divergence", "givers", "efficiency", "answer", "scores",
    "ratios",
)  # fmt: skip


@dataclass(frozen=True)
class Block:
    """Some rows of a matrix that are shown together."""

    title: str
    matrices: tuple[str, ...]
    """Which rows of the tables."""
    models: list[str]
    scale: Scale

    def rows(self, table: pd.DataFrame, **where: object) -> list[dict[str, Any]]:
        """Its rows of a table of cells."""
        return [row for matrix in self.matrices for row in records(table, matrix=matrix, **where)]


def study_blocks(settings: Settings) -> list[Block]:
    """The study's own matrices; with the rows that stand below one."""
    found = []
    for name in matrix_names(settings.finetunes):
        below = rows_below(settings.finetunes, name)
        matrices, models = tuple(dict.fromkeys([name, *map(matrix_of, below)])), models_of(settings, name) + below
        found.append(
            Block(title_of(settings, name), matrices, models, SIGNED if name == DIFFERENCE else score_scale(settings))
        )
    return found


def retention_blocks(settings: Settings) -> list[Block]:
    """The fine-tuned models on ordinary cities."""
    kept = replace(score_scale(settings), label=RETENTION_LABEL)
    own = [block for block in study_blocks(settings) if block.scale != SIGNED]
    return [replace(block, matrices=(RETENTION,), scale=kept) for block in own]


def mean_panel(comparison: Comparison, arm: str, level: str, block: Block) -> Panel:
    """The mean over replicates of every measurable cell; over how many, where not all have it."""
    rows = block.rows(comparison.cells, arm=arm, level=level)
    runs = len(records(comparison.runs, arm=arm, level=level))
    marks = {(row["model"], row["task"]): Mark(row["mean"], f"n={row['n']}" * (row["n"] < runs)) for row in rows}
    return _panel(comparison.settings, block, marks)


def change_panel(comparison: Comparison, arm: str, level: str, other: str, block: Block) -> Panel:
    """The mean of ``other`` minus ``level`` and half its interval; outlined where the interval excludes 0."""
    rows = block.rows(comparison.cell_differences, arm=arm, level=level, other=other)
    marks = {(row["model"], row["task"]): _change(row) for row in rows}
    block = replace(block, scale=replace(SIGNED, label=f"{other} minus {level}"))
    return _panel(comparison.settings, block, marks)


def _change(row: dict[str, Any]) -> Mark:
    if not is_number(row["low"]):
        return Mark(row["mean"], below=f"n={row['n']}")
    away = row["low"] < row["high"] and not row["low"] <= 0 <= row["high"]
    return Mark(row["mean"], below=f"±{(row['high'] - row['low']) / 2:.2f}", outlined=away)


def _panel(settings: Settings, block: Block, marks: dict[Key, Mark]) -> Panel:
    """The panel of a block; without a number a cell is hatched."""
    measured = {place: mark for place, mark in marks.items() if is_number(mark.value)}
    return make_panel(settings, block.models, measured, block.scale)


def missing_models(comparison: Comparison, arm: str, *levels: str) -> dict[str, str]:
    """model -> a remark, of the models that some run of ``levels`` lacks."""
    found: dict[str, list[str]] = {}
    for level in levels:
        lacking = [row["missing_models"].split() for row in records(comparison.runs, arm=arm, level=level)]
        for model in comparison.settings.models:
            n = sum(model in models for models in lacking)
            if n:
                remark = "missing" if n == len(lacking) else f"missing in {n} of {plural(len(lacking), 'run')}"
                found.setdefault(model, []).append(remark if len(levels) == 1 else f"{level}: {remark}")
    return {model: "; ".join(remarks) for model, remarks in found.items()}


# --- levels side by side


def draw_matrices(comparison: Comparison, arm: str) -> Figure:
    """Every matrix of the study (rows) at every level (columns): means over replicates."""
    return _side_by_side(comparison, arm, study_blocks, "Matrices", f"{MEANING} {EXPECTED}")


def draw_retention(comparison: Comparison, arm: str) -> Figure:
    """What fine-tuning left of ordinary cities: all fine-tuned models (rows) at every level (columns)."""
    meaning = "Fine-tuned models on ordinary cities: 1 as before fine-tuning, 0 as the base model on Atlantis."
    return _side_by_side(comparison, arm, retention_blocks, "Retention", meaning)


@plt.style.context(STYLE)
def _side_by_side(
    comparison: Comparison, arm: str, blocks: Callable[[Settings], list[Block]], what: str, meaning: str
) -> Figure:
    levels = comparison.levels(arm)
    if not levels:
        raise WorldwidthError(f"no run is of the arm {arm}; there are: {', '.join(comparison.arms)}")
    grid = []
    n = abreast(len(levels), len(comparison.settings.tasks))
    for some in (levels[i : i + n] for i in range(0, len(levels), n)):
        for i, block in enumerate(blocks(comparison.settings)):
            row = [mean_panel(comparison, arm, level, block) for level in some]
            row[0] = replace(row[0], corner=block.title.replace(" minus ", "\nminus "))
            if i == 0:
                row = [
                    replace(panel, title=level, note=_note(comparison, arm, level))
                    for panel, level in zip(row, some, strict=True)
                ]
            grid.append(row)
    notes = sorted(
        {mark.below for row in grid for panel in row for marks in panel.marks for mark in marks if mark.below}
    )
    few = f" ({', '.join(notes)}: over those that have a number)" if notes else ""
    runs = comparison.runs[comparison.runs["arm"] == arm]
    means = f"means over seeds{few}" if runs["level"].duplicated().any() else "one seed"
    figure = draw_panels(grid)
    marks = f"Rows: fine-tuned on; columns: evaluated on. Numbers: {means}. {MARKS}."
    frame(figure, f"{what} by {comparison.axis.noun}  {_setting(comparison, arm)}", [marks, meaning])
    return figure


def _note(comparison: Comparison, arm: str, level: str) -> str:
    runs = records(comparison.runs, arm=arm, level=level)
    sizes = f"\n{count(runs[0]['parameters'])} parameters" if comparison.axis.key == ARCH else ""
    return f"{plural(len(runs), 'seed')}{sizes}"


def _setting(comparison: Comparison, arm: str) -> str:
    is_budget = [axis.key for axis in comparison.design.within] == [BUDGET]
    words = f"budget {arm}: {comparison.words(arm)}" if is_budget else comparison.words(arm)
    return f"({words}; scale {comparison.settings.scale})"


# --- one level minus another


@plt.style.context(STYLE)
def draw_difference(comparison: Comparison, arm: str, level: str, other: str) -> Figure:
    """``other`` minus ``level`` in every cell, replicate by replicate, with its interval over replicates."""
    rows = records(comparison.cell_differences, arm=arm, level=level, other=other)
    if not rows:
        raise WorldwidthError(f"arm {arm} has no runs of {level} and {other} with the same seed, in this order")
    blocks = study_blocks(comparison.settings)
    panels = [replace(change_panel(comparison, arm, level, other, block), title=block.title) for block in blocks]
    figure = draw_panels(in_rows(panels))
    shown = [row["n"] for block in blocks for row in block.rows(pd.DataFrame(rows))]
    frame(figure, f"{other} minus {level}  {_setting(comparison, arm)}", _difference_caption(panels, shown))
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


def draw_scores(comparison: Comparison) -> Figure:
    """Headline metrics: of archs against their sizes, over another axis against its values."""
    return draw_over_sizes(comparison) if comparison.design.drawn_over is None else draw_over_axis(comparison)


def draw_comparison_figures(comparison: Comparison, folder: Path, pairs: Iterable[Key] = ()) -> list[Path]:
    """Write all figures into ``folder``; remove those of an earlier comparison that had other runs.

    Args:
        pairs: two levels each, whose difference is drawn beside that of the two ends.
    """
    drawn: dict[str, Callable[[], Figure]] = {}
    asked = list(pairs)
    for arm in comparison.arms:
        file = in_file_name(arm)
        drawn[f"matrices-{file}"] = partial(draw_matrices, comparison, arm)
        for level, other in _pairs(comparison, arm, asked):
            name = f"difference-{file}-{in_file_name(level)}-{in_file_name(other)}"
            drawn[name] = partial(draw_difference, comparison, arm, level, other)
        drawn[f"retention-{file}"] = partial(draw_retention, comparison, arm)
        if records(comparison.patterns, arm=arm):
            drawn[f"patterns-{file}"] = partial(draw_patterns, comparison, arm)
    whole: dict[str, tuple[Callable[[Comparison], Figure], bool]] = {
        "answer": (draw_answer, comparison.axis.key == ARCH and bool(answers(comparison))),
        "ratios": (draw_ratios, has_ratios(comparison)),
        "scores": (draw_scores, True),
        "curves": (draw_curves, True),
        "efficiency": (draw_efficiency, not comparison.efficiency.empty),
        "divergence": (draw_divergence, not comparison.divergence.empty),
        "givers": (draw_givers, not comparison.givers.empty),
    }
    drawn |= {name: partial(draw, comparison) for name, (draw, there) in whole.items() if there}
    return save_printed(drawn, folder, _KINDS)


def _pairs(comparison: Comparison, arm: str, asked: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The two that stand furthest apart and share a replicate, then those asked for, of this arm."""
    rows = records(comparison.cell_differences, arm=arm)
    pairs = list(dict.fromkeys((row["level"], row["other"]) for row in rows))
    levels = comparison.axis.levels
    ends = sorted(pairs, key=lambda pair: levels.index(pair[0]) - levels.index(pair[1]))
    chosen = [pair for one, two in asked for pair in ((one, two), (two, one)) if pair in pairs]
    return list(dict.fromkeys([*ends[:1], *chosen]))
