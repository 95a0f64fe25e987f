"""Does the pattern of transfer depend on what is compared? Correlations between the matrices of single-task models.

A run's pattern is its scores in tasks that a model was not trained in, standardised by evaluated task: each column of
the matrix minus its mean, over its standard deviation. What is left is from which tasks each task takes more or less.
Some tasks are hard for every model, so that matrices as measured correlate whatever is learned from what; and zero and
unit of a column are those of the run's own base model, so that without standardising two patterns would differ with
their base models. The control goes with the column's mean. Pearson's correlation of these is the headline, the mean
over tasks of the correlation within a column; what else can be chosen stands beside it.

Runs of one replicate share Atlantis and test lines, so that they are alike for that reason alone. The test therefore
takes pairs of different replicates only: mean correlation within a level minus that between levels, against all
exchanges of the levels' names within replicates (permutation.py). It asks for one direction: alike within a level.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from worldwidth.comparison.cells import Groups, arms_in, measurable_in_all
from worldwidth.comparison.divergence import single_tasks, transfer_cells
from worldwidth.comparison.permutation import Arrangements, Ints, arrangements, permutation_p
from worldwidth.comparison.runs import Key, RunScores
from worldwidth.comparison.statistics import ALPHA
from worldwidth.core.text import is_number, number, p_value, plural
from worldwidth.evaluation.scores import Floats

STANDARDISED, CENTRED, MEASURED = "standardised by task", "task means removed", "as measured"
PEARSON, SPEARMAN = "Pearson", "Spearman"
KINDS = tuple(itertools.product((STANDARDISED, CENTRED, MEASURED), (PEARSON, SPEARMAN)))
"""(scores, correlation); the first is the headline."""
DRAWN = (KINDS[0], (MEASURED, PEARSON))
"""Those of which every pair of runs is kept, for the figure: pairs grow with the square of the runs."""
WITHIN, BETWEEN, SAME_REPLICATE = "within", "between", "same replicate"


@dataclass(frozen=True)
class Patterns:
    """The runs of one arm with their scores in the same cells of one matrix."""

    arm: str
    matrix: str
    levels: list[str]
    """Of each run."""
    replicates: list[tuple[int, int]]
    """Of each run."""
    columns: Ints
    """(cells,) which evaluated task a cell is of."""
    drawn: Floats
    """(runs, 1 + resamples, cells)."""

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Every two runs."""
        return list(itertools.combinations(range(len(self.levels)), 2))

    def kind_of(self, pair: tuple[int, int]) -> str:
        """Whether two runs share level or replicate."""
        one, other = pair
        if self.replicates[one] == self.replicates[other]:
            return SAME_REPLICATE
        return WITHIN if self.levels[one] == self.levels[other] else BETWEEN


def patterns_of(groups: Groups) -> list[Patterns]:
    """Those of every arm and matrix of single-task models that has two runs with three cells in common."""
    found = []
    for arm in arms_in(groups):
        runs = [(level, run) for (there, level), own in groups.items() if there == arm for run in own]
        settings = runs[0][1].settings
        for matrix, models in single_tasks(settings).items():
            cells = [key for _, key in transfer_cells(matrix, models, settings.tasks)]
            keys = _with_company(measurable_in_all([run for _, run in runs], cells))
            if len(runs) > 1 and len(keys) > 2:
                found.append(_patterns(arm, matrix, runs, keys))
    return found


def _with_company(keys: list[Key]) -> list[Key]:
    """Those cells that are not the only one of their column: it has no mean to be removed."""
    tasks = [task for _, _, task in keys]
    return [key for key in keys if tasks.count(key[2]) > 1]


def _patterns(arm: str, matrix: str, runs: list[tuple[str, RunScores]], keys: list[Key]) -> Patterns:
    tasks = list(dict.fromkeys(task for _, _, task in keys))
    return Patterns(
        arm=arm,
        matrix=matrix,
        levels=[level for level, _ in runs],
        replicates=[run.replicate for _, run in runs],
        columns=np.array([tasks.index(task) for _, _, task in keys]),
        drawn=np.array([np.stack([run.cells[key] for key in keys], axis=1) for _, run in runs]),
    )


def pattern_tables(groups: Groups) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The correlation of every two runs, and the tests.

    Returns:
        One row per arm, matrix, pair of runs and kind of ``DRAWN``: pair (within, between, same replicate), cells,
        correlation, and the ceiling that test lines set. One row per arm, matrix and any kind: mean correlations, their
        difference, p.
    """
    pairs: list[dict[str, Any]] = []
    tests: list[dict[str, Any]] = []
    for patterns in patterns_of(groups):
        name = f"patterns {patterns.arm} {patterns.matrix}"
        exchanged = arrangements(patterns.levels, patterns.replicates, name)
        for scores, kind in KINDS:
            values = prepared(patterns.drawn, patterns.columns, scores, kind)
            found = correlations(values[:, 0])
            reliable = np.array([reliability(of_run) for of_run in values])
            ceilings = np.sqrt(np.outer(reliable, reliable))
            np.fill_diagonal(found, reliable)
            if (scores, kind) in DRAWN:
                pairs += _pair_rows(patterns, {"scores": scores, "kind": kind}, found, ceilings)
            tests.append(_test_row(patterns, (scores, kind), found, ceilings, exchanged))
    return pd.DataFrame(pairs), pd.DataFrame(tests)


def prepared(drawn: Floats, columns: Ints, scores: str, kind: str) -> Floats:
    """The scores that are correlated: (..., cells), their mean 0.

    Args:
        drawn: (..., cells).
        columns: (cells,) which column a cell is of.
        scores: what is done with every column: ``STANDARDISED``, ``CENTRED`` or ``MEASURED`` (nothing).
        kind: ``PEARSON``, or ``SPEARMAN`` for their ranks.
    """
    values = drawn.copy()
    for column in np.unique(columns) if scores != MEASURED else ():
        own = values[..., columns == column]
        own = own - own.mean(axis=-1, keepdims=True)
        spread = own.std(axis=-1, keepdims=True)
        values[..., columns == column] = own / np.where(spread > 1e-9, spread, 1) if scores == STANDARDISED else own
    if kind == SPEARMAN:
        values = rankdata(np.round(values, 12), axis=-1, nan_policy="propagate")
    centred: Floats = values - values.mean(axis=-1, keepdims=True)
    return centred


def correlations(centred: Floats) -> Floats:
    """(runs, runs) of centred scores (runs, cells); NaN where a run's are all equal."""
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):
        unit = centred / np.where(lengths > 1e-9, lengths, np.nan)
    found: Floats = np.clip(unit @ unit.T, -1, 1)
    return found


def reliability(centred: Floats) -> float:
    """The share of a pattern's variance that is not noise of test lines: 1 - noise / observed, from the bootstrap.

    Two runs with one true pattern and test lines of their own correlate by the root of the product of theirs
    (Spearman 1904, The proof and measurement of association between two things).

    Args:
        centred: (1 + resamples, cells): as measured, then over resampled test lines.

    Returns:
        NaN where a tenth of the resamples is not measurable.
    """
    resampled = centred[1:][np.isfinite(centred[1:]).all(axis=1)]
    observed = float(np.sum(centred[0] ** 2))
    if len(resampled) < 0.9 * (len(centred) - 1) or not len(resampled) or observed <= 0:
        return math.nan
    noise = float(np.mean(np.sum((resampled - centred[0]) ** 2, axis=1)))
    return max(0.0, 1 - noise / observed)


def _pair_rows(patterns: Patterns, kind: dict[str, str], found: Floats, ceilings: Floats) -> Iterator[dict[str, Any]]:
    """A row for every two runs, and for every run with itself: there the correlation is its reliability."""
    runs = [
        {"level": level, "seed": seed, "atlantis_seed": draw}
        for level, (seed, draw) in zip(patterns.levels, patterns.replicates, strict=True)
    ]
    for one, other in [*((i, i) for i in range(len(runs))), *patterns.pairs]:
        yield {
            "arm": patterns.arm,
            "matrix": patterns.matrix,
            **kind,
            **runs[one],
            **{("other" if key == "level" else f"other_{key}"): value for key, value in runs[other].items()},
            "pair": "itself" if one == other else patterns.kind_of((one, other)),
            "cells": len(patterns.columns),
            "correlation": float(found[one, other]),
            "ceiling": float(ceilings[one, other]),
        }


def _test_row(
    patterns: Patterns, kind: tuple[str, str], found: Floats, ceilings: Floats, exchanged: Arrangements
) -> dict[str, Any]:
    pairs = patterns.pairs
    kinds = np.array([patterns.kind_of(pair) for pair in pairs])
    values = np.array([found[pair] for pair in pairs])
    means = {name: _mean(values[kinds == name]) for name in (WITHIN, BETWEEN, SAME_REPLICATE)}
    tested = [pair for pair, of in zip(pairs, kinds, strict=True) if of != SAME_REPLICATE]
    p, least = permutation_p(found, tested, exchanged)
    return {
        "arm": patterns.arm,
        "matrix": patterns.matrix,
        "scores": kind[0],
        "kind": kind[1],
        "headline": kind == KINDS[0],
        "cells": len(patterns.columns),
        "levels": len(set(patterns.levels)),
        "replicates": len(set(patterns.replicates)),
        "runs": len(patterns.levels),
        **{key.replace(" ", "_"): value for name, mean in means.items() for key, value in (
            (name, mean), (f"{name}_pairs", int(np.sum(kinds == name))))},
        "difference": means[WITHIN] - means[BETWEEN],
        "ceiling": _mean(np.array([ceilings[pair] for pair in tested])),
        "arrangements": len(exchanged.labels),
        "exact": exchanged.exact,
        "p": p,
        "p_least": least,
        "verdict": _verdict(patterns, p, least),
    }  # fmt: skip


def _mean(values: Floats) -> float:
    """NaN without any."""
    return float(values.mean()) if len(values) else math.nan


def _verdict(patterns: Patterns, p: float, least: float) -> str:
    if len(set(patterns.levels)) < 2:
        return "one level: nothing to compare"
    if len(set(patterns.replicates)) < 2:
        return "one replicate: cannot be tested"
    if math.isnan(p):
        return "cannot be tested: no two runs of one level, or scores that are all equal"
    if p < ALPHA:
        return "significant: more alike within a level"
    return "not significant" if least < ALPHA else f"too few replicates to say (least p {p_value(least)})"


def in_words(test: dict[str, Any], noun: str) -> str:
    """What a test says, with the numbers that it is about.

    Args:
        test: a row of the table of tests.
        noun: what a level is called.
    """
    means = [
        f"{number(test[kind], 2)} {which} ({plural(test[f'{kind}_pairs'], 'pair')})"
        for kind, which in ((WITHIN, f"within one {noun}"), (BETWEEN, "between two"))
        if is_number(test[kind])
    ]
    if not is_number(test["p"]):
        return f"{test['verdict'][:1].upper()}{test['verdict'][1:]}."
    how = f"all {test['arrangements']:,}" if test["exact"] else f"{test['arrangements']:,} random"
    most = number(test["ceiling"], 2)
    return (
        f"Mean correlation of different seeds: {' and '.join(means)}; test lines allow about {most}. Permutation test "
        f"over {how} exchanges within seeds: p = {p_value(test['p'])}, {test['verdict']}."
    )
