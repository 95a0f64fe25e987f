"""The comparison as tidy tables: per run, per level of what is compared, per difference, per task and per cell.

What is compared is an axis (axes.py); its values are levels, and within an arm nothing else differs but the replicate:
a seed and an Atlantis draw. The replicate is the unit of every interval. Two levels are compared replicate by
replicate, over the same test lines and over those cells only that are measurable in every run of both. What test lines
add to the uncertainty stands beside it (``line_se``), from a paired bootstrap in which all runs share every resample.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from worldwidth.comparison.axes import ARCH, Axis, Design, value_of
from worldwidth.comparison.metrics import Metric, metrics_of
from worldwidth.comparison.runs import Key, RunScores
from worldwidth.comparison.statistics import (
    Estimate,
    estimate,
    few_objects_to_collect,
    holm,
    line_interval,
    slope_per_doubling,
    verdict,
)
from worldwidth.evaluation.scores import Floats, matrix_of
from worldwidth.settings.compute import training_epochs
from worldwidth.settings.schema import Settings


@dataclass(frozen=True)
class Comparison:
    """All tables. Numbers that do not exist (one replicate, nothing measurable) are NaN."""

    settings: Settings
    """The params that all runs share; what it says about the axes, seeds and Atlantis draw means nothing here."""
    of_archs: dict[str, Settings]
    """Arch -> the params of one of its runs."""
    design: Design
    arms: tuple[str, ...]
    metrics: dict[str, Metric]
    runs: pd.DataFrame
    """One row a run: experiment, commit, arm, level, arch, budget, seeds, axes, sizes and compute, missing models, and
    every metric, over the cells that are measurable in all runs of the same arm and level: those of ``means``."""
    means: pd.DataFrame
    """One row per arm, level and metric: n, mean, sd, low, high, line_se over replicates."""
    cells: pd.DataFrame
    """The same per cell of every matrix, with the mean raw score."""
    differences: pd.DataFrame
    """One row per arm, two levels and metric: other minus level; p, Holm over the pairs, verdict."""
    tasks: pd.DataFrame
    """The same per evaluated task; Holm over the tasks."""
    cell_differences: pd.DataFrame
    """The same per cell, no tests."""
    trends: pd.DataFrame
    """One row per arm and metric: slope per doubling of the axis's sizes; Holm over the metrics."""
    curves: pd.DataFrame
    """Pre-training curves of all runs, thinned."""

    @property
    def axis(self) -> Axis:
        """What is compared."""
        return self.design.axis

    def levels(self, arm: str) -> list[str]:
        """The levels that have runs in an arm, in their order."""
        there = {row["level"] for row in records(self.runs, arm=arm)}
        return [level for level in self.axis.levels if level in there]

    def words(self, arm: str) -> str:
        """What an arm is, in words."""
        return self.design.words_of(records(self.runs, arm=arm)[0])

    @property
    def archs(self) -> tuple[str, ...]:
        """All archs, narrow to wide."""
        return Axis.of(ARCH, list(self.of_archs.values())).levels


def records(table: pd.DataFrame, **where: object) -> list[dict[str, Any]]:
    """The rows whose columns have the values ``where``; none of an empty table, which has no columns."""
    for column, value in where.items():
        if column not in table:
            return []
        table = table[table[column] == value]
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def compare(runs: Sequence[RunScores], by: Sequence[str] = (ARCH,), others: Sequence[str] = ()) -> Comparison:
    """All tables from runs of the same study (see compatibility.py).

    Args:
        by: the axis that is compared, and perhaps a second, over which there are curves.
        others: further axes on which the runs may differ; they make arms.

    Raises:
        WorldwidthError: there is no such axis.
    """
    everything = [run.settings for run in runs]
    design = Design.of(everything, by, others)
    arms, metrics = design.arms_of(everything), metrics_of(everything[0])
    places: Groups = {(arm, level): [] for arm in arms for level in design.axis.levels}
    for run in sorted(runs, key=lambda run: run.replicate):
        places[design.arm_of(run.settings), design.level_of(run.settings)].append(run)
    groups = {place: of_place for place, of_place in places.items() if of_place}
    headlines = _tested(_difference_rows(groups, metrics, (None,)), ["arm", "metric"], design.axis)
    of_tasks = _difference_rows(groups, metrics, everything[0].tasks)
    return Comparison(
        settings=everything[0],
        of_archs={settings.arch: settings for settings in reversed(everything)},
        design=design,
        arms=arms,
        metrics=metrics,
        runs=pd.DataFrame(_run_rows(groups, metrics, design)),
        means=pd.DataFrame(_mean_rows(groups, metrics)),
        cells=pd.DataFrame(_cell_rows(groups)),
        differences=headlines.drop(columns="task", errors="ignore"),
        tasks=_tested(of_tasks, ["arm", "level", "other", "metric"], design.axis),
        cell_differences=pd.DataFrame(_cell_difference_rows(groups)),
        trends=_tested(_trend_rows(groups, metrics, design.axis), ["arm"], design.axis),
        curves=pd.concat([_thinned(place, run) for place, runs in groups.items() for run in runs], ignore_index=True),
    )


Groups = dict[tuple[str, str], list[RunScores]]
"""(arm, level) -> its runs, by replicate."""


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


def _shared(runs: list[RunScores], metric: Metric, task: str | None = None) -> list[Key]:
    """The cells measurable in every one of ``runs``."""
    return sorted(set.intersection(*(_keys(run, metric, task) for run in runs)))


def _mean(run: RunScores, keys: list[Key]) -> Floats:
    """(1 + resamples,) mean over cells; NaN without any."""
    if not keys:
        return np.full(len(next(iter(run.cells.values()))), np.nan)
    mean: Floats = np.mean([run.cells[key] for key in keys], axis=0)
    return mean


def _run_rows(groups: Groups, metrics: dict[str, Metric], design: Design) -> Iterator[dict[str, Any]]:
    for (arm, level), runs in groups.items():
        keys = {name: _shared(runs, metric) for name, metric in metrics.items()}
        yield from (_run_row((arm, level), run, keys, design) for run in runs)


def _run_row(place: tuple[str, str], run: RunScores, keys: dict[str, list[Key]], design: Design) -> dict[str, Any]:
    settings = run.settings
    before, after = run.totals["pretraining"], run.totals["finetuning"]
    seed, atlantis_seed = run.replicate
    values = {axis.key: value_of(settings, axis.key) for axis in (*design.by, *design.within)}
    return {
        "experiment": run.experiment.name,
        "commit": run.experiment.commit,
        "arm": place[0],
        "level": place[1],
        "arch": run.arch,
        "budget": run.budget,
        "seed": seed,
        "atlantis_seed": atlantis_seed,
        **values,
        "hidden_size": settings.sizes.hidden_size,
        "num_hidden_layers": settings.sizes.num_hidden_layers,
        "parameters": run.parameters,
        "epochs": training_epochs(settings, "base"),
        "steps": before["step"],
        "tokens": before["tokens"],
        "flops": before["flops"],
        "finetuning_steps": after["step"],
        "finetuning_tokens": after["tokens"],
        "finetuning_flops": after["flops"],
        **{name: float(_mean(run, chosen)[0]) for name, chosen in keys.items()},
        "cells_measurable": sum(
            bool(np.isfinite(values[0]))
            for (matrix, model, _), values in run.cells.items()
            if model != "base" and matrix == matrix_of(model)
        ),
        "cells": len(settings.finetunes) * len(settings.tasks),
        "missing_models": " ".join(run.missing),
    }


def _over_replicates(drawn: list[Floats]) -> tuple[Estimate, dict[str, Any]]:
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


def _mean_rows(groups: Groups, metrics: dict[str, Metric]) -> Iterator[dict[str, Any]]:
    for (arm, level), runs in groups.items():
        for name, metric in metrics.items():
            keys = _shared(runs, metric)
            yield {
                "arm": arm,
                "level": level,
                "metric": name,
                "cells": len(keys),
                **_over_replicates([_mean(run, keys) for run in runs])[1],
            }


def _cell_rows(groups: Groups) -> Iterator[dict[str, Any]]:
    for (arm, level), runs in groups.items():
        for key in dict.fromkeys(key for run in runs for key in run.cells):
            having = [run for run in runs if key in run.cells]
            yield {
                "arm": arm,
                "level": level,
                **_place(runs[0], key),
                "raw": float(np.mean([run.raw[key] for run in having])),
                **_over_replicates([run.cells[key] for run in having])[1],
            }


def _place(run: RunScores, key: Key) -> dict[str, Any]:
    matrix, model, task = key
    return {"matrix": matrix, "model": model, "task": task, "trained": run.trained(model, task)}


def _pairs(groups: Groups) -> Iterator[tuple[str, str, str, list[RunScores], list[RunScores]]]:
    """Every arm and two levels, in their order, with the runs of the replicates that both have."""
    for (arm, level), (other_arm, other) in combinations(groups, 2):
        if arm == other_arm:
            mine, theirs = ({run.replicate: run for run in groups[arm, name]} for name in (level, other))
            both = sorted(mine.keys() & theirs.keys())
            if both:
                yield arm, level, other, [mine[one] for one in both], [theirs[one] for one in both]


def _difference_rows(
    groups: Groups, metrics: dict[str, Metric], tasks: tuple[str | None, ...]
) -> Iterator[tuple[Estimate, dict[str, Any]]]:
    for arm, level, other, mine, theirs in _pairs(groups):
        for name, metric in metrics.items():
            for task in tasks:
                keys = _shared(mine + theirs, metric, task)
                drawn = [_mean(b, keys) - _mean(a, keys) for a, b in zip(mine, theirs, strict=True)]
                found, columns = _over_replicates(drawn)
                place = {"arm": arm, "level": level, "other": other, "metric": name, "task": task}
                yield found, {**place, "cells": len(keys), **columns, "p": found.p}


def _tested(rows: Iterator[tuple[Estimate, dict[str, Any]]], family: list[str], axis: Axis) -> pd.DataFrame:
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


def _cell_difference_rows(groups: Groups) -> Iterator[dict[str, Any]]:
    for arm, level, other, mine, theirs in _pairs(groups):
        for key in dict.fromkeys(key for run in mine + theirs for key in run.cells):
            both = [(a.cells, b.cells) for a, b in zip(mine, theirs, strict=True) if key in a.cells and key in b.cells]
            yield {
                "arm": arm,
                "level": level,
                "other": other,
                **_place(mine[0], key),
                **_over_replicates([b[key] - a[key] for a, b in both])[1],
            }


def _trend_rows(groups: Groups, metrics: dict[str, Metric], axis: Axis) -> Iterator[tuple[Estimate, dict[str, Any]]]:
    """Slope of each metric per doubling: fitted replicate by replicate over the levels that all replicates have."""
    for arm in dict.fromkeys(arm for arm, _ in groups):
        levels = [level for there, level in groups if there == arm and level in axis.sizes]
        sizes = [axis.sizes[level] for level in levels]
        runs = {level: {run.replicate: run for run in groups[arm, level]} for level in levels}
        replicates = sorted(set.intersection(*(set(of_level) for of_level in runs.values()))) if runs else []
        if len(set(sizes)) < 3 or not replicates:
            continue
        for name, metric in metrics.items():
            keys = _shared([runs[level][one] for level in levels for one in replicates], metric)
            values = {one: [float(_mean(runs[level][one], keys)[0]) for level in levels] for one in replicates}
            found = estimate([slope_per_doubling(sizes, values[one]) for one in replicates])
            place = {"arm": arm, "levels": " ".join(levels), "metric": name, "cells": len(keys), "n": found.n}
            fit = {"slope": found.mean, "sd": found.sd, "low": found.low, "high": found.high, "p": found.p}
            yield found, {**place, **fit}


def _thinned(place: tuple[str, str], run: RunScores, points: int = 60) -> pd.DataFrame:
    """At most about ``points`` rows of a curve, log-spaced in steps, those with a validation loss among them."""
    curve = run.curve.reset_index(drop=True)
    chosen = np.searchsorted(curve["step"], np.geomspace(1, curve["step"].iloc[-1], points))
    keep = sorted({*(int(i) for i in chosen if i < len(curve)), *np.flatnonzero(curve["validation_loss"].notna())})
    (arm, level), (seed, atlantis_seed) = place, run.replicate
    named: dict[str, Any] = {"arm": arm, "level": level, "arch": run.arch, "seed": seed, "atlantis_seed": atlantis_seed}
    numbers = ["step", "tokens", "flops", "loss", "validation_loss"]
    return curve.iloc[keep][numbers].assign(**named)[[*named, *numbers]]
