"""The comparison of widths as tidy tables: per run, per width, per difference of two widths, per task and per cell.

The seed is the unit of every interval. Two widths are compared seed by seed, over the same test lines and over
those cells only that are measurable in every run of both. What test lines add to the uncertainty stands
beside it (``line_se``), from a paired bootstrap in which all runs share every resample.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from worldwidth.comparison.runs import BASE, RETENTION, SKILL, Key, RunScores
from worldwidth.comparison.statistics import Estimate, estimate, holm, line_interval, slope_per_doubling, verdict
from worldwidth.evaluation.scores import DIFFERENCE, Floats, matrix_names
from worldwidth.settings.compute import training_epochs
from worldwidth.settings.schema import Settings

BUDGETS = {
    "epochs": "each width's own epochs",
    "tokens": "equal pre-training tokens",
    "flops": "equal pre-training FLOPs",
}


@dataclass(frozen=True)
class Metric:
    """A headline number of one run: the mean over cells of one matrix."""

    matrix: str
    trained: bool | None
    """Trained cells, the others, or (None) all."""
    label: str
    meaning: str


@dataclass(frozen=True)
class Comparison:
    """All tables. Numbers that do not exist (one seed, nothing measurable) are NaN."""

    settings: Settings
    """The params that all runs share; its arch, seed and budget mean nothing here."""
    archs: tuple[str, ...]
    """Narrow to wide."""
    budgets: tuple[str, ...]
    metrics: dict[str, Metric]
    runs: pd.DataFrame
    """One row a run: experiment, commit, arch, budget, seed, sizes and compute, missing models, and every metric, over
    the cells that are measurable in all runs of the same width and budget: those of ``widths``."""
    widths: pd.DataFrame
    """One row per budget, arch and metric: n, mean, sd, low, high, line_se over seeds."""
    cells: pd.DataFrame
    """The same per cell of every matrix, with the mean raw score."""
    differences: pd.DataFrame
    """One row per budget, two widths and metric: other minus arch; p, Holm over the pairs, verdict."""
    tasks: pd.DataFrame
    """The same per evaluated task; Holm over the tasks."""
    cell_differences: pd.DataFrame
    """The same per cell, no tests."""
    trends: pd.DataFrame
    """One row per budget and metric: slope per doubling of hidden_size; Holm over the metrics."""
    curves: pd.DataFrame
    """Pre-training curves of all runs, thinned."""


def records(table: pd.DataFrame, **where: object) -> list[dict[str, Any]]:
    """The rows whose columns have the values ``where``; none of an empty table, which has no columns."""
    for column, value in where.items():
        if column not in table:
            return []
        table = table[table[column] == value]
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def archs_of(comparison: Comparison, budget: str) -> list[str]:
    """The widths that have runs under a budget, narrow to wide."""
    there = {row["arch"] for row in records(comparison.runs, budget=budget)}
    return [arch for arch in comparison.archs if arch in there]


def metrics_of(settings: Settings) -> dict[str, Metric]:
    """The headline metrics that the study's fine-tunes allow, in the order in which they are shown."""
    found: dict[str, Metric] = {}
    for name in matrix_names(settings.finetunes):
        if name == DIFFERENCE:
            what = "score minus the better single-task specialist's"
            found["difference_trained"] = Metric(name, True, "pairs - expected, trained", what)
            found["difference_transfer"] = Metric(name, False, "pairs - expected, transfer", what)
        else:
            what = "normalised improvement on Atlantis: 0 as the base model there, 1 as it is on ordinary cities"
            found[f"{name}_trained"] = Metric(name, True, f"{name.upper()} trained", what)
            found[f"{name}_transfer"] = Metric(name, False, f"{name.upper()} transfer", what)
    kept = "fine-tuned models on ordinary cities: 1 as before fine-tuning, 0 as the base model on Atlantis"
    own = "1 is no error, 0 the best constant answer: a scale that knows no base model"
    return {
        **found,
        "retention_trained": Metric(RETENTION, True, "retention, trained tasks", kept),
        "retention_other": Metric(RETENTION, False, "retention, other tasks", kept),
        "skill_trained": Metric(SKILL, True, "Atlantis skill, trained", own),
        "skill_transfer": Metric(SKILL, False, "Atlantis skill, transfer", own),
        "base_skill": Metric(BASE, None, "base model's skill", f"ordinary cities; {own}"),
    }


def compare(runs: list[RunScores]) -> Comparison:
    """All tables from runs of the same study (see compatibility.py)."""
    settings = runs[0].experiment.settings
    sizes = {name: arch.hidden_size for name, arch in settings.selected.archs.items()}
    archs = tuple(sorted({run.arch for run in runs}, key=lambda name: (sizes[name], name)))
    budgets = tuple(b for b in BUDGETS if any(run.budget == b for run in runs))
    metrics = metrics_of(settings)
    groups = {
        (budget, arch): sorted((r for r in runs if (r.budget, r.arch) == (budget, arch)), key=lambda r: r.seed)
        for budget in budgets
        for arch in archs
    }
    groups = {place: of_place for place, of_place in groups.items() if of_place}
    headlines = _tested(_difference_rows(groups, metrics, (None,)), ["budget", "metric"])
    return Comparison(
        settings=settings,
        archs=archs,
        budgets=budgets,
        metrics=metrics,
        runs=pd.DataFrame(_run_rows(groups, metrics)),
        widths=pd.DataFrame(_width_rows(groups, metrics)),
        cells=pd.DataFrame(_cell_rows(groups)),
        differences=headlines.drop(columns="task", errors="ignore"),
        tasks=_tested(_difference_rows(groups, metrics, settings.tasks), ["budget", "arch", "other", "metric"]),
        cell_differences=pd.DataFrame(_cell_difference_rows(groups)),
        trends=_trends(groups, metrics, sizes),
        curves=pd.concat([_thinned(run) for of_place in groups.values() for run in of_place], ignore_index=True),
    )


Groups = dict[tuple[str, str], list[RunScores]]


def _keys(run: RunScores, metric: Metric, task: str | None = None) -> set[Key]:
    """The measurable cells of one run that a metric is over."""
    return {
        key
        for key, values in run.cells.items()
        if key[0] == metric.matrix
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


def _run_rows(groups: Groups, metrics: dict[str, Metric]) -> Iterator[dict[str, Any]]:
    for runs in groups.values():
        keys = {name: _shared(runs, metric) for name, metric in metrics.items()}
        yield from (_run_row(run, keys) for run in runs)


def _run_row(run: RunScores, keys: dict[str, list[Key]]) -> dict[str, Any]:
    settings = run.experiment.settings
    before, after = run.totals["pretraining"], run.totals["finetuning"]
    return {
        "experiment": run.experiment.name,
        "commit": run.experiment.commit,
        "budget": run.budget,
        "arch": run.arch,
        "seed": run.seed,
        "hidden_size": settings.selected_arch.hidden_size,
        "parameters": run.parameters,
        "epochs": training_epochs(settings, "base"),
        "steps": before["step"],
        "tokens": before["tokens"],
        "flops": before["flops"],
        "finetuning_steps": after["step"],
        "finetuning_tokens": after["tokens"],
        "finetuning_flops": after["flops"],
        **{name: float(_mean(run, chosen)[0]) for name, chosen in keys.items()},
        "cells_measurable": sum(bool(np.isfinite(v[0])) for key, v in run.cells.items() if key[0].startswith("ftwb")),
        "cells": len(settings.finetunes) * len(settings.tasks),
        "missing_models": " ".join(run.missing),
    }


def _over_seeds(drawn: list[Floats]) -> tuple[Estimate, dict[str, Any]]:
    """The estimate from one (1 + resamples,) array a seed, and its columns."""
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


def _width_rows(groups: Groups, metrics: dict[str, Metric]) -> Iterator[dict[str, Any]]:
    for (budget, arch), runs in groups.items():
        for name, metric in metrics.items():
            keys = _shared(runs, metric)
            yield {
                "budget": budget,
                "arch": arch,
                "metric": name,
                "cells": len(keys),
                **_over_seeds([_mean(run, keys) for run in runs])[1],
            }


def _cell_rows(groups: Groups) -> Iterator[dict[str, Any]]:
    for (budget, arch), runs in groups.items():
        for key in dict.fromkeys(key for run in runs for key in run.cells):
            having = [run for run in runs if key in run.cells]
            yield {
                "budget": budget,
                "arch": arch,
                **_place(runs[0], key),
                "raw": float(np.mean([run.raw[key] for run in having])),
                **_over_seeds([run.cells[key] for run in having])[1],
            }


def _place(run: RunScores, key: Key) -> dict[str, Any]:
    matrix, model, task = key
    return {"matrix": matrix, "model": model, "task": task, "trained": run.trained(model, task)}


def _pairs(groups: Groups) -> Iterator[tuple[str, str, str, list[RunScores], list[RunScores]]]:
    """Every budget and two widths, the narrower first, with the runs of the seeds that both have."""
    for (budget, arch), (other_budget, other) in combinations(groups, 2):
        if budget == other_budget:
            mine, theirs = ({run.seed: run for run in groups[budget, name]} for name in (arch, other))
            seeds = sorted(mine.keys() & theirs.keys())
            if seeds:
                yield budget, arch, other, [mine[seed] for seed in seeds], [theirs[seed] for seed in seeds]


def _difference_rows(
    groups: Groups, metrics: dict[str, Metric], tasks: tuple[str | None, ...]
) -> Iterator[tuple[Estimate, dict[str, Any]]]:
    for budget, arch, other, mine, theirs in _pairs(groups):
        for name, metric in metrics.items():
            for task in tasks:
                keys = _shared(mine + theirs, metric, task)
                drawn = [_mean(b, keys) - _mean(a, keys) for a, b in zip(mine, theirs, strict=True)]
                found, columns = _over_seeds(drawn)
                place = {"budget": budget, "arch": arch, "other": other, "metric": name, "task": task}
                yield found, {**place, "cells": len(keys), **columns, "p": found.p}


def _tested(rows: Iterator[tuple[Estimate, dict[str, Any]]], family: list[str]) -> pd.DataFrame:
    """The rows as a table, p adjusted by Holm within each ``family``, and the verdict."""
    found = list(rows)
    families: dict[tuple[Any, ...], list[int]] = {}
    for i, (_, row) in enumerate(found):
        families.setdefault(tuple(row[column] for column in family), []).append(i)
    for members in families.values():
        adjusted = holm([found[i][1]["p"] for i in members])
        for i, p in zip(members, adjusted, strict=True):
            result, row = found[i]
            row["p_holm"] = p
            row["verdict"] = verdict(result, p, row.get("other", "wider"))
    return pd.DataFrame([row for _, row in found])


def _cell_difference_rows(groups: Groups) -> Iterator[dict[str, Any]]:
    for budget, arch, other, mine, theirs in _pairs(groups):
        for key in dict.fromkeys(key for run in mine + theirs for key in run.cells):
            both = [(a.cells, b.cells) for a, b in zip(mine, theirs, strict=True) if key in a.cells and key in b.cells]
            yield {
                "budget": budget,
                "arch": arch,
                "other": other,
                **_place(mine[0], key),
                **_over_seeds([b[key] - a[key] for a, b in both])[1],
            }


def _trends(groups: Groups, metrics: dict[str, Metric], sizes: dict[str, int]) -> pd.DataFrame:
    """Slope of each metric per doubling of hidden_size: fitted seed by seed over the widths that all seeds have."""

    def rows() -> Iterator[tuple[Estimate, dict[str, Any]]]:
        for budget in dict.fromkeys(budget for budget, _ in groups):
            archs = [arch for b, arch in groups if b == budget]
            by_seed = {arch: {run.seed: run for run in groups[budget, arch]} for arch in archs}
            seeds = sorted(set.intersection(*(set(of_arch) for of_arch in by_seed.values())))
            if len(archs) < 3 or not seeds:
                continue
            for name, metric in metrics.items():
                keys = _shared([by_seed[arch][seed] for arch in archs for seed in seeds], metric)
                slopes = [
                    slope_per_doubling(
                        [sizes[arch] for arch in archs], [float(_mean(by_seed[arch][seed], keys)[0]) for arch in archs]
                    )
                    for seed in seeds
                ]
                found = estimate(slopes)
                yield (
                    found,
                    {
                        "budget": budget,
                        "archs": " ".join(archs),
                        "metric": name,
                        "cells": len(keys),
                        "n": found.n,
                        "slope": found.mean,
                        "sd": found.sd,
                        "low": found.low,
                        "high": found.high,
                        "p": found.p,
                    },
                )

    return _tested(rows(), ["budget"])


def _thinned(run: RunScores, points: int = 60) -> pd.DataFrame:
    """At most about ``points`` rows of a curve, log-spaced in steps, those with a validation loss among them."""
    curve = run.curve.reset_index(drop=True)
    chosen = np.searchsorted(curve["step"], np.geomspace(1, curve["step"].iloc[-1], points))
    keep = sorted({*(int(i) for i in chosen if i < len(curve)), *np.flatnonzero(curve["validation_loss"].notna())})
    return curve.iloc[keep].assign(budget=run.budget, arch=run.arch, seed=run.seed)[
        ["budget", "arch", "seed", "step", "tokens", "flops", "loss", "validation_loss"]
    ]
