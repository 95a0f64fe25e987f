"""Normalised improvement, what was to be expected, and means over cells: by hand and by formula.

pytest tests/test_scores.py
"""

import math

import numpy as np
import pytest

from fake_scores import FINETUNES, cell, cells_of, exactly, study
from worldwidth.evaluation.scores import (
    DIFFERENCE,
    block_statistics,
    control_of,
    matrix_names,
    matrix_of,
    minus_control,
    normalized,
)


def one_score(value: float, base_atlantis: float, base_world: float, is_accuracy: bool) -> float:
    score = normalized(np.array([value]), np.array([base_atlantis]), np.array([base_world]), is_accuracy)
    return float(score[0])


# --- the formula


@pytest.mark.parametrize(
    ("value", "score"),
    [
        (100.0, 0.0),  # as the base model on Atlantis
        (10.0, 1.0),  # as the base model on ordinary cities
        (10 * math.sqrt(10), 0.5),
        (1.0, 2.0),
        (1000.0, -1.0),
        (50.0, math.log(2) / math.log(10)),
    ],
)
def test_errors_are_compared_by_their_logarithms(value: float, score: float) -> None:
    assert one_score(value, 100.0, 10.0, is_accuracy=False) == pytest.approx(score, abs=1e-12)


@pytest.mark.parametrize(
    ("value", "score"), [(0.3, 0.0), (0.8, 1.0), (0.55, 0.5), (1.0, 1.4), (0.05, -0.5), (0.0, -0.6)]
)
def test_accuracies_are_compared_by_their_differences(value: float, score: float) -> None:
    assert one_score(value, 0.3, 0.8, is_accuracy=True) == pytest.approx(score, abs=1e-12)


@pytest.mark.parametrize(
    ("value", "base_atlantis", "base_world", "is_accuracy"),
    [
        (50.0, 10.0, 10.0, False),  # ordinary cities are no easier
        (50.0, 10.0, 100.0, False),
        (10.0, 10.0, 10.0, False),  # 0 / 0
        (0.0, 100.0, 10.0, False),  # ln 0
        (50.0, 100.0, 0.0, False),
        (0.0, 0.0, 0.0, False),
        (0.0, 100.0, 0.0, False),
        (0.5, 0.5, 0.5, True),
        (0.7, 0.5, 0.5, True),
        (0.7, 0.5, 0.4, True),
        (0.0, 0.0, 0.0, True),
    ],
)
def test_not_measurable_is_nan_and_warns_nobody(
    value: float, base_atlantis: float, base_world: float, is_accuracy: bool
) -> None:
    assert math.isnan(one_score(value, base_atlantis, base_world, is_accuracy))


@pytest.mark.parametrize("is_accuracy", [False, True])
def test_the_formula_is_elementwise(is_accuracy: bool) -> None:
    rng = np.random.default_rng(0)
    value, atlantis, world = rng.random((3, 50)) + 0.1
    scores = normalized(value, atlantis, world, is_accuracy)
    each = [one_score(*row, is_accuracy) for row in zip(value, atlantis, world, strict=True)]
    assert np.isnan(scores).any()
    assert np.isfinite(scores).any()
    np.testing.assert_array_equal(scores, each)


@pytest.mark.parametrize("is_accuracy", [False, True])
def test_a_better_mean_always_has_the_higher_score(is_accuracy: bool) -> None:
    values = np.linspace(0.01, 2, 100)
    base_atlantis, base_world = (0.2, 0.9) if is_accuracy else (0.9, 0.2)
    scores = normalized(values, np.full(100, base_atlantis), np.full(100, base_world), is_accuracy)
    assert (np.diff(scores) > 0).all() if is_accuracy else (np.diff(scores) < 0).all()


# --- the cells


def test_every_value_of_every_cell_by_hand() -> None:
    cells, drawn = cells_of(study({"ftwb1-1": (10, 0.5), "ftwb1-2": (50, 0.75), "ftwb2-1": (5, 0.5)}))
    assert [(c.matrix, c.model, c.task, c.trained) for c in cells] == [
        ("ftwb1", "ftwb1-1", "far", True),
        ("ftwb1", "ftwb1-1", "way", False),
        ("ftwb1", "ftwb1-2", "far", False),
        ("ftwb1", "ftwb1-2", "way", True),
        ("ftwb2", "ftwb2-1", "far", True),
        ("ftwb2", "ftwb2-1", "way", True),
        (DIFFERENCE, "ftwb2-1", "far", True),
        (DIFFERENCE, "ftwb2-1", "way", True),
    ]
    assert set(drawn) == {(c.matrix, c.model, c.task) for c in cells}
    assert {len(values) for values in drawn.values()} == {101}
    log5, log2 = math.log10(5), math.log10(2)
    scores = [1, 0.5, log2, 1, 2 - log5, 0.5, 1 - log5, -0.5]
    expected = [None, None, None, None, 1, 1, 1, 1]
    raw = [10, 0.5, 50, 0.75, 5, 0.5, 5, 0.5]
    for found, score, to_be_expected, mean in zip(cells, scores, expected, raw, strict=True):
        far = found.task == "far"
        assert found.score == pytest.approx(score, abs=1e-12)
        assert found.expected == (None if to_be_expected is None else pytest.approx(to_be_expected))
        assert found.raw == pytest.approx(mean)
        assert (found.base_atlantis, found.base_world) == ((100, 10) if far else (0.25, 0.75))
        assert found.constant == (10 ** (5 / 3) if far else 0.375)
        assert found.constant_score == pytest.approx(1 / 3 if far else 1 / 4)
        assert found.measurable
        assert found.standard_error == pytest.approx(0, abs=1e-12)  # all lines alike
        assert isinstance(found.trained, bool)
        assert isinstance(found.measurable, bool)
        assert drawn[found.matrix, found.model, found.task][0] == found.score


def test_rows_follow_the_finetunes_and_columns_the_tasks() -> None:
    shuffled = {name: FINETUNES[name] for name in ("ftwb2-1", "ftwb1-2", "ftwb1-1")}
    cells, _ = cells_of(study({"ftwb1-1": (10, 0.5), "ftwb2-1": (5, 0.5), "ftwb1-2": (50, 0.75)}, shuffled))
    assert [c.model for c in cells if c.task == "way"] == ["ftwb2-1", "ftwb1-2", "ftwb1-1", "ftwb2-1"]
    assert [c.task for c in cells] == ["far", "way"] * 4
    assert [c.matrix for c in cells[-2:]] == [DIFFERENCE, DIFFERENCE]


@pytest.mark.parametrize("first", ["ftwb1-1", "ftwb1-2"])
def test_expected_is_the_specialist_with_the_lower_error_and_the_higher_accuracy(first: str) -> None:
    other = "ftwb1-2" if first == "ftwb1-1" else "ftwb1-1"
    cells, _ = cells_of(study({first: (20, 0.35), other: (40, 0.45), "ftwb2-1": (30, 0.40)}))
    far, way = (cell(cells, "ftwb2", "ftwb2-1", task) for task in ("far", "way"))
    assert far.expected == pytest.approx(math.log10(5))
    assert way.expected == pytest.approx(0.4)
    differences = [cell(cells, DIFFERENCE, "ftwb2-1", task) for task in ("far", "way")]
    assert differences[0].score == pytest.approx(math.log10(20 / 30))
    assert differences[1].score == pytest.approx(0.3 - 0.4)
    assert [d.expected for d in differences] == [far.expected, way.expected]


@pytest.mark.parametrize("perfect", ["ftwb1-1", "ftwb1-2"])
def test_expected_is_chosen_by_the_raw_mean_even_where_that_has_no_score(perfect: str) -> None:
    """A specialist without any error is the better one, though ln 0 leaves it without a score."""
    other = "ftwb1-2" if perfect == "ftwb1-1" else "ftwb1-1"
    cells, _ = cells_of(study({perfect: (0, 0.5), other: (20, 0.5), "ftwb2-1": (10, 0.5)}))
    assert cell(cells, "ftwb2", "ftwb2-1", "far").score == pytest.approx(1)
    assert cell(cells, "ftwb2", "ftwb2-1", "far").expected is None
    difference = cell(cells, DIFFERENCE, "ftwb2-1", "far")
    assert (difference.score, difference.standard_error, difference.measurable) == (None, None, False)
    assert cell(cells, DIFFERENCE, "ftwb2-1", "way").score == pytest.approx(0)


def test_two_equal_specialists_give_their_common_score() -> None:
    raw = {"ftwb1-1": (20.0, 0.5), "ftwb1-2": (20.0, 0.5), "ftwb2-1": (20.0, 0.5)}
    for finetunes in (FINETUNES, dict(reversed(FINETUNES.items()))):
        cells, _ = cells_of(study(raw, finetunes))
        for task, common in (("far", math.log10(5)), ("way", 0.5)):
            assert cell(cells, "ftwb2", "ftwb2-1", task).expected == pytest.approx(common)
            assert cell(cells, DIFFERENCE, "ftwb2-1", task).score == pytest.approx(0, abs=1e-12)


def test_expected_of_three_tasks_is_the_best_of_three_specialists() -> None:
    far, way, mid = (10.0, 0.5), (50.0, 0.75), (5.0, 0.3)
    finetunes = {**FINETUNES, "ftwb1-3": ("mid",), "ftwb3-1": ("way", "mid", "far")}
    made = study({"ftwb1-1": far, "ftwb1-2": way, "ftwb1-3": mid, "ftwb3-1": (20, 0.5)}, finetunes)
    cells, _ = cells_of(made)
    assert cell(cells, DIFFERENCE, "ftwb3-1", "far").expected == pytest.approx(2 - math.log10(5))
    assert cell(cells, DIFFERENCE, "ftwb3-1", "way").expected == pytest.approx(1)
    assert cell(cells, "ftwb3", "ftwb3-1", "far").trained


@pytest.mark.parametrize("lacking", ["evaluated", "planned"])
def test_without_a_specialist_there_is_a_score_and_no_difference(lacking: str) -> None:
    finetunes = FINETUNES if lacking == "evaluated" else {k: v for k, v in FINETUNES.items() if k != "ftwb1-2"}
    cells, drawn = cells_of(study({"ftwb1-1": (10, 0.5), "ftwb2-1": (5, 0.5)}, finetunes))
    assert [(c.matrix, c.model) for c in cells[::2]] == [("ftwb1", "ftwb1-1"), ("ftwb2", "ftwb2-1")]
    assert len(cells) == 4
    assert cell(cells, "ftwb2", "ftwb2-1", "far").expected is None
    assert cell(cells, "ftwb2", "ftwb2-1", "far").score == pytest.approx(2 - math.log10(5))
    assert all(matrix != DIFFERENCE for matrix, _, _ in drawn)


def test_a_model_without_scores_has_no_row() -> None:
    cells, _ = cells_of(study({"ftwb1-2": (50, 0.75)}))
    assert {c.model for c in cells} == {"ftwb1-2"}
    assert cells_of(study({})) == ([], {})


def test_a_column_that_is_not_measurable_has_no_scores_and_is_in_no_mean() -> None:
    made = study({"ftwb1-1": (10, 0.5), "ftwb1-2": (50, 0.75), "ftwb2-1": (5, 0.5)})
    made.scores["base"]["far.world"] = exactly(100)  # no easier than Atlantis
    cells, drawn = cells_of(made)
    far = [c for c in cells if c.task == "far"]
    assert len(far) == 4
    for c in far:
        assert (c.score, c.standard_error, c.expected, c.constant_score, c.measurable) == (None,) * 4 + (False,)
        assert c.constant == 10 ** (5 / 3)  # raw values stay
        assert c.base_world == 100
    assert all(c.measurable for c in cells if c.task == "way")
    rows = [c for c in cells if c.matrix == "ftwb1"]
    statistics = block_statistics(rows, drawn)
    assert statistics["cells"] == 2
    assert statistics["mean"] == pytest.approx((0.5 + 1.0) / 2)
    assert block_statistics([c for c in rows if c.task == "far"], drawn) == {
        "mean": None,
        "std": None,
        "standard_error": None,
        "cells": 0,
    }


def test_a_cell_measurable_in_few_resamples_only_has_no_standard_error() -> None:
    made = study({"ftwb1-1": (10, 0.5)}, {"ftwb1-1": ("far",)})
    made.scores["base"]["far.atlantis"] = np.array([1.0, 100.0, 1.0, 1.0])  # mean 25.75: a resample may lack the 100
    made.scores["base"]["far.world"] = exactly(20)
    cells, drawn = cells_of(made, resamples=1000)
    far = cell(cells, "ftwb1", "ftwb1-1", "far")
    assert far.measurable
    assert far.score is not None
    lost = np.isnan(drawn["ftwb1", "ftwb1-1", "far"][1:]).mean()
    assert lost == pytest.approx((3 / 4) ** 4, abs=0.06)
    assert far.standard_error is None


# --- statistics of a block


def test_block_statistics_are_the_mean_and_population_spread_over_cells() -> None:
    finetunes = {f"ftwb1-{i}": ("way",) for i in range(5)}
    cells, drawn = cells_of(study({name: (10, 0.25 + 0.1 * i) for i, name in enumerate(finetunes)}, finetunes))
    way = [c for c in cells if c.task == "way"]
    statistics = block_statistics(way, drawn)
    assert statistics["mean"] == pytest.approx(0.4)  # 0, 0.2, 0.4, 0.6, 0.8
    assert statistics["std"] == pytest.approx(math.sqrt(0.08))
    assert statistics["standard_error"] == pytest.approx(0, abs=1e-12)
    assert statistics["cells"] == 5


def test_a_mean_is_of_unclipped_scores() -> None:
    finetunes = {"ftwb1-1": ("way",), "ftwb1-2": ("far",)}
    cells, drawn = cells_of(study({"ftwb1-1": (10, 0.0), "ftwb1-2": (1e-3, 0.25)}, finetunes))
    scores = [c.score for c in cells]
    assert scores == pytest.approx([1, -0.5, 5, 0])
    assert block_statistics(cells, drawn)["mean"] == pytest.approx(5.5 / 4)


# --- the control


def test_what_a_task_adds_to_the_warm_up_lines_by_hand() -> None:
    finetunes = {"ftwb0-0": (), **FINETUNES}
    made = study({"ftwb0-0": (50, 0.35), "ftwb1-1": (10, 0.5), "ftwb1-2": (20, 0.75)}, finetunes)
    cells, drawn = cells_of(made)
    assert [(c.matrix, c.trained, c.expected) for c in cells[:2]] == [("ftwb0", False, None)] * 2
    assert control_of(finetunes) == "ftwb0-0"
    above = minus_control(drawn, "ftwb0-0")
    assert above["ftwb0", "ftwb0-0", "far"] == pytest.approx(0)
    assert above["ftwb1", "ftwb1-1", "way"] == pytest.approx((0.5 - 0.25) / 0.5 - (0.35 - 0.25) / 0.5)
    assert above["ftwb1", "ftwb1-2", "far"] == pytest.approx(math.log10(5) - math.log10(2))
    transfer = [c for c in cells if c.matrix == "ftwb1" and not c.trained]
    assert block_statistics(transfer, above)["mean"] == pytest.approx((0.3 + math.log10(2.5)) / 2)


def test_where_the_control_has_no_score_nothing_is_taken_from_it() -> None:
    finetunes = {"ftwb0-0": (), **FINETUNES}
    cells, drawn = cells_of(study({"ftwb0-0": (0, 0.35), "ftwb1-1": (10, 0.5), "ftwb1-2": (20, 0.75)}, finetunes))
    transfer = [c for c in cells if c.matrix == "ftwb1" and not c.trained]
    assert block_statistics(transfer, drawn)["cells"] == 2
    statistics = block_statistics(transfer, minus_control(drawn, "ftwb0-0"))
    assert statistics["mean"] == pytest.approx(0.3)
    assert statistics["cells"] == 1


def test_a_study_may_have_no_control() -> None:
    assert control_of(FINETUNES) is None


# --- names


def test_matrix_names() -> None:
    assert matrix_names(FINETUNES) == ["ftwb1", "ftwb2", DIFFERENCE]
    assert matrix_names({"ftwb1-1": ("far",), "ftwb1-2": ("way",)}) == ["ftwb1"]
    assert matrix_names({"ftwb2-9": ("far", "way"), "ftwb1-1": ("far",)}) == ["ftwb2", "ftwb1", DIFFERENCE]
    assert matrix_names({"ftwb3-1": ("far", "way", "mid")}) == ["ftwb3", DIFFERENCE]
    assert matrix_names({}) == []
    assert matrix_names({"ftwb0-0": (), "ftwb2-9": ("far", "way"), "ftwb1-1": ("far",)}) == [
        "ftwb2",
        "ftwb1",
        DIFFERENCE,
    ]
    assert matrix_names({"ftwb0-0": ()}) == ["ftwb0"]
    assert matrix_of("ftwb2-13") == "ftwb2"
