"""Where a model's features say that a city lies: a linear probe, judged on cities that it was not fitted on.

The probe is a ridge regression from standardised features to x and y (Hoerl and Kennard 1970), each with the penalty
that its leave-one-out error on the training cities is least with. As many features as cities fit any map, so that only
held-out cities count, and the same probe on shuffled coordinates says what a map of nothing would score. The tests
compare it with scikit-learn's, which takes as long to load as all probes of a small model.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldwidth.data.random_streams import stream
from worldwidth.representation.rows import FOLDS, SHUFFLES

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

PENALTIES = np.logspace(-2, 6, 9)
RANGE = (2.5, 97.5)
"""Percentiles between which 95 % of the shuffles lie."""


@dataclass(frozen=True)
class HeldOut:
    """A probe's word on cities that it was not fitted on."""

    predicted: Floats
    """(n, 2) each city by the probe whose fold it was not in."""
    r2: float
    """Share of the variance of x and y together that is explained; below 0 is worse than their mean."""
    null: Floats
    """(shuffles,) the same with shuffled coordinates."""
    guess: Floats
    """(n,) distance of each city from the mean of the cities of the other folds."""


def folds_of(n: int) -> list[Rows]:
    """Rows of n cities in folds, drawn once and for all: the same for every model."""
    return np.array_split(stream(0, "folds of the probe").permutation(n), min(FOLDS, n))


def folds_by(labels: Sequence[str]) -> list[Rows]:
    """Rows of the cities of each label, as of each region."""
    return [np.flatnonzero(np.array(labels) == label) for label in dict.fromkeys(labels)]


def held_out(features: NDArray[Any], places: Floats, folds: list[Rows]) -> HeldOut:
    """Predict every fold from the others.

    Args:
        features: (n, features).
        places: (n, 2) where the cities lie.
        folds: rows of each, two or more.
    """
    rng = stream(0, "shuffles of the probe")
    orders = np.stack([np.arange(len(places)), *(rng.permutation(len(places)) for _ in range(SHUFFLES))])
    targets = places[orders].swapaxes(0, 1)  # (n, 1 + shuffles, 2): one decomposition serves all of them
    predicted, guess = np.empty_like(targets), np.empty(len(places))
    for fold in folds:
        rest = np.setdiff1d(np.arange(len(places)), fold)
        probe = fitted(features[rest], targets[rest].reshape(len(rest), -1))
        predicted[fold] = probe(features[fold]).reshape(len(fold), *targets.shape[1:])
        guess[fold] = distances(places[fold], places[rest].mean(axis=0))
    scores = explained(predicted, targets)
    return HeldOut(predicted[:, 0], float(scores[0]), scores[1:], guess)


def fitted(features: NDArray[Any], targets: Floats) -> Callable[[NDArray[Any]], Floats]:
    """The probe of ``features`` (n, features) for ``targets`` (n, targets): what it says of other features.

    With K = X X' of the standardised features, K = V diag(e) V', the fit of centred targets y is H y with
    H = V diag(e / (e + penalty)) V', and a city's leave-one-out error is (y - H y) / (1 - 1/n - diag H) (Golub, Heath
    and Wahba 1979, Technometrics 21; 1/n is the mean's share).
    """
    x = features.astype(np.float64)
    center, spread = x.mean(axis=0), x.std(axis=0)
    spread[spread == 0] = 1  # the separator's embedding is the same for all
    x = (x - center) / spread
    mean = targets.mean(axis=0)
    values, vectors = np.linalg.eigh(x @ x.T)
    values = np.maximum(values, 0)
    rotated = vectors.T @ (targets - mean)

    def left_out(penalty: float) -> Floats:
        """Mean squared leave-one-out error of every target."""
        kept = values / (values + penalty)
        own = 1 - 1 / len(x) - vectors**2 @ kept
        errors: Floats = (targets - mean - vectors @ (kept[:, None] * rotated)) / own[:, None]
        squares: Floats = (errors**2).mean(axis=0)
        return squares

    penalties = PENALTIES[np.argmin([left_out(penalty) for penalty in PENALTIES], axis=0)]
    slopes = x.T @ (vectors @ (rotated / (values[:, None] + penalties)))

    def probe(other: NDArray[Any]) -> Floats:
        found: Floats = (other - center) / spread @ slopes + mean
        return found

    return probe


def explained(predicted: Floats, targets: Floats) -> Floats:
    """R2 over both coordinates together: (n, maps, 2) both -> (maps,)."""
    left = ((predicted - targets) ** 2).sum(axis=(0, 2))
    found: Floats = 1 - left / ((targets - targets.mean(axis=0)) ** 2).sum(axis=(0, 2))
    return found


def distances(one: Floats, other: Floats) -> Floats:
    """Euclidean, (n,), in units of the plane; (n, 2), or one point for all."""
    found: Floats = np.hypot(*(one - other).T)
    return found
