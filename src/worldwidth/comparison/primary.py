"""The primary result: the declared contrast of the declared metric, its pairs, and how much hangs on the estimator."""

import math
from collections.abc import Iterator
from typing import Any

import pandas as pd
from scipy import stats

from worldwidth.comparison.axes import Axis
from worldwidth.comparison.blocks import (
    BLOCKS,
    ESTIMATORS,
    Contrast,
    Replicates,
    by_blocks,
    end_weights,
    linear_weights,
    tukey,
)
from worldwidth.comparison.cells import Groups, arms_in, complete
from worldwidth.comparison.declared import Declared
from worldwidth.comparison.differences import Rows, tested
from worldwidth.comparison.metrics import Metric
from worldwidth.comparison.statistics import Estimate, direction, holm, verdict
from worldwidth.evaluation.scores import Floats

PRIMARY, EXPLORATORY, SENSITIVITY, PAIR = "primary", "exploratory", "sensitivity", "pair"


def primary_rows(groups: Groups, metrics: dict[str, Metric], axis: Axis, plan: Declared | None) -> pd.DataFrame:
    """A row for the contrast, by every estimator, and for every pair of levels; of every arm.

    Empty where nothing is declared, or the runs have no such metric.
    """
    if plan is None or plan.analysis.primary not in metrics:
        return pd.DataFrame()
    metric = metrics[plan.analysis.primary]
    rows = [row for arm in arms_in(groups) for row in _rows_of(groups, arm, metric, axis, plan)]
    contrasts = [row for row in rows if row["role"] in (PRIMARY, EXPLORATORY)]
    for row, p in zip(contrasts, holm([row["p"] for row in contrasts]), strict=True):
        row["p_adjusted"] = p
    for row in rows:
        found = row.pop("found")
        higher = row["other"] if row["role"] == PAIR or plan.analysis.contrast == "ends" else axis.larger
        row["verdict"] = verdict(found, row["p_adjusted"], higher)
        row["within_bound"] = found.excluded is not None and found.excluded <= plan.analysis.equivalence
    return pd.DataFrame(rows)


def conclusion(row: dict[str, Any]) -> str:
    """The verdict of a row, and what the declared bound of equivalence says."""
    bound = f"{row['equivalence']:g}"
    if row["within_bound"]:
        beside = "but within" if direction(row["verdict"]) else "equivalent: within"
        return f"{row['verdict']}; {beside} the declared {bound}"
    return str(row["verdict"])


def trend_rows(groups: Groups, metrics: dict[str, Metric], axis: Axis, plan: Declared | None) -> pd.DataFrame:
    """Slope of each metric per doubling, over the levels that have sizes and the replicates that all of these have."""
    return tested(_trends(groups, metrics, axis, plan), ["arm", "role"], axis)


def _trends(groups: Groups, metrics: dict[str, Metric], axis: Axis, plan: Declared | None) -> Rows:
    for arm in arms_in(groups):
        levels = [level for there, level in groups if there == arm and level in axis.sizes]
        if len({axis.sizes[level] for level in levels}) < 3:
            continue
        weights = linear_weights([axis.sizes[level] for level in levels]) / doublings(axis, levels)
        for name, metric in metrics.items():
            table, keys = complete(groups, arm, levels, metric)
            found, freedom = _decided(table, weights)
            place = {"arm": arm, "levels": " ".join(levels), "metric": name, "role": _role(name, plan)}
            fit = {"slope": found.mean, "sd": found.sd, "low": found.low, "high": found.high, "df": freedom}
            yield found, {**place, "cells": len(keys), "n": found.n, **fit, "p": found.p, "excluded": found.excluded}


def doublings(axis: Axis, levels: list[str]) -> float:
    """How often the smallest size is doubled to get the largest."""
    sizes = [axis.sizes[level] for level in levels]
    return math.log2(max(sizes) / min(sizes))


def contrast_levels(axis: Axis, there: list[str], contrast: str) -> list[str]:
    """The levels that a contrast is over: those with sizes, or all; none where it is not defined."""
    levels = [level for level in there if level in axis.sizes] if contrast == "linear" else there
    return levels if len(levels) > 1 and (contrast != "linear" or doublings(axis, levels) > 0) else []


def contrast_weights(axis: Axis, levels: list[str], contrast: str) -> Floats:
    """The weights of a declared contrast over :func:`contrast_levels`."""
    return linear_weights([axis.sizes[level] for level in levels]) if contrast == "linear" else end_weights(len(levels))


def _role(metric: str, plan: Declared | None) -> str:
    is_it = (
        plan is not None and plan.is_before and plan.analysis.primary == metric and plan.analysis.contrast == "linear"
    )
    return PRIMARY if is_it else EXPLORATORY


def _decided(table: Replicates | None, weights: Floats) -> tuple[Estimate, int]:
    """By the estimator that decides, as far as there are replicates."""
    if table is None:
        return Estimate(0, None, None, None, None, None, None), 0
    if table.n == 1:
        return Estimate(1, float(weights @ table.values[0]), None, None, None, None, None), 0
    contrast = by_blocks(table, weights)
    return contrast.found, contrast.freedom


def _rows_of(groups: Groups, arm: str, metric: Metric, axis: Axis, plan: Declared) -> Iterator[dict[str, Any]]:
    there = [level for name, level in groups if name == arm]
    common = {"arm": arm, "metric": plan.analysis.primary, "contrast": plan.analysis.contrast}
    levels = contrast_levels(axis, there, plan.analysis.contrast)
    if levels:
        table, _ = complete(groups, arm, levels, metric)
        weights = contrast_weights(axis, levels, plan.analysis.contrast)
        place = {**common, "level": levels[0], "other": levels[-1]}
        for contrast in _contrasts(table, weights):
            role = SENSITIVITY if contrast.estimator != BLOCKS else PRIMARY if plan.is_before else EXPLORATORY
            yield {**place, "role": role, **_columns(contrast, plan), "bartlett_p": _bartlett(table)}
    table, _ = complete(groups, arm, there, metric)
    if table is not None and table.n > 1 and table.k > 1:
        for pair in tukey(table):
            place = {**common, "level": there[pair.level], "other": there[pair.other], "role": PAIR}
            freedom = (table.n - 1) * (table.k - 1)
            yield {**place, **_columns(Contrast(BLOCKS, pair.found, freedom, "Tukey"), plan), "bartlett_p": None}


def _contrasts(table: Replicates | None, weights: Floats) -> list[Contrast]:
    if table is None or table.n == 1:
        return [Contrast(BLOCKS, *_decided(table, weights))]
    return [estimator(table, weights) for estimator in ESTIMATORS]


def _columns(contrast: Contrast, plan: Declared) -> dict[str, Any]:
    found = contrast.found
    return {
        "estimator": contrast.estimator,
        "n": found.n,
        "mean": found.mean,
        "sd": found.sd,
        "low": found.low,
        "high": found.high,
        "df": contrast.freedom,
        "p": found.p,
        "p_adjusted": found.p,
        "excluded": found.excluded,
        "equivalence": plan.analysis.equivalence,
        "note": contrast.note,
        "declared": plan.said,
        "found": found,
    }


def _bartlett(table: Replicates | None) -> float | None:
    """p of Bartlett's test that all levels scatter alike; None where that cannot be asked."""
    if table is None or table.n < 2 or not (table.values.std(axis=0) > 0).all():
        return None
    return float(stats.bartlett(*table.values.T).pvalue)
