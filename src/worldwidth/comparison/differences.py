"""Differences of two levels, replicate by replicate: of metrics, of tasks, and of single cells."""

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from worldwidth.comparison.axes import Axis
from worldwidth.comparison.blocks import near_equal, residual
from worldwidth.comparison.cells import Groups, complete, mean_over, over_replicates, shared_cells
from worldwidth.comparison.metrics import Metric
from worldwidth.comparison.runs import Key, RunScores
from worldwidth.comparison.statistics import Estimate, few_objects_to_collect, holm, student, verdict
from worldwidth.evaluation.scores import Floats

Rows = Iterator[tuple[Estimate, dict[str, Any]]]


def pairs_of(groups: Groups) -> Iterator[tuple[str, str, str, list[RunScores], list[RunScores]]]:
    """Every arm and two levels, in their order, with the runs of the replicates that both have."""
    for (arm, level), (other_arm, other) in combinations(groups, 2):
        if arm == other_arm:
            mine, theirs = ({run.replicate: run for run in groups[arm, name]} for name in (level, other))
            both = sorted(mine.keys() & theirs.keys())
            if both:
                yield arm, level, other, [mine[one] for one in both], [theirs[one] for one in both]


def metric_differences(groups: Groups, metrics: dict[str, Metric]) -> Rows:
    """Every pair and metric, with what the other pairs and the test lines say about the spread."""
    pooled: dict[tuple[str, str], tuple[float, int] | None] = {}
    for arm, level, other, mine, theirs in pairs_of(groups):
        for name, metric in metrics.items():
            if (arm, name) not in pooled:
                pooled[arm, name] = _pooled(groups, arm, metric)
            keys = shared_cells(mine + theirs, metric)
            drawn = [mean_over(b, keys) - mean_over(a, keys) for a, b in zip(mine, theirs, strict=True)]
            found, columns = over_replicates(drawn)
            place = {"arm": arm, "level": level, "other": other, "metric": name}
            spread = _spread(found, drawn, pooled[arm, name])
            yield found, {**place, "cells": len(keys), **columns, **spread, "p": found.p, "excluded": found.excluded}


def task_differences(groups: Groups, metrics: dict[str, Metric], tasks: Sequence[str]) -> Rows:
    """Every pair, metric and evaluated task."""
    for arm, level, other, mine, theirs in pairs_of(groups):
        for name, metric in metrics.items():
            for task in tasks:
                keys = shared_cells(mine + theirs, metric, task)
                drawn = [mean_over(b, keys) - mean_over(a, keys) for a, b in zip(mine, theirs, strict=True)]
                found, columns = over_replicates(drawn)
                place = {"arm": arm, "level": level, "other": other, "metric": name, "task": task}
                yield found, {**place, "cells": len(keys), **columns, "p": found.p, "excluded": found.excluded}


def cell_differences(groups: Groups) -> Iterator[dict[str, Any]]:
    """Every pair and cell; no tests."""
    for arm, level, other, mine, theirs in pairs_of(groups):
        for key in dict.fromkeys(key for run in mine + theirs for key in run.cells):
            both = [(a.cells, b.cells) for a, b in zip(mine, theirs, strict=True) if key in a.cells and key in b.cells]
            yield {
                "arm": arm,
                "level": level,
                "other": other,
                **place_of(mine[0], key),
                **over_replicates([b[key] - a[key] for a, b in both])[1],
            }


def place_of(run: RunScores, key: Key) -> dict[str, Any]:
    """The columns that say which cell it is."""
    matrix, model, task = key
    return {"matrix": matrix, "model": model, "task": task, "trained": run.trained(model, task)}


def tested(rows: Rows, family: list[str], axis: Axis) -> pd.DataFrame:
    """The rows as a table, p adjusted by Holm within each ``family``, and the verdict."""
    found = list(rows)
    families: dict[tuple[Any, ...], list[int]] = {}
    for i, (_, row) in enumerate(found):
        families.setdefault(tuple(row[column] for column in family), []).append(i)
    with few_objects_to_collect():
        adjusted_ps = [holm([found[i][1]["p"] for i in members]) for members in families.values()]
    for members, adjusted in zip(families.values(), adjusted_ps, strict=True):
        for i, p in zip(members, adjusted, strict=True):
            result, row = found[i]
            row["p_holm"] = p
            row["verdict"] = verdict(result, p, row.get("other", axis.larger))
    return pd.DataFrame([row for _, row in found])


def _pooled(groups: Groups, arm: str, metric: Metric) -> tuple[float, int] | None:
    """Standard deviation of a difference of two levels in one replicate, pooled over all pairs of an arm.

    With its degrees of freedom; None with two levels, whose only pair has nothing to be held against.
    """
    levels = [level for there, level in groups if there == arm]
    table, _ = complete(groups, arm, levels, metric)
    if table is None or table.k < 3 or table.n < 2:
        return None
    variance, freedom = residual(table)
    return float((2 * variance) ** 0.5), freedom


def _spread(found: Estimate, drawn: list[Floats], pooled: tuple[float, int] | None) -> dict[str, Any]:
    """Whether the differences of the replicates are nearer to each other than they can be, and what holds if so.

    They are held against the larger of two: their spread over all pairs, and that which test lines alone make.
    """
    nothing = {"pooled_sd": None, "pooled_low": None, "pooled_high": None, "near_equal": False}
    if found.n < 2 or found.mean is None or found.sd is None or pooled is None:
        return nothing
    sd, freedom = pooled
    with_it = student(found.n, found.mean, sd, sd / found.n**0.5, freedom)
    suspect = near_equal(found.sd, found.n, max(sd, line_spread(drawn)))
    return {"pooled_sd": sd, "pooled_low": with_it.low, "pooled_high": with_it.high, "near_equal": suspect}


def line_spread(drawn: list[Floats]) -> float:
    """Standard deviation over replicates that test lines alone make: what resampling them changes in one replicate and
    not in all, (1 + resamples,) of each."""
    table = np.array([values[1:] for values in drawn])
    own = table - table.mean(axis=0)
    return float(np.sqrt(np.nanmean(np.nanvar(own, axis=1)) * len(drawn) / (len(drawn) - 1)))
