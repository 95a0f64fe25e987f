"""How alike two models see the same cities, whatever the widths of their features: rows are cities in one order.

Two numbers. Linear CKA (Kornblith et al. 2019, arXiv 1905.00414) asks whether cities that lie far apart in one model
do so in the other; it is debiased (Song et al. 2012, JMLR 13), since with few cities wide features look alike by
chance. Mutual nearest neighbours (Huh et al. 2024, arXiv 2405.07987) ask whether a city has the same neighbours.
Both are calibrated by permutation, as Groeger et al. 2026 (arXiv 2602.14486) advise for models of different widths:
what 95 % of the pairings of shuffled cities stay below becomes 0.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from worldwidth.data.random_streams import stream

Floats = NDArray[np.float64]

NEIGHBOURS = 5
PERMUTATIONS = 200
LEVEL = 0.05


@dataclass(frozen=True)
class Calibrated:
    """A similarity, and what it is worth."""

    value: float
    threshold: float
    """What all but 5 % of the shuffled pairings stay below."""
    p: float
    """Share of the pairings, the true one among them, that are at least as alike."""

    @property
    def score(self) -> float:
        """0 is no more than shuffled cities reach, 1 is equal."""
        return max(0.0, (self.value - self.threshold) / (1 - self.threshold)) if self.threshold < 1 else 0.0


def cka(one: NDArray[Any], other: NDArray[Any]) -> Calibrated:
    """Debiased linear CKA of features (n, features) of the same n cities, 4 or more.

    HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)), K and L the Gram matrices and HSIC its unbiased estimate
    (:func:`_unbiased`), up to a factor that cancels.
    """
    first, second = (_unbiased(features) for features in (one, other))
    norm = np.sqrt((first**2).sum() * (second**2).sum())

    def value(order: NDArray[np.int64]) -> float:
        return float((first * second[np.ix_(order, order)]).sum() / norm) if norm > 0 else 0.0

    return _calibrated(value, len(one))


def _unbiased(features: NDArray[Any]) -> Floats:
    """The Gram matrix (n, n), centred so that the products of two sum to the unbiased HSIC, times n (n - 3).

    U-centring (Szekely and Rizzo 2014, Annals of Statistics 42): zeros on the diagonal, rows that sum to 0.
    """
    n, values = len(features), features.astype(np.float64)
    centred = values - values.mean(axis=0)  # changes nothing but the rounding
    gram: Floats = centred @ centred.T
    np.fill_diagonal(gram, 0)
    rows = gram.sum(axis=1)
    gram += rows.sum() / ((n - 1) * (n - 2)) - (rows[:, None] + rows) / (n - 2)
    np.fill_diagonal(gram, 0)
    return gram


def mutual_neighbours(one: NDArray[Any], other: NDArray[Any]) -> Calibrated:
    """Share of a city's nearest neighbours that it has in both, the mean over cities; features (n, features) both.

    By chance it is about neighbours / (n - 1).
    """
    first, second = (_neighbours(features) for features in (one, other))
    total = first.sum()

    def value(order: NDArray[np.int64]) -> float:
        return float((first & second[np.ix_(order, order)]).sum() / total)

    return _calibrated(value, len(one))


def _neighbours(features: NDArray[Any]) -> NDArray[np.bool_]:
    """(n, n) whether the second city is among the nearest of the first, by Euclidean distance; itself left out."""
    apart = cdist(features, features)
    np.fill_diagonal(apart, np.inf)
    found = np.zeros(apart.shape, bool)
    nearest = np.argsort(apart, axis=1, kind="stable")[:, : min(NEIGHBOURS, len(apart) - 1)]
    np.put_along_axis(found, nearest, True, axis=1)
    return found


def _calibrated(value: Callable[[NDArray[np.int64]], float], n: int) -> Calibrated:
    """``value`` as measured, against the cities of the second model shuffled."""
    rng = stream(0, "permutations of the similarity")
    measured = value(np.arange(n))
    shuffled = np.array([value(rng.permutation(n)) for _ in range(PERMUTATIONS)])
    p = (1 + (shuffled >= measured).sum()) / (1 + PERMUTATIONS)
    return Calibrated(measured, float(np.quantile(shuffled, 1 - LEVEL)), float(p))
