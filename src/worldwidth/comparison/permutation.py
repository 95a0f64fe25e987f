"""A permutation test of whether runs of one level are more alike than runs of two: levels exchanged within replicates.

That is ANOSIM with blocks (Clarke 1993, Non-parametric multivariate analyses of changes in community structure), on
any measure of likeness. The observed arrangement is one of those that it is held against (Phipson and Smyth 2010,
Permutation p-values should never be zero).
"""

import itertools
import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worldwidth.data.random_streams import stream
from worldwidth.evaluation.scores import Floats

EXACT, DRAWS = 20_000, 9_999
"""Exchanges that are all gone through; and how many are drawn where there are more."""

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Arrangements:
    """The levels' names exchanged between the runs of each replicate: the observed arrangement first."""

    labels: Ints
    """(arrangements, runs)."""
    exact: bool
    """Whether these are all that there are."""


def arrangements(levels: Sequence[str], replicates: Sequence[Hashable], stream_name: str) -> Arrangements:
    """All exchanges of levels within replicates, or ``DRAWS`` of them at random after the observed one.

    Args:
        levels: of each run.
        replicates: of each run.
        stream_name: of the random stream of what is drawn.
    """
    names = list(dict.fromkeys(levels))
    observed = np.array([names.index(level) for level in levels])
    places = [[i for i, own in enumerate(replicates) if own == replicate] for replicate in dict.fromkeys(replicates)]
    if math.prod(math.factorial(len(of)) for of in places) <= EXACT:
        orders = itertools.product(*map(itertools.permutations, places))
        taken = np.array([list(itertools.chain(*order)) for order in orders])
        labels = np.empty_like(taken)
        labels[:, list(itertools.chain(*places))] = observed[taken]
        return Arrangements(labels, exact=True)
    rng = stream(0, "permutations", stream_name)
    labels = np.tile(observed, (1 + DRAWS, 1))
    for of in places:
        labels[1:, of] = rng.permuted(labels[1:, of], axis=1)
    return Arrangements(labels, exact=False)


def permutation_p(found: Floats, pairs: list[tuple[int, int]], exchanged: Arrangements) -> tuple[float, float]:
    """The share of arrangements that make levels at least as much alike within as the observed one does.

    Args:
        found: (runs, runs) correlations.
        pairs: those that count.
        exchanged: the arrangements, the observed one first.

    Returns:
        p, and the smallest that it could have been: the share of arrangements that differ from the observed one in
        names only. Both NaN where no two of ``pairs`` share a level, or all do, or a correlation does not exist.
    """
    one, other = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    same: Bools = exchanged.labels[:, one] == exchanged.labels[:, other]
    values = found[one, other]
    counts = same.sum(axis=1)
    if not 0 < counts[0] < len(pairs) or not np.isfinite(values).all():
        return math.nan, math.nan
    with np.errstate(invalid="ignore", divide="ignore"):
        differences = same @ values / counts - ~same @ values / (len(pairs) - counts)
    as_large = np.mean(differences >= differences[0] - 1e-12)
    return float(as_large), float(np.mean((same == same[0]).all(axis=1)))
