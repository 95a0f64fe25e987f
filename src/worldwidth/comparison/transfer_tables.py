"""Divergence, givers and takers, patterns and efficiency as rows of text, for Markdown and the report."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from worldwidth.comparison.divergence import CONTRAST, GIVER, WITH, WITHOUT
from worldwidth.comparison.efficiency import COSTS, FLOPS, PARAMETERS
from worldwidth.comparison.patterns import in_words
from worldwidth.comparison.statistics import direction
from worldwidth.comparison.tables import Comparison, records
from worldwidth.core.text import number, p_value, plus_minus, short

Row = dict[str, str]
MARKS = {PARAMETERS: "P", FLOPS: "F"}
"""Of a frontier, by its cost."""


def divergence_rows(comparison: Comparison, arm: str) -> Iterator[Row]:
    """Levels and tasks as rows: gains of pairs with and without the divergent task, and their difference."""
    for level in comparison.levels(arm):
        for tasks in ("trained", "other"):
            of = {row["pairs"]: row for row in records(comparison.divergence, arm=arm, level=level, tasks=tasks)}
            if of:
                contrast = of[CONTRAST]
                yield {
                    "pairs": level,
                    "tasks": tasks,
                    **{name: _mean(of[name], sign=True) for name in (WITH, WITHOUT)},
                    CONTRAST: _mean(contrast, sign=True) + ("*" if direction(contrast["verdict"]) else ""),
                    "p (Holm)": p_value(contrast["p_holm"]),
                }


def giver_rows(comparison: Comparison, arm: str) -> Iterator[Row]:
    """Tasks as rows, as givers, then as takers, levels as columns: of the first matrix of single-task models."""
    rows = [row for row in records(comparison.givers, arm=arm) if row["matrix"] == comparison.givers["matrix"].iloc[0]]
    for role, task in dict.fromkeys((row["role"], row["task"]) for row in rows):
        of_task = [row for row in rows if (row["role"], row["task"]) == (role, task)]
        yield {
            "task": f"{task} {'gives' if role == GIVER else 'takes'}",
            **{row["level"]: _mean(row) for row in of_task},
        }


def pattern_rows(comparison: Comparison, arm: str) -> Iterator[Row]:
    """Ways to correlate as rows, the headline first: within a level, between levels, p."""
    for row in records(comparison.pattern_tests, arm=arm):
        yield {
            "patterns": f"{row['matrix'].upper()} {row['scores']}",
            "correlation": row["kind"],
            "within": number(row["within"], 2),
            "between": number(row["between"], 2),
            "same seed": number(row["same_replicate"], 2),
            "at most": number(row["ceiling"], 2),
            "p": p_value(row["p"]),
        }


def pattern_words(comparison: Comparison, arm: str) -> list[str]:
    """The headline test in words; empty where there is none."""
    tests = records(comparison.pattern_tests, arm=arm, headline=True)
    return [in_words(test, comparison.axis.noun) for test in tests[:1]]


def efficiency_rows(comparison: Comparison) -> Iterator[Row]:
    """Points as rows, cheap to dear, with their costs and scores; behind a score whose frontiers it is on: P, F."""
    table = comparison.efficiency
    points = {(row["arm"], row["level"]): row["at"] for row in records(table, cost=FLOPS)}
    for arm, level in sorted(points, key=lambda place: points[place]):
        costs = {row["cost"]: short(row["at"]) for row in records(table, arm=arm, level=level)}
        scores: Row = {}
        for row in records(table, arm=arm, level=level):
            mark = MARKS[row["cost"]] if row["frontier"] else ""
            label = comparison.metrics[row["metric"]].label
            said = scores.setdefault(label, number(row["mean"], 2))
            scores[label] = f"{said} {mark}" if mark and said[-1].isdigit() else f"{said}{mark}"
        named = {"arm": arm, "point": level} if len(comparison.arms) > 1 else {"point": level}
        yield {**named, **{label: costs[cost] for cost, label in COSTS.items()}, **scores}


def transfer_reading(comparison: Comparison) -> list[str]:
    """What these tables are, a line each, of those that there are."""
    over = " minus control" if comparison.givers.get("minus_control", pd.Series(dtype=bool)).any() else ""
    lines = (
        (
            comparison.divergence,
            "gain of pairs: score of a model of two tasks minus that of the better of its two single-task models",
        ),
        (
            comparison.givers,
            f"gives: transfer{over} of the model of this task, mean over the others; takes: the others' models in it",
        ),
        (
            comparison.patterns,
            "patterns: transfer cells of two runs of other seeds; same seed: not tested, they share Atlantis; at most: "
            "what noise of test lines allows",
        ),
        (
            comparison.efficiency,
            "P, F: on the frontier by parameters, by FLOPs: no other point scores at least as much for no more",
        ),
    )
    return [line for table, line in lines if not table.empty]


def _mean(row: dict[str, Any], sign: bool = False) -> str:
    return plus_minus(row["mean"], row["low"], row["high"], sign=sign)
