"""Runs by place, and their metrics as means over the cells that all of them can measure."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from worldwidth.comparison.blocks import Replicates
from worldwidth.comparison.metrics import Metric
from worldwidth.comparison.runs import Key, RunScores
from worldwidth.comparison.statistics import Estimate, estimate, line_interval
from worldwidth.evaluation.scores import Floats

Groups = dict[tuple[str, str], list[RunScores]]
"""(arm, level) -> its runs, by replicate."""


def arms_in(groups: Groups) -> list[str]:
    """The arms, in their order."""
    return list(dict.fromkeys(arm for arm, _ in groups))


def shared_cells(runs: list[RunScores], metric: Metric, task: str | None = None) -> list[Key]:
    """The cells of a metric, in one task or in all, that are measurable in every one of ``runs``."""
    return sorted(set.intersection(*(_keys(run, metric, task) for run in runs)))


def _keys(run: RunScores, metric: Metric, task: str | None = None) -> set[Key]:
    """The measurable cells of one run that a metric is over."""
    return {
        key
        for key, values in run.cells.items()
        if key[0] == metric.matrix
        and key[1] in metric.models
        and (metric.trained is None or run.trained(key[1], key[2]) == metric.trained)
        and task in (None, key[2])
        and np.isfinite(values[0])
    }


def measurable_in_all(runs: list[RunScores], keys: list[Key]) -> list[Key]:
    """Those of ``keys`` that every one of ``runs`` has a number for."""
    return [key for key in keys if all(key in run.cells and np.isfinite(run.cells[key][0]) for run in runs)]


def mean_over(run: RunScores, keys: list[Key]) -> Floats:
    """(1 + resamples,) mean over cells; NaN without any."""
    if not keys:
        return np.full(len(next(iter(run.cells.values()))), np.nan)
    mean: Floats = np.mean([run.cells[key] for key in keys], axis=0)
    return mean


def over_replicates(drawn: list[Floats]) -> tuple[Estimate, dict[str, Any]]:
    """The estimate from one (1 + resamples,) array a replicate, and its columns."""
    found = estimate([float(values[0]) for values in drawn])
    measurable = [values for values in drawn if np.isfinite(values[0])]
    line_se, line_low, line_high = line_interval(np.mean(measurable, axis=0)) if measurable else (None, None, None)
    return found, {
        "n": found.n,
        "mean": found.mean,
        "sd": found.sd,
        "low": found.low,
        "high": found.high,
        "line_se": line_se,
        "line_low": line_low,
        "line_high": line_high,
    }


def complete(groups: Groups, arm: str, levels: Sequence[str], metric: Metric) -> tuple[Replicates | None, list[Key]]:
    """A metric for the replicates that all ``levels`` of an arm have, and the cells that it is over.

    None where there is no such replicate, or no cell that all can measure.
    """
    runs = [{run.replicate: run for run in groups[arm, level]} for level in levels]
    both = sorted(set.intersection(*map(set, runs))) if runs else []
    keys = shared_cells([of_level[one] for of_level in runs for one in both], metric) if both else []
    if not keys:
        return None, []
    values = [[float(mean_over(of_level[one], keys)[0]) for of_level in runs] for one in both]
    seeds, draws = zip(*both, strict=True)
    return Replicates(np.array(values), seeds, draws), keys
