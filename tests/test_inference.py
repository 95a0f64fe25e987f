"""Intervals and tests over seeds, against known answers and by simulation: `pytest tests/test_inference.py`."""

import math

import numpy as np
import pytest
from scipy import stats

from worldwidth.comparison.statistics import Estimate, estimate, holm, line_interval, verdict
from worldwidth.evaluation.scores import Floats, normalized, resampled_means

SIMULATIONS = 1500


def test_an_estimate_is_student_s_t() -> None:
    found = estimate([0.1, 0.2, 0.3])
    assert [found.n, found.mean, found.sd] == pytest.approx([3, 0.2, 0.1])
    half = 4.302652729911275 * 0.1 / math.sqrt(3)  # the 97.5 % point of t with 2 degrees of freedom
    assert [found.low, found.high] == pytest.approx([0.2 - half, 0.2 + half])
    assert found.p == pytest.approx(0.0741799, abs=1e-6)


def test_seeds_without_a_number_do_not_count() -> None:
    assert estimate([0.1, math.nan, 0.3]) == estimate([0.1, 0.3])
    assert estimate([math.nan]) == Estimate(0, None, None, None, None, None, None)
    assert estimate([]).n == 0


def test_one_seed_has_no_interval() -> None:
    assert estimate([0.4]) == Estimate(1, 0.4, None, None, None, None, None)


def test_equal_numbers_have_no_test() -> None:
    found = estimate([0.4, 0.4, 0.4])
    assert [found.sd, found.low, found.high] == pytest.approx([0.0, 0.4, 0.4])
    assert found.p is None


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_the_interval_over_seeds_covers_as_often_as_it_says(seeds: int) -> None:
    rng = np.random.default_rng(seeds)
    found = [estimate(0.7 + 0.05 * rng.standard_normal(seeds)) for _ in range(SIMULATIONS)]  # type: ignore[arg-type]
    covered = np.mean([e.low <= 0.7 <= e.high for e in found if e.low is not None and e.high is not None])
    assert abs(covered - 0.95) < 0.02


def test_pairing_by_seed_keeps_coverage_and_narrows_the_interval() -> None:
    """What a seed does to both widths cancels in the difference."""
    rng = np.random.default_rng(7)
    paired, unpaired, covered = [], [], []
    for _ in range(SIMULATIONS):
        shared, mine, theirs = (
            0.1 * rng.standard_normal(4),
            0.02 * rng.standard_normal(4),
            0.02 * rng.standard_normal(4),
        )
        narrow, wide = 0.6 + shared + mine, 0.65 + shared + theirs
        difference = estimate(wide - narrow)  # type: ignore[arg-type]
        assert difference.low is not None
        assert difference.high is not None
        covered.append(difference.low <= 0.05 <= difference.high)
        paired.append(difference.sd)
        unpaired.append(math.hypot(wide.std(ddof=1), narrow.std(ddof=1)))
    assert abs(np.mean(covered) - 0.95) < 0.02
    assert np.mean(paired) < 0.4 * np.mean(unpaired)  # type: ignore[arg-type]


def drawn_lines(rng: np.random.Generator, is_accuracy: bool, lines: int) -> dict[str, Floats]:
    """Scores of a fine-tuned and a base model on the same Atlantis lines, and of the base model on other ones."""
    if is_accuracy:
        return {name: (rng.random(lines) < mean).astype(np.float64) for name, mean in MEANS[True].items()}
    hard = rng.gamma(2.0, 0.5, lines)  # a line that is hard for one model is hard for the other
    drawn = {name: mean * rng.gamma(2.0, 0.5, lines) for name, mean in MEANS[False].items()}
    return {"value": drawn["value"] * hard, "base": drawn["base"] * hard, "world": drawn["world"]}


MEANS = {True: {"value": 0.7, "base": 0.4, "world": 0.8}, False: {"value": 5.0, "base": 20.0, "world": 3.0}}


@pytest.mark.parametrize("is_accuracy", [False, True])
def test_the_interval_over_test_lines_covers_as_often_as_it_says(is_accuracy: bool) -> None:
    """A paired bootstrap of the normalised score, the base model's noise included; 1,000 lines, as at laptop scale."""
    rng = np.random.default_rng(11)
    value, base, ordinary = (np.array([mean]) for mean in MEANS[is_accuracy].values())
    true = float(normalized(value, base, ordinary, is_accuracy)[0])
    drawn = {(i, name): scores for i in range(1000) for name, scores in drawn_lines(rng, is_accuracy, 1000).items()}
    atlantis = resampled_means({key: drawn[key] for key in drawn if key[1] != "world"}, 1000, "distance.atlantis")
    world = resampled_means({key: drawn[key] for key in drawn if key[1] == "world"}, 1000, "distance.world")
    covered = []
    for i in range(1000):
        scores = normalized(atlantis[i, "value"], atlantis[i, "base"], world[i, "world"], is_accuracy)
        _, low, high = line_interval(scores)
        assert low is not None
        assert high is not None
        covered.append(low <= true <= high)
    assert abs(np.mean(covered) - 0.95) < 0.02


def test_resamples_that_cannot_be_measured_leave_no_interval() -> None:
    drawn = np.array([0.5, *[0.4, 0.6] * 50])
    assert list(line_interval(drawn)) == pytest.approx([0.1, 0.4, 0.6])
    drawn[1:12] = np.nan
    assert line_interval(drawn) == (None, None, None)
    assert line_interval(np.array([np.nan, 0.1, 0.2])) == (None, None, None)


def test_holm_against_a_worked_example() -> None:
    """Three tests: the smallest p times 3, the next times 2 or as much as the one before, and so on."""
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.01, None, 0.04, 0.03]) == [pytest.approx(0.03), None, pytest.approx(0.06), pytest.approx(0.06)]
    assert holm([None, None]) == [None, None]
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_equivalence_is_two_one_sided_tests() -> None:
    """The bound is where the larger of the two one-sided p values is 5 %, by scipy's own tests."""
    values = np.array([0.02, -0.01, 0.05, 0.03, 0.0])
    bound = estimate(values).excluded  # type: ignore[arg-type]
    assert bound is not None
    lower = stats.ttest_1samp(values, -bound, alternative="greater").pvalue
    upper = stats.ttest_1samp(values, bound, alternative="less").pvalue
    assert max(lower, upper) == pytest.approx(0.05)
    assert estimate(-values).excluded == pytest.approx(bound)  # type: ignore[arg-type]


def test_equivalence_is_claimed_wrongly_as_often_as_it_says() -> None:
    """A true difference at the bound itself is excluded in 5 of 100 cases."""
    rng = np.random.default_rng(5)
    found = [estimate(0.05 + 0.02 * rng.standard_normal(6)).excluded for _ in range(SIMULATIONS)]  # type: ignore[arg-type]
    assert abs(np.mean([bound < 0.05 for bound in found if bound is not None]) - 0.05) < 0.015


@pytest.mark.parametrize(
    ("values", "p", "said"),
    [
        ([], None, "not measurable"),
        ([0.3], None, "too few seeds to say (n = 1)"),
        ([0.1, 0.2, 0.3], 0.2, "not significant; above 0.37 is excluded"),
        ([0.1, 0.2, 0.3], 0.01, "significant: wide higher"),
        ([-0.1, -0.2, -0.3], 0.01, "significant: wide lower"),
        ([0.1, 0.1, 0.1], None, "too little variation to say (n = 3)"),
        ([0.1, -0.1, 0.1, -0.1, 0.1, -0.1], 0.9, "not significant; above 0.09 is excluded"),
    ],
)
def test_the_verdict(values: list[float], p: float | None, said: str) -> None:
    assert verdict(estimate(values), p, "wide") == said
