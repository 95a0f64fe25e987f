"""The comparison as tidy tables: per run, per level of what is compared, per difference, per task and per cell.

What is compared is an axis (axes.py); its values are levels, and within an arm nothing else differs but the replicate:
a seed and an Atlantis draw. The replicate is the unit of every interval. Two levels are compared replicate by
replicate, over the same test lines and over those cells only that are measurable in every run of both. What test lines
add to the uncertainty stands beside it (``line_se``), from a paired bootstrap in which all runs share every resample.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from worldwidth.comparison.axes import ARCH, Axis, Design, value_of
from worldwidth.comparison.cells import Groups, mean_over, over_replicates, shared_cells
from worldwidth.comparison.declared import Declared
from worldwidth.comparison.differences import (
    cell_differences,
    metric_differences,
    place_of,
    task_differences,
    tested,
)
from worldwidth.comparison.divergence import divergence_table, giver_table
from worldwidth.comparison.efficiency import efficiency_table
from worldwidth.comparison.metrics import Metric, metrics_of
from worldwidth.comparison.patterns import pattern_tables
from worldwidth.comparison.primary import primary_rows, trend_rows
from worldwidth.comparison.runs import Key, RunScores
from worldwidth.evaluation.scores import matrix_of
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
    declared: Declared | None
    """The analysis of params.yaml, where there is one."""
    primary: pd.DataFrame
    """What it comes to: one row per arm and estimator of the contrast, and per pair; empty without one."""
    runs: pd.DataFrame
    """One row a run: experiment, commit, arm, level, arch, budget, seeds, axes, sizes and compute, missing models, and
    every metric, over the cells that are measurable in all runs of the same arm and level: those of ``means``."""
    means: pd.DataFrame
    """One row per arm, level and metric: n, mean, sd, low, high, line_se over replicates."""
    cells: pd.DataFrame
    """The same per cell of every matrix, with the mean raw score."""
    differences: pd.DataFrame
    """One row per arm, two levels and metric: other minus level; p, Holm over the pairs, verdict; and whether the
    replicates' differences are suspiciously equal, by the spread of all pairs."""
    tasks: pd.DataFrame
    """The same per evaluated task; Holm over the tasks."""
    cell_differences: pd.DataFrame
    """The same per cell, no tests."""
    trends: pd.DataFrame
    """One row per arm and metric: slope per doubling of the axis's sizes; Holm over the exploratory metrics."""
    curves: pd.DataFrame
    """Pre-training curves of all runs, thinned."""
    divergence: pd.DataFrame
    """Gains of pairs with the divergent task and without it: see divergence.py."""
    givers: pd.DataFrame
    """What every task gives to the others and takes from them: see divergence.py."""
    patterns: pd.DataFrame
    """Correlations of the runs' patterns of transfer: see patterns.py."""
    pattern_tests: pd.DataFrame
    """Whether those are higher within a level than between levels."""
    efficiency: pd.DataFrame
    """Scores against their cost: see efficiency.py."""

    @property
    def axis(self) -> Axis:
        """What is compared."""
        return self.design.axis

    def levels(self, arm: str) -> list[str]:
        """The levels that have runs in an arm, in their order."""
        there = {row["level"] for row in records(self.runs, arm=arm)}
        return [level for level in self.axis.levels if level in there]

    def words(self, arm: str) -> str:
        """What an arm is, in words, after its name if it has one."""
        words = self.design.words_of(records(self.runs, arm=arm)[0])
        return f"{arm}: {words}" if arm in self.design.names.values() else words

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


def compare(
    runs: Sequence[RunScores],
    by: Sequence[str] = (ARCH,),
    others: Sequence[str] = (),
    plan: Declared | None = None,
    names: Mapping[str, str] = MappingProxyType({}),
) -> Comparison:
    """All tables from runs of the same study (see compatibility.py).

    Args:
        by: the axis that is compared, and perhaps a second, over which there are curves.
        others: further axes on which the runs may differ; they make arms.
        plan: the declared analysis.
        names: of arms, as :class:`Design` has them.

    Raises:
        WorldwidthError: there is no such axis.
    """
    everything = [run.settings for run in runs]
    design = Design.of(everything, by, others, names)
    arms, metrics = design.arms_of(everything), metrics_of(everything[0])
    places: Groups = {(arm, level): [] for arm in arms for level in design.axis.levels}
    for run in sorted(runs, key=lambda run: run.replicate):
        places[design.arm_of(run.settings), design.level_of(run.settings)].append(run)
    groups = {place: of_place for place, of_place in places.items() if of_place}
    axis, tasks = design.axis, everything[0].tasks
    table, means = pd.DataFrame(_run_rows(groups, metrics, design)), pd.DataFrame(_mean_rows(groups, metrics))
    patterns, pattern_tests = pattern_tables(groups)
    return Comparison(
        settings=everything[0],
        of_archs={settings.arch: settings for settings in reversed(everything)},
        design=design,
        arms=arms,
        metrics=metrics,
        declared=plan,
        primary=primary_rows(groups, metrics, axis, plan),
        runs=table,
        means=means,
        cells=pd.DataFrame(_cell_rows(groups)),
        differences=tested(metric_differences(groups, metrics), ["arm", "metric"], axis),
        tasks=tested(task_differences(groups, metrics, tasks), ["arm", "level", "other", "metric"], axis),
        cell_differences=pd.DataFrame(cell_differences(groups)),
        trends=trend_rows(groups, metrics, axis, plan),
        curves=pd.concat([_thinned(place, run) for place, runs in groups.items() for run in runs], ignore_index=True),
        divergence=divergence_table(groups),
        givers=giver_table(groups),
        patterns=patterns,
        pattern_tests=pattern_tests,
        efficiency=efficiency_table(table, means, metrics),
    )


def _run_rows(groups: Groups, metrics: dict[str, Metric], design: Design) -> Iterator[dict[str, Any]]:
    for (arm, level), runs in groups.items():
        keys = {name: shared_cells(runs, metric) for name, metric in metrics.items()}
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
        **{name: float(mean_over(run, chosen)[0]) for name, chosen in keys.items()},
        "cells_measurable": sum(
            bool(np.isfinite(values[0]))
            for (matrix, model, _), values in run.cells.items()
            if model != "base" and matrix == matrix_of(model)
        ),
        "cells": len(settings.finetunes) * len(settings.tasks),
        "missing_models": " ".join(run.missing),
    }


def _mean_rows(groups: Groups, metrics: dict[str, Metric]) -> Iterator[dict[str, Any]]:
    for (arm, level), runs in groups.items():
        for name, metric in metrics.items():
            keys = shared_cells(runs, metric)
            yield {
                "arm": arm,
                "level": level,
                "metric": name,
                "cells": len(keys),
                **over_replicates([mean_over(run, keys) for run in runs])[1],
            }


def _cell_rows(groups: Groups) -> Iterator[dict[str, Any]]:
    for (arm, level), runs in groups.items():
        for key in dict.fromkeys(key for run in runs for key in run.cells):
            having = [run for run in runs if key in run.cells]
            yield {
                "arm": arm,
                "level": level,
                **place_of(runs[0], key),
                "raw": float(np.mean([run.raw[key] for run in having])),
                **over_replicates([run.cells[key] for run in having])[1],
            }


def _thinned(place: tuple[str, str], run: RunScores, points: int = 60) -> pd.DataFrame:
    """At most about ``points`` rows of a curve, log-spaced in steps, those with a validation loss among them."""
    curve = run.curve.reset_index(drop=True)
    chosen = np.searchsorted(curve["step"], np.geomspace(1, curve["step"].iloc[-1], points))
    keep = sorted({*(int(i) for i in chosen if i < len(curve)), *np.flatnonzero(curve["validation_loss"].notna())})
    (arm, level), (seed, atlantis_seed) = place, run.replicate
    named: dict[str, Any] = {"arm": arm, "level": level, "arch": run.arch, "seed": seed, "atlantis_seed": atlantis_seed}
    numbers = ["step", "tokens", "flops", "loss", "validation_loss"]
    return curve.iloc[keep][numbers].assign(**named)[[*named, *numbers]]
