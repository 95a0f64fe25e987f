"""The linked matrix: its data for report.js, and the same table as it stands without a script."""

from collections.abc import Iterable
from typing import Any

import pandas as pd
from markupsafe import Markup

from worldwidth.comparison.runs import SKILL
from worldwidth.comparison.tables import Comparison, records
from worldwidth.core.text import is_number, score
from worldwidth.plots.comparison import Block, retention_blocks, study_blocks
from worldwidth.plots.heatmap import SCORE, SIGNED, Scale, score_scale
from worldwidth.report.sentences import arm_titles
from worldwidth.settings.schema import COLOURS
from worldwidth.tasks import load_task

SHADES = 41
"""Colours of a scale in the page."""


def sets_of(comparison: Comparison) -> list[Block]:
    """What can be chosen: the study's matrices, and what fine-tuning left of ordinary cities."""
    kept = [
        Block(f"{block.title} on ordinary cities", block.matrices, block.models, block.scale)
        for block in retention_blocks(comparison.settings)
    ]
    return [*study_blocks(comparison.settings), *kept]


def matrix_data(comparison: Comparison) -> dict[str, Any]:
    """All that the page's script shows: cells of every arm, level and set, and the differences of every two levels.

    Scores are hundredths, rounded as everywhere; errors have three digits. A cell without a number is null.
    """
    sets, settings = sets_of(comparison), comparison.settings
    by_place = dict(iter(comparison.cells.groupby(["arm", "level"], sort=False)))
    pairs = comparison.cell_differences
    by_pair = dict(iter(pairs.groupby(["arm", "level", "other"]))) if len(pairs) else {}
    tasks = list(settings.tasks)
    return {
        "tasks": tasks,
        "levels": list(comparison.axis.levels),
        "noun": comparison.axis.noun,
        "arms": arm_titles(comparison),
        "sets": [
            {
                "title": block.title,
                "signed": int(block.scale == SIGNED),
            }
            for block in sets
        ],
        "scales": {"signed": SIGNED.shades(SHADES)}
        | {name: Scale(name, SCORE.low, SCORE.high, "").shades(SHADES) for name in COLOURS},
        "colours": settings.colours,
        "cells": {
            arm: {level: _cells(comparison, by_place[arm, level], sets) for level in comparison.levels(arm)}
            for arm in comparison.arms
        },
        "constants": {
            arm: {level: constants_of(by_place[arm, level], tasks) for level in comparison.levels(arm)}
            for arm in comparison.arms
        },
        "pairs": {
            arm: {
                f"{other}|{level}": [_numbers(block, table, tasks) for block in sets]
                for (of_arm, level, other), table in by_pair.items()
                if of_arm == arm
            }
            for arm in comparison.arms
        },
    }


def _cells(comparison: Comparison, table: pd.DataFrame, sets: list[Block]) -> list[dict[str, list[Any]]]:
    """One set after the other: means, half intervals and errors, rows behind each other."""
    tasks = list(comparison.settings.tasks)
    return [{**_numbers(block, table, tasks), "raw": _column(block, table, tasks, _raw)} for block in sets]


def _numbers(block: Block, table: pd.DataFrame, tasks: list[str]) -> dict[str, list[Any]]:
    means = _column(block, table, tasks, lambda row: _whole(row["mean"]))
    halves = _column(block, table, tasks, lambda row: _whole((row["high"] - row["low"]) / 2))
    return {"mean": means, "half": halves}


def _column(block: Block, table: pd.DataFrame, tasks: list[str], value: Any) -> list[Any]:
    rows = {(row["model"], row["task"]): row for row in block.rows(table)}
    places = [(model, task) for model in block.models for task in tasks]
    return [value(rows[place]) if place in rows and rows[place]["n"] else None for place in places]


def _whole(value: Any) -> int | None:
    return round(100 * float(f"{value:.2f}")) if is_number(value) else None


def _raw(row: dict[str, Any]) -> float | None:
    return float(f"{row['raw']:.3g}") if is_number(row["raw"]) else None


def constants_of(table: pd.DataFrame, tasks: list[str]) -> list[float | None]:
    """The error of the best constant answer in each task, from raw scores v and skills s: over all models v is
    c (1 - s) for errors, c + s (1 - c) for shares."""
    found: list[float | None] = []
    for task in tasks:
        rows = [row for row in records(table, matrix=SKILL, task=task) if is_number(row["mean"])]
        left = sum(1 - row["mean"] for row in rows)
        share = bool(load_task(task).labels)
        right = sum(row["raw"] - share * row["mean"] for row in rows)
        found.append(float(f"{right / left:.3g}") if left > 0 else None)
    return found


def static_matrix(comparison: Comparison) -> Markup:
    """The table's bodies, one a set, as the first arm's first level has it."""
    arm = comparison.arms[0]
    level = comparison.levels(arm)[0]
    table = comparison.cells[(comparison.cells["arm"] == arm) & (comparison.cells["level"] == level)]
    tasks = list(comparison.settings.tasks)
    return Markup("").join(_body(comparison, block, table, tasks) for block in sets_of(comparison))


def _body(comparison: Comparison, block: Block, table: pd.DataFrame, tasks: list[str]) -> Markup:
    finetunes = comparison.settings.finetunes
    means = iter(_column(block, table, tasks, lambda row: row["mean"]))
    scale = block.scale if block.scale == SIGNED else score_scale(comparison.settings)
    shades = scale.shades(SHADES)
    head = Markup('<tr class="set"><th scope="rowgroup" colspan="{}">{}</th></tr>').format(len(tasks) + 1, block.title)
    rows = [
        Markup('<tr><th scope="row">{}</th>{}</tr>').format(
            " + ".join(finetunes[model]) or "no task",
            Markup("").join(_cell(next(means), task in finetunes[model], scale, shades) for task in tasks),
        )
        for model in block.models
    ]
    return Markup("<tbody>{}{}</tbody>").format(head, Markup("").join(rows))


def _cell(value: float | None, trained: bool, scale: Scale, shades: Iterable[tuple[str, str]]) -> Markup:
    sign = Markup("<b>T</b>") if trained else ""
    if not is_number(value):
        return Markup('<td class="none">{}</td>').format(sign)
    assert value is not None
    place = round((SHADES - 1) * min(max((value - scale.low) / (scale.high - scale.low), 0), 1))
    color, ink = list(shades)[place]
    return Markup('<td style="background:{};color:{}">{}{}</td>').format(color, ink, score(value), sign)
