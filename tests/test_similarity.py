"""How alike two models see the same cities: CKA and mutual neighbours against known cases.

pytest tests/test_similarity.py
"""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import ortho_group
from sklearn.neighbors import NearestNeighbors

from worldwidth.representation.similarity import (
    NEIGHBOURS,
    PERMUTATIONS,
    Calibrated,
    _neighbours,
    _unbiased,
    cka,
    mutual_neighbours,
)

Floats = NDArray[np.float64]


@pytest.fixture(scope="module")
def rng() -> np.random.Generator:
    return np.random.default_rng(11)


def hsic(one: Floats, other: Floats) -> float:
    """The unbiased estimate as Song et al. 2012 (JMLR 13) write it, formula 5."""
    k, other_gram = one @ one.T, other @ other.T
    np.fill_diagonal(k, 0)
    np.fill_diagonal(other_gram, 0)
    n, ones = len(k), np.ones(len(k))
    total = np.trace(k @ other_gram) + (ones @ k @ ones) * (ones @ other_gram @ ones) / ((n - 1) * (n - 2))
    return float((total - 2 / (n - 2) * (ones @ k @ other_gram @ ones)) / (n * (n - 3)))


def test_cka_is_the_ratio_of_unbiased_hsic(rng: np.random.Generator) -> None:
    one, other = rng.normal(size=(12, 3)), rng.normal(size=(12, 5))
    other[:, 0] += one[:, 0]
    wanted = hsic(one, other) / np.sqrt(hsic(one, one) * hsic(other, other))
    assert cka(one, other).value == pytest.approx(wanted)
    assert (_unbiased(one) * _unbiased(other)).sum() / (12 * 9) == pytest.approx(hsic(one, other))


def test_cka_of_four_points_by_hand() -> None:
    """On a line at 0, 0, 1, 1 the Gram matrix has one entry beside its diagonal, between the last two."""
    one, other = np.array([[0.0], [0], [1], [1]]), np.array([[0.0], [1], [0], [1]])
    # U-centred, the pairs of the first are (a, b, b, b, b, a), those of the second (b, a, b, b, a, b), with a = -2 b
    assert cka(one, one).value == pytest.approx(1)
    assert cka(one, other).value == pytest.approx((-2 - 2 + 1 + 1 - 2 - 2) / (4 + 1 + 1 + 1 + 1 + 4))


def test_rotation_shift_and_scale_change_nothing(rng: np.random.Generator) -> None:
    x = rng.normal(size=(40, 8)) * np.arange(1, 9)
    turned = 7.5 * x @ ortho_group.rvs(8, random_state=3) + 100
    wider = np.hstack([turned, np.zeros((40, 30))])
    for other in (turned, wider):
        found = cka(x, other)
        assert found.value == pytest.approx(1)
        assert found.score == pytest.approx(1)
        assert found.p == 1 / (1 + PERMUTATIONS)
        assert mutual_neighbours(x, other).value == 1


@pytest.mark.parametrize(("width", "other_width"), [(4, 4), (16, 256), (512, 512)])
def test_independent_noise_is_not_alike_at_any_width(width: int, other_width: int) -> None:
    """Without debiasing and calibration wide features of few cities look alike by chance."""
    rng = np.random.default_rng(width)
    pairs = [(rng.normal(size=(60, width)), rng.normal(size=(60, other_width))) for _ in range(20)]
    found = [cka(*pair) for pair in pairs]
    assert abs(np.mean([one.value for one in found])) < 0.03
    assert np.mean([one.score > 0 for one in found]) <= 0.25
    assert max(one.score for one in found) < 0.2
    if width == 512:
        biased = [np.abs(one.value) for one in found]
        centred = [[features - features.mean(axis=0) for features in pair] for pair in pairs]
        plain = [np.linalg.norm(x.T @ y) ** 2 / np.linalg.norm(x.T @ x) / np.linalg.norm(y.T @ y) for x, y in centred]
        assert min(plain) > 0.8 > 0.1 > max(biased)


def test_independent_features_share_neighbours_by_chance_only() -> None:
    rng = np.random.default_rng(2)
    n = 100
    found = [mutual_neighbours(rng.normal(size=(n, 12)), rng.normal(size=(n, 30))) for _ in range(20)]
    assert np.mean([one.value for one in found]) == pytest.approx(NEIGHBOURS / (n - 1), abs=0.006)
    assert np.mean([one.score > 0 for one in found]) <= 0.25
    assert np.mean([one.p for one in found]) > 0.25


def test_neighbours_are_those_of_scikit_learn(rng: np.random.Generator) -> None:
    x = rng.normal(size=(50, 6)).astype(np.float32)
    theirs = NearestNeighbors(n_neighbors=NEIGHBOURS).fit(x).kneighbors_graph().toarray() > 0
    np.testing.assert_array_equal(_neighbours(x), theirs)
    assert not _neighbours(x).diagonal().any()


def test_neighbours_that_are_shared_are_counted_by_hand() -> None:
    """Of six each has all five others as neighbours; of seven it leaves one out, the farthest."""
    line = np.arange(6.0)[:, None]
    assert mutual_neighbours(line, line[::-1] ** 3).value == 1
    seven = np.array([0.0, 1, 2, 3, 4, 5, 100])[:, None]
    swapped = np.array([100.0, 1, 2, 3, 4, 5, 0])[:, None]
    # rows 1 to 5 leave out row 6 in the first and row 0 in the second; rows 0 and 6 leave out each other in both
    lost = [0, *[1] * 5, 0]
    assert mutual_neighbours(seven, swapped).value == pytest.approx(1 - sum(lost) / 35)


def test_what_models_share_is_seen_through_noise(rng: np.random.Generator) -> None:
    shared = rng.normal(size=(80, 2))
    one, other = (shared @ rng.normal(size=(2, width)) + 0.3 * rng.normal(size=(80, width)) for width in (20, 90))
    alike, apart = cka(one, other), cka(one, other[::-1])
    assert alike.score > 0.7
    assert apart.score < 0.1
    assert mutual_neighbours(one, other).score > 0.2 > mutual_neighbours(one, other[::-1]).score


def test_a_score_is_zero_at_the_threshold_and_one_where_equal() -> None:
    def score(value: float, threshold: float) -> float:
        return Calibrated(value, threshold, 0.5).score

    assert [score(0.2, 0.2), score(0.1, 0.2), score(1.0, 0.2)] == [0, 0, 1]
    assert score(0.6, 0.2) == pytest.approx(0.5)
    assert score(1.0, 1.0) == 0  # neighbours that are all cities: nothing can be told


def test_features_that_are_all_equal_are_like_nothing() -> None:
    same: Any = np.ones((10, 3))
    assert cka(same, same).value == 0
