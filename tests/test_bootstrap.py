"""Standard errors of scores, from resampled lines: by formula and by simulation.

pytest tests/test_bootstrap.py
"""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from fake_scores import FINETUNES, Floats, cell, cells_of, study
from worldwidth.evaluation.scores import DIFFERENCE, Cell, Study, block_statistics, matrix_of, resampled_columns


def log_error(lines: Floats) -> Floats:
    """Influence of every line on the logarithm of the mean."""
    return np.asarray(lines / lines.mean() - 1)


def identity_error(lines: Floats) -> Floats:
    return np.asarray(lines - lines.mean())


def delta_method(value: Floats, atlantis: Floats, world: Floats, is_accuracy: bool) -> float:
    """Standard error of the score by linearisation: value and atlantis are paired, world is independent."""
    influence: Callable[[Floats], Floats] = identity_error if is_accuracy else log_error
    top, bottom = (np.mean, np.mean) if is_accuracy else (lambda x: np.log(np.mean(x)),) * 2
    span = bottom(world) - bottom(atlantis)
    score = (top(value) - bottom(atlantis)) / span
    paired = influence(value) / span + (score - 1) * influence(atlantis) / span
    alone = -score * influence(world) / span
    return math.sqrt(paired.var() / len(paired) + alone.var() / len(alone))


@pytest.mark.parametrize("is_accuracy", [False, True])
def test_standard_errors_equal_the_delta_method_on_many_lines(is_accuracy: bool) -> None:
    rng, n, tasks = np.random.default_rng(1), 1500, [f"t{i}" for i in range(3)]
    base: dict[str, Floats] = {}
    tuned: dict[str, Floats] = {}
    for task in tasks:
        hard, easy = rng.random(n), rng.random(n + 500)  # how hard a line is: what the models have in common
        if is_accuracy:
            base[f"{task}.atlantis"] = (hard < 0.4).astype(float)
            base[f"{task}.world"] = (easy < 0.9).astype(float)
            tuned[f"{task}.atlantis"] = (0.7 * hard + 0.3 * rng.random(n) < 0.6).astype(float)
        else:
            base[f"{task}.atlantis"] = 100 * hard
            base[f"{task}.world"] = 20 * easy
            tuned[f"{task}.atlantis"] = 40 * hard + 10 * rng.random(n)
    made = Study(
        tasks=tuple(tasks),
        finetunes={"ftwb1-1": ("t0",)},
        scores={"base": base, "ftwb1-1": tuned},
        constants=dict.fromkeys(tasks, 0.5),
        is_accuracy=dict.fromkeys(tasks, is_accuracy),
    )
    cells, _ = cells_of(made, resamples=1500)
    for task, found in zip(tasks, cells, strict=True):
        by_formula = delta_method(
            tuned[f"{task}.atlantis"], base[f"{task}.atlantis"], base[f"{task}.world"], is_accuracy
        )
        assert found.standard_error == pytest.approx(by_formula, rel=0.05)


STUDIES, LINES = 400, 250


@pytest.fixture(scope="module")
def simulated() -> tuple[list[Cell], dict[tuple[str, str], float]]:
    """400 studies of 250 lines from known normal scores, each as a task of one big study; and the true scores."""
    rng, tasks = np.random.default_rng(7), [f"study{i}" for i in range(STUDIES)]
    means = {"base": 60.0, "ftwb1-1": 25.0, "ftwb1-2": 45.0, "ftwb2-1": 18.0}
    finetunes = {"ftwb1-1": ("study0",), "ftwb1-2": ("study1",), "ftwb2-1": ("study0", "study1")}
    scores: dict[str, dict[str, Floats]] = {model: {} for model in means}
    for task in tasks:
        common = rng.normal(0, 9, LINES)
        for model, mean in means.items():
            scores[model][f"{task}.atlantis"] = mean + common + rng.normal(0, 9, LINES)
        scores["base"][f"{task}.world"] = rng.normal(12.0, 3, LINES)
    made = Study(
        tasks=tuple(tasks),
        finetunes=finetunes,
        scores=scores,
        constants=dict.fromkeys(tasks, 30.0),
        is_accuracy=dict.fromkeys(tasks, False),
    )
    cells, _ = cells_of(made, resamples=120)
    true = {m: math.log(60 / means[m]) / math.log(60 / 12) for m in finetunes}
    truth = {(matrix_of(model), model): score for model, score in true.items()}
    truth[DIFFERENCE, "ftwb2-1"] = true["ftwb2-1"] - true["ftwb1-1"]
    return cells, truth


@pytest.mark.parametrize(
    ("matrix", "model"), [("ftwb1", "ftwb1-1"), ("ftwb1", "ftwb1-2"), ("ftwb2", "ftwb2-1"), (DIFFERENCE, "ftwb2-1")]
)
def test_the_truth_lies_within_two_standard_errors_as_often_as_it_should(
    simulated: tuple[list[Cell], dict[tuple[str, str], float]], matrix: str, model: str
) -> None:
    cells, truth = simulated
    chosen = [c for c in cells if (c.matrix, c.model) == (matrix, model)]
    assert len(chosen) == STUDIES
    score = np.array([c.score for c in chosen])
    error = np.array([c.standard_error for c in chosen])
    covered = (np.abs(score - truth[matrix, model]) <= 1.96 * error).mean()
    assert 0.92 <= covered <= 0.98
    assert error.mean() == pytest.approx(score.std(), rel=0.12)


def test_lines_are_resampled_in_pairs() -> None:
    """A model equal to the base model on Atlantis has no doubt about its score: 0 in every resample."""
    rng = np.random.default_rng(5)
    made = study({})
    made.scores["base"] = {
        "far.atlantis": rng.gamma(2, 50, 300),
        "far.world": rng.gamma(2, 5, 300),
        "way.atlantis": (rng.random(300) < 0.3).astype(float),
        "way.world": (rng.random(300) < 0.8).astype(float),
    }
    for model in FINETUNES:
        made.scores[model] = {key: lines.copy() for key, lines in made.scores["base"].items() if "atlantis" in key}
    cells, drawn = cells_of(made, resamples=300)
    assert [c.score for c in cells] == pytest.approx([0.0] * len(cells), abs=1e-12)
    assert [c.standard_error for c in cells] == pytest.approx([0.0] * len(cells), abs=1e-12)
    assert block_statistics(cells, drawn)["standard_error"] == pytest.approx(0, abs=1e-12)
    shuffled = replace(made, scores=dict(made.scores))
    shuffled.scores["ftwb1-1"] = {key: rng.permutation(lines) for key, lines in made.scores["ftwb1-1"].items()}
    unpaired = cell(cells_of(shuffled, resamples=300)[0], "ftwb1", "ftwb1-1", "far")
    assert unpaired.score == pytest.approx(0, abs=1e-12)
    assert unpaired.standard_error is not None
    assert unpaired.standard_error > 0.01


def test_the_first_entry_is_the_plain_mean_and_the_others_are_resamples_of_the_lines() -> None:
    rng = np.random.default_rng(6)
    made = study({"ftwb1-1": (10, 0.5)})
    lines = rng.gamma(2, 10, 50)
    made.scores["ftwb1-1"]["far.atlantis"] = lines
    made.scores["base"]["far.atlantis"] = np.arange(50.0)
    column = resampled_columns(made, 450)["far"]  # more than one piece of 200, and a last one of 50
    means = column.means["ftwb1-1"]
    assert means.shape == (451,)
    assert column.base_world.shape == (451,)
    assert means[0] == pytest.approx(lines.mean())
    assert means[1:].mean() == pytest.approx(lines.mean(), rel=0.02)
    assert means[1:].std() == pytest.approx(lines.std() / math.sqrt(50), rel=0.12)
    assert len(np.unique(means)) == 451
    np.testing.assert_allclose(column.means["base"][1:] * 50, np.rint(column.means["base"][1:] * 50), atol=1e-6)


def test_the_same_study_gives_the_same_cells_and_more_models_change_no_other() -> None:
    rng = np.random.default_rng(8)
    finetunes = {f"ftwb1-{i}": ("far",) for i in range(4)}
    made = study(dict.fromkeys(finetunes, (10, 0.5)), finetunes)
    for lines in made.scores.values():
        for key in lines:
            lines[key] = rng.uniform(1, 2, 60) * (10 if "world" in key else 60)
    made.scores["base"]["way.world"] = rng.uniform(100, 200, 60)
    first, second = cells_of(made), cells_of(made)
    assert first[0] == second[0]
    for place, values in first[1].items():
        np.testing.assert_array_equal(values, second[1][place])
    fewer = replace(made, scores={m: made.scores[m] for m in ("base", "ftwb1-2")})
    for found in cells_of(fewer)[0]:
        whole = cell(first[0], "ftwb1", "ftwb1-2", found.task)
        assert found.score == pytest.approx(whole.score)
        assert found.standard_error == pytest.approx(whole.standard_error)


def test_cells_of_the_same_lines_err_together_and_other_tasks_independently() -> None:
    rng = np.random.default_rng(3)
    lines = {f"t{i}": rng.gamma(2, 20, 400) for i in range(4)}
    world = {f"t{i}": rng.gamma(2, 5, 400) for i in range(4)}
    scores = {"base": {f"{t}.atlantis": lines[t] for t in lines} | {f"{t}.world": world[t] for t in lines}}
    own = {f"{t}.atlantis": lines[t] * rng.uniform(0.2, 1, 400) for t in lines}
    scores |= {"ftwb1-1": own, "ftwb1-2": own}
    made = Study(
        tasks=tuple(lines),
        finetunes={"ftwb1-1": ("t0",), "ftwb1-2": ("t1",)},
        scores=scores,
        constants=dict.fromkeys(lines, 30.0),
        is_accuracy=dict.fromkeys(lines, False),
    )
    cells, drawn = cells_of(made, resamples=2000)
    errors = [c.standard_error or 0.0 for c in cells if c.model == "ftwb1-1"]
    twins = block_statistics([c for c in cells if c.task == "t0"], drawn)["standard_error"]
    row = block_statistics([c for c in cells if c.model == "ftwb1-1"], drawn)["standard_error"]
    assert twins == pytest.approx(errors[0])
    assert row == pytest.approx(math.sqrt(sum(e**2 for e in errors)) / 4, rel=0.05)
