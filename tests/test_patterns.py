"""Correlations of transfer patterns by hand, and the permutation test on runs with known patterns.

pytest tests/test_patterns.py
"""

import math
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fake_runs import RESAMPLES, fake_runs
from worldwidth.comparison.divergence import single_tasks, transfer_cells
from worldwidth.comparison.patterns import (
    BETWEEN,
    CENTRED,
    MEASURED,
    PEARSON,
    SAME_REPLICATE,
    SPEARMAN,
    STANDARDISED,
    WITHIN,
    Patterns,
    correlations,
    prepared,
    reliability,
)
from worldwidth.comparison.permutation import arrangements, permutation_p
from worldwidth.comparison.tables import Comparison, compare
from worldwidth.settings.load import load
from worldwidth.settings.schema import Settings

ROOT = Path(__file__).parents[1]
COLUMNS = np.array([0, 0, 1, 1, 2, 2])
Floats = NDArray[np.float64]


# --- by hand


@pytest.mark.parametrize(
    ("scores", "kind", "expected"),
    [
        # sum of products of deviations 14.5, of squares 17.5 each; the ranks are the scores
        (MEASURED, PEARSON, 29 / 35),
        (MEASURED, SPEARMAN, 29 / 35),
        # within every column (1, 2) against (2, 1)
        (CENTRED, PEARSON, -1.0),
        (STANDARDISED, PEARSON, -1.0),
    ],
)
def test_correlations_by_hand(scores: str, kind: str, expected: float) -> None:
    runs = np.array([[1.0, 2, 3, 4, 5, 6], [2, 1, 4, 3, 6, 5]])
    assert correlations(prepared(runs, COLUMNS, scores, kind))[0, 1] == pytest.approx(expected)


def test_every_task_counts_the_same_when_standardised() -> None:
    """Two columns agree and one, with a hundred times their spread, does not: (2 + 2 - 2) / 6."""
    runs = np.array([[0.1, 0.3, 0.5, 0.2, 70.0, 10.0], [0.0, 0.2, 0.9, 0.1, 10.0, 70.0]])
    found = {scores: correlations(prepared(runs, COLUMNS, scores, PEARSON))[0, 1] for scores in (STANDARDISED, CENTRED)}
    assert found[STANDARDISED] == pytest.approx(1 / 3)
    assert found[CENTRED] == pytest.approx(-1, abs=1e-3)


def test_another_yardstick_leaves_a_standardised_pattern_as_it_is() -> None:
    """Zero and unit of a column are those of a run's base model."""
    runs = np.random.default_rng(3).standard_normal((2, 12))
    columns = np.repeat([0, 1, 2], 4)
    other = runs * np.array([2.0, 0.3, 5.0])[columns] + np.array([-1.0, 4.0, 0.5])[columns]
    np.testing.assert_allclose(
        prepared(other, columns, STANDARDISED, PEARSON), prepared(runs, columns, STANDARDISED, PEARSON), atol=1e-12
    )


def test_ranks_of_equal_scores_are_shared() -> None:
    values = prepared(np.array([[3.0, 1, 1, 5, 2, 2]]), COLUMNS, MEASURED, SPEARMAN)
    np.testing.assert_allclose(values[0] + 3.5, [5, 1.5, 1.5, 6, 3.5, 3.5])


def test_equal_scores_have_no_correlation() -> None:
    found = correlations(prepared(np.array([[1.0] * 6, [1, 2, 3, 4, 5, 6]]), COLUMNS, MEASURED, PEARSON))
    assert np.isnan(found[0, 1])


def test_reliability_is_the_share_that_is_not_noise() -> None:
    """A pattern of variance 1 seen with noise of variance 0.25: 0.8. Without a pattern: 0."""
    rng = np.random.default_rng(0)
    for spread, expected in ((1.0, 0.8), (0.0, 0.0)):
        seen = spread * rng.standard_normal(4000) + 0.5 * rng.standard_normal(4000)
        drawn = np.concatenate([seen[None], seen + 0.5 * rng.standard_normal((40, 4000))])
        centred = drawn - drawn.mean(axis=1, keepdims=True)
        assert reliability(centred) == pytest.approx(expected, abs=0.03)
    centred[5:, 0] = np.nan
    assert math.isnan(reliability(centred))


def test_the_ceiling_is_what_equal_patterns_reach() -> None:
    """Two runs of one true pattern, each with noise of its own, correlate by the root of the product."""
    rng = np.random.default_rng(1)
    truth, noises = rng.standard_normal(4000), (0.5, 1.0)
    seen = [truth + noise * rng.standard_normal(4000) for noise in noises]
    shares = [
        reliability(np.concatenate([one[None], one + noise * rng.standard_normal((40, 4000))]) - one.mean())
        for one, noise in zip(seen, noises, strict=True)
    ]
    assert correlations(np.array(seen) - np.mean(seen, axis=1, keepdims=True))[0, 1] == pytest.approx(
        math.sqrt(shares[0] * shares[1]), abs=0.03
    )


# --- the permutation test

LEVELS, REPLICATES, CELLS = 3, 3, 42


def layout(levels: int = LEVELS, replicates: int = REPLICATES) -> Patterns:
    """Runs of every level and replicate, without scores."""
    places = list(product(range(levels), range(replicates)))
    return Patterns(
        arm="epochs",
        matrix="ftwb1",
        levels=[str(level) for level, _ in places],
        replicates=[(replicate, 7) for _, replicate in places],
        columns=np.zeros(CELLS, dtype=np.int64),
        drawn=np.zeros((levels * replicates, 1, CELLS)),
    )


def pairs_of_the_test(patterns: Patterns) -> list[tuple[int, int]]:
    return [pair for pair in patterns.pairs if patterns.kind_of(pair) != SAME_REPLICATE]


def simulated(rng: np.random.Generator, of_level: float, of_replicate: float) -> Floats:
    """(runs, runs) correlations: a pattern that all share, one a level, one a replicate, and noise."""
    parts = rng.standard_normal(CELLS) + of_level * rng.standard_normal((LEVELS, 1, CELLS))
    runs = parts + of_replicate * rng.standard_normal((1, REPLICATES, CELLS))
    runs = (runs + 0.5 * rng.standard_normal((LEVELS, REPLICATES, CELLS))).reshape(-1, CELLS)
    return correlations(runs - runs.mean(axis=1, keepdims=True))


def p_values(of_level: float, of_replicate: float, times: int) -> Floats:
    patterns, rng = layout(), np.random.default_rng(5)
    exchanged, pairs = arrangements(patterns.levels, patterns.replicates, "patterns"), pairs_of_the_test(patterns)
    found = [permutation_p(simulated(rng, of_level, of_replicate), pairs, exchanged)[0] for _ in range(times)]
    return np.array(found)


@pytest.mark.parametrize("of_replicate", [0.0, 1.0])
def test_p_is_uniform_where_levels_have_no_pattern(of_replicate: float) -> None:
    """On the 36 values that it can have, also where runs of one replicate are much alike."""
    found = p_values(0.0, of_replicate, times=400)
    steps = np.arange(1, 37) / 36
    shares = (found[:, None] <= steps + 1e-9).mean(axis=0)
    assert np.abs(shares - steps).max() < 0.08  # the 1 % point of Kolmogorov and Smirnov for 400 is 0.081
    assert found.min() >= 1 / 36 - 1e-12


def test_p_is_small_where_every_level_has_a_pattern_of_its_own() -> None:
    found = p_values(0.7, 0.5, times=60)
    assert np.mean(found < 0.05) > 0.9


def test_all_arrangements_once() -> None:
    """(3!)^3 of three levels and replicates; the smallest p is that of the six that only rename the levels."""
    patterns = layout()
    exchanged = arrangements(patterns.levels, patterns.replicates, "patterns")
    assert exchanged.exact
    assert len({tuple(labels) for labels in exchanged.labels.tolist()}) == len(exchanged.labels) == 6**3
    assert exchanged.labels[0].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    for labels in exchanged.labels:
        for replicate in range(REPLICATES):
            assert sorted(labels[replicate::REPLICATES]) == [0, 1, 2]
    found = np.zeros((9, 9))
    for i, j in product(range(9), repeat=2):
        found[i, j] = 1.0 if i // 3 == j // 3 else 0.0
    np.testing.assert_allclose(permutation_p(found, pairs_of_the_test(patterns), exchanged), 1 / 36)


def test_many_arrangements_are_drawn_from_a_named_stream() -> None:
    patterns = layout(levels=4, replicates=4)
    exchanged, again = (
        arrangements(patterns.levels, patterns.replicates, "patterns"),
        arrangements(patterns.levels, patterns.replicates, "patterns"),
    )
    assert (len(exchanged.labels), exchanged.exact) == (10_000, False)
    np.testing.assert_array_equal(exchanged.labels, again.labels)
    assert exchanged.labels[0].tolist() == [0] * 4 + [1] * 4 + [2] * 4 + [3] * 4
    for replicate in range(4):
        assert (np.sort(exchanged.labels[:, replicate::4], axis=1) == np.arange(4)).all()
    orders = np.unique(exchanged.labels[1:, 0::4], axis=0, return_counts=True)[1]
    assert len(orders) == 24
    assert orders.max() / orders.min() < 1.4


def test_runs_that_lack_a_replicate_are_exchanged_where_they_are() -> None:
    patterns = layout(levels=2)
    kept = [0, 1, 2, 4, 5]  # the second level has no first replicate
    fewer = replace(
        patterns, levels=[patterns.levels[i] for i in kept], replicates=[patterns.replicates[i] for i in kept]
    )
    labels = arrangements(fewer.levels, fewer.replicates, "patterns").labels
    assert len(labels) == 4
    assert set(labels[:, 0]) == {0}


# --- in a comparison


@pytest.fixture(scope="module")
def settings() -> Settings:
    """The study's models of one task."""
    study = load(ROOT / "params.yaml")
    return replace(study, finetunes={name: tasks for name, tasks in study.finetunes.items() if len(tasks) == 1})


@pytest.fixture(scope="module")
def planted(settings: Settings) -> Comparison:
    """Three archs with a pattern of their own each, three replicates."""
    runs = fake_runs(settings, archs=("narrow", "wide", "wider"))
    for run in runs:
        own = np.random.default_rng([*run.arch.encode()])
        noise = np.random.default_rng([run.settings.seed, *run.arch.encode()])
        for matrix, models in single_tasks(settings).items():
            for _, key in transfer_cells(matrix, models, settings.tasks):
                value = own.standard_normal() + 0.3 * noise.standard_normal()
                lines = 0.2 * noise.standard_normal(RESAMPLES)
                run.cells[key] = value + np.concatenate([[0.0], lines])
    return compare(runs)


def test_planted_patterns_are_found(planted: Comparison) -> None:
    table = planted.pattern_tests
    assert list(dict.fromkeys(table["matrix"])) == list(single_tasks(planted.settings)) == ["ftwb1", "plug1"]
    for _, of_matrix in table.groupby("matrix"):
        assert list(of_matrix["headline"]) == [True] + [False] * 5
        assert (of_matrix["scores"].iloc[0], of_matrix["kind"].iloc[0]) == (STANDARDISED, PEARSON)
    for row in table.to_dict("records"):
        assert row["p"] == row["p_least"] == pytest.approx(1 / 36)
        assert row["verdict"] == "significant: more alike within a level"
        assert row["within"] > 0.8
        assert abs(row["between"]) < 0.3
        assert (row["within_pairs"], row["between_pairs"], row["same_replicate_pairs"]) == (9, 18, 9)
        assert row["difference"] == row["within"] - row["between"]
        assert (row["cells"], row["levels"], row["replicates"], row["runs"]) == (42, 3, 3, 9)
        assert 0.9 < row["ceiling"] < 1


@pytest.mark.parametrize("matrix", ["plug1", "ftwb1"])
def test_the_table_of_pairs_is_what_the_test_is_over(planted: Comparison, matrix: str) -> None:
    head = planted.pattern_tests.query(f"matrix == '{matrix}'").iloc[0]
    pairs = planted.patterns.query(f"matrix == '{matrix}' and scores == '{STANDARDISED}' and kind == '{PEARSON}'")
    assert len(pairs) == 9 + 36
    for kind, column in ((WITHIN, "within"), (BETWEEN, "between"), (SAME_REPLICATE, "same_replicate")):
        own = pairs[pairs["pair"] == kind]
        assert own["correlation"].mean() == pytest.approx(head[column])
        assert len(own) == head[f"{column}_pairs"]
    itself = pairs[pairs["pair"] == "itself"]
    assert (itself["level"] == itself["other"]).all()
    assert itself["correlation"].between(0.8, 1).all()


def test_what_cannot_be_tested_says_so(settings: Settings) -> None:
    def verdict(**runs: tuple[str, ...] | tuple[int, ...]) -> str:
        found = compare(fake_runs(settings, **runs)).pattern_tests.iloc[0]  # type: ignore[arg-type]
        assert not found["p"] < 0.05
        return str(found["verdict"])

    assert verdict(archs=("narrow", "wide"), seeds=(1,)) == "one replicate: cannot be tested"
    assert verdict(archs=("wide",)) == "one level: nothing to compare"
    assert verdict(archs=("narrow", "wide")) == "too few replicates to say (least p 0.250)"


def test_every_arm_has_a_test_of_its_own(settings: Settings) -> None:
    found = compare(fake_runs(settings, archs=("narrow", "base", "wide"), budgets=("epochs", "flops"))).pattern_tests
    assert list(dict.fromkeys(found["arm"])) == ["epochs", "flops"]
    assert len(found) == 2 * 6 * len(single_tasks(settings))


def test_cells_that_one_run_lacks_count_in_none(settings: Settings) -> None:
    runs = fake_runs(settings, archs=("narrow", "base", "wide"))
    runs[4].cells["ftwb1", "ftwb1-1", "angle"] = np.full(1 + RESAMPLES, np.nan)
    for key in [key for key in runs[0].cells if key[1] == "ftwb1-2"]:
        del runs[0].cells[key]
    found = compare(runs).pattern_tests
    assert {matrix: set(rows["cells"]) for matrix, rows in found.groupby("matrix")} == {
        "plug1": {42},
        "ftwb1": {42 - 6 - 1},
    }
