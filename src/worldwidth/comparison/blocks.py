"""Contrasts and pairs of levels from a table of complete replicates: a row a replicate, a column a level.

The estimator that decides is the analysis of variance with replicates as blocks: what a replicate (its seed, its draw
of Atlantis) does to all levels alike drops out, and the rest is pooled over the levels. For complete tables that is the
linear mixed model with a random effect of the replicate and the exact degrees of freedom. docs/statistics.md has the
simulation that it was chosen by; the others stand beside it.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.linalg import LinAlgError
from scipy import special, stats
from statsmodels.regression.mixed_linear_model import MixedLM, VCSpec

from worldwidth.comparison.statistics import ALPHA, Estimate, student
from worldwidth.evaluation.scores import Floats

BLOCKS, POOLED, MIXED, SLOPES = "replicates as blocks", "one-way ANOVA", "mixed model", "replicate by replicate"
SINGULAR = 1e-4
"""A share of the residual variance below which that of the random factors counts as 0."""
EXACT = 1e-12
"""A share of the numbers below which what is left of them counts as rounding."""


@dataclass(frozen=True)
class Replicates:
    """One number for every replicate and level; no number is missing."""

    values: Floats
    """(n, k): replicates, levels."""
    seeds: tuple[int, ...]
    draws: tuple[int, ...]
    """Of Atlantis."""

    @property
    def n(self) -> int:
        """Replicates."""
        return len(self.values)

    @property
    def k(self) -> int:
        """Levels."""
        return int(self.values.shape[1])


@dataclass(frozen=True)
class Contrast:
    """A weighted sum of the levels' means, by one estimator."""

    estimator: str
    found: Estimate
    """Its ``sd`` is that of one run: of the residual, or (replicate by replicate) of the contrast in one replicate."""
    freedom: int
    note: str = ""
    """What has to be said about the fit."""


def linear_weights(sizes: Sequence[float]) -> Floats:
    """Weights of the rise of the least-squares line over log2 of ``sizes``, from the smallest to the largest."""
    x = np.log2(np.array(sizes, dtype=np.float64))
    centred: Floats = x - x.mean()
    weights: Floats = centred / (centred @ centred) * (x.max() - x.min())
    return weights


def end_weights(k: int) -> Floats:
    """The last level minus the first."""
    weights = np.zeros(k)
    weights[0], weights[-1] = -1, 1
    return weights


def residual(table: Replicates) -> tuple[float, int]:
    """Variance that is left when levels and replicates are taken out, and its degrees of freedom (n - 1)(k - 1)."""
    y = table.values
    rest = y - y.mean(axis=0) - y.mean(axis=1, keepdims=True) + y.mean()
    freedom = (table.n - 1) * (table.k - 1)
    return float((rest**2).sum()) / freedom, freedom


def by_blocks(table: Replicates, weights: Floats) -> Contrast:
    """The contrast with replicates as blocks: t with (n - 1)(k - 1) degrees of freedom. It takes n >= 2."""
    return _contrast(BLOCKS, table, weights, *residual(table))


def by_pooling(table: Replicates, weights: Floats) -> Contrast:
    """The contrast of a one-way ANOVA, which leaves what replicates share in the error: t with k (n - 1)."""
    return _contrast(POOLED, table, weights, float(table.values.var(axis=0, ddof=1).mean()), table.k * (table.n - 1))


def by_replicate(table: Replicates, weights: Floats) -> Contrast:
    """The contrast in every replicate, and t over them: exact whatever the variances are, n - 1 degrees of freedom."""
    each = table.values @ weights
    sd = float(each.std(ddof=1))
    return Contrast(SLOPES, student(table.n, float(each.mean()), sd, sd / table.n**0.5, table.n - 1), table.n - 1)


def by_mixed_model(table: Replicates, weights: Floats) -> Contrast:
    """The contrast of a linear mixed model fitted by REML, with t in place of its normal distribution.

    Random factors are the seed and the draw where the design crosses or repeats them, else the replicate. Where the
    fit is singular (no variance is left to the factors) it is that of :func:`by_pooling`.
    """
    unit, freedom = residual(table)[0] ** 0.5, (table.n - 1) * (table.k - 1)
    if unit <= EXACT * np.abs(table.values).max():
        return Contrast(MIXED, by_blocks(table, weights).found, freedom, "no residual variance")
    spec, levels = _random_factors(table), np.tile(np.eye(table.k), (table.n, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the edge of the parameters' space and of convergence: both are looked at
        try:
            model = MixedLM(table.values.ravel() / unit, levels, np.zeros(len(levels)), exog_vc=spec)
            fit = model.fit(reml=True, method="powell")  # the others stop short of a variance of 0
        except LinAlgError:
            return _singular(table, weights, "not fitted")
    if not fit.converged or fit.vcomp.sum() <= SINGULAR * fit.scale:
        return _singular(table, weights, "singular" if fit.converged else "not converged")
    value, covariance = unit * float(weights @ fit.fe_params), np.asarray(fit.cov_params())[: table.k, : table.k]
    sds = [float(variance) ** 0.5 * unit for variance in (fit.scale, *fit.vcomp)]
    note = ", ".join(f"sd of {name} {sd:.2g}" for name, sd in zip(spec.names, sds[1:], strict=True))
    error = unit * float(weights @ covariance @ weights) ** 0.5
    return Contrast(MIXED, student(table.n, value, sds[0], error, freedom), freedom, note)


ESTIMATORS: tuple[Callable[[Replicates, Floats], Contrast], ...] = (by_blocks, by_pooling, by_mixed_model, by_replicate)
"""The first decides; the others show how much hangs on it."""


def _singular(table: Replicates, weights: Floats, why: str) -> Contrast:
    pooled = by_pooling(table, weights)
    return Contrast(MIXED, pooled.found, pooled.freedom, f"{why}: that of the {POOLED}")


def _contrast(estimator: str, table: Replicates, weights: Floats, variance: float, freedom: int) -> Contrast:
    value, error = float(weights @ table.values.mean(axis=0)), (variance * float(weights @ weights) / table.n) ** 0.5
    return Contrast(estimator, student(table.n, value, variance**0.5, error, freedom), freedom)


def _random_factors(table: Replicates) -> VCSpec:
    factors = {"seed": table.seeds, "draw": table.draws}
    repeated = {name: labels for name, labels in factors.items() if 1 < len(set(labels)) < table.n}
    chosen = repeated or {"replicate": tuple(range(table.n))}
    matrices = [[_indicators(labels, table.k)] for labels in chosen.values()]
    names = [[[f"{name} {label}" for label in dict.fromkeys(labels)]] for name, labels in chosen.items()]
    return VCSpec(list(chosen), names, matrices)


def _indicators(labels: Sequence[int], k: int) -> Floats:
    """(n k, labels): which label every number of a table has."""
    every = list(dict.fromkeys(labels))
    rows: Floats = np.repeat(np.eye(len(every))[[every.index(label) for label in labels]], k, axis=0)
    return rows


@dataclass(frozen=True)
class Pair:
    """The difference of two levels, with replicates as blocks."""

    level: int
    other: int
    found: Estimate
    """Its interval and p are Tukey's, over all pairs; the equivalence bound is that of this pair alone."""


def tukey(table: Replicates) -> list[Pair]:
    """Every two levels: Tukey's honestly significant difference with the residual variance of the blocks."""
    variance, freedom = residual(table)
    error = (2 * variance / table.n) ** 0.5
    means, scale = table.values.mean(axis=0), 2**-0.5
    half = float(stats.studentized_range.ppf(1 - ALPHA, table.k, freedom)) * scale * error
    found = []
    for i, j in combinations(range(table.k), 2):
        value = float(means[j] - means[i])
        alone = student(table.n, value, (2 * variance) ** 0.5, error, freedom)
        if alone.p is None:
            found.append(Pair(i, j, alone))
            continue
        p = float(stats.studentized_range.sf(abs(value) / (error * scale), table.k, freedom))
        whole = Estimate(alone.n, value, alone.sd, value - half, value + half, p, alone.excluded)
        found.append(Pair(i, j, whole))
    return found


def near_equal(sd: float, n: int, expected: float, risk: float = 0.01) -> bool:
    """Whether ``n`` numbers scatter less than a standard deviation of ``expected`` lets them, by chi-square at 1 %."""
    limit = float(special.chdtri(n - 1, 1 - risk))  # of which all but ``risk`` lie above
    return expected > 0 and (n - 1) * sd**2 / expected**2 < limit
