"""Intervals and tests with the replicate (a seed and an Atlantis draw) as the unit, by scipy and statsmodels.

A difference between two levels is taken replicate by replicate (same seeds, same test lines) before anything is
averaged. What is not significant comes with the bound that it leaves: the smallest difference that is excluded.
"""

import gc
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from scipy import special
from statsmodels.stats.multitest import multipletests

CONFIDENCE = 0.95
ALPHA = 1 - CONFIDENCE
INTERVAL = f"{100 * CONFIDENCE:.0f} % interval"
NOT_SIGNIFICANT = "not significant"


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds and its interval; None where the seeds do not allow one."""

    n: int
    """Seeds with a number."""
    mean: float | None
    sd: float | None
    """Standard deviation over seeds (n - 1)."""
    low: float | None
    high: float | None
    """95 % interval for the mean over all possible seeds: Student's t with n - 1 degrees of freedom."""
    p: float | None
    """Two-sided t test of a mean of 0."""
    excluded: float | None
    """Equivalence: two one-sided t tests at 5 % exclude every value farther from 0 than this, which is the farther end
    of the 90 % interval (Schuirmann 1987)."""


def student(n: int, value: float, sd: float, error: float, freedom: int) -> Estimate:
    """Interval, test and equivalence bound of ``value`` by Student's t.

    Args:
        n: replicates.
        sd: what is shown as the spread.
        error: standard error of ``value``.
        freedom: degrees of freedom of ``error``.
    """
    if error <= 1e-12 * max(1.0, abs(value)):  # equal numbers: no test, and the interval is that number
        return Estimate(n, value, 0.0, value, value, None, abs(value))
    half, inner = (float(special.stdtrit(freedom, 1 - tail)) * error for tail in (ALPHA / 2, ALPHA))
    p = 2 * float(special.stdtr(freedom, -abs(value) / error))
    return Estimate(n, value, sd, value - half, value + half, p, abs(value) + inner)


def estimate(values: Sequence[float]) -> Estimate:
    """Mean, spread, interval and test of one number a seed; NaN is a seed without a number."""
    found = np.array([value for value in values if math.isfinite(value)], dtype=np.float64)
    n = len(found)
    if n == 0:
        return Estimate(0, None, None, None, None, None, None)
    mean = float(found.mean())
    if n == 1:
        return Estimate(1, mean, None, None, None, None, None)
    sd = float(found.std(ddof=1))
    return student(n, mean, sd, sd / math.sqrt(n), n - 1)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """p values adjusted for their number by Holm's step-down method; tests that could not be made do not count."""
    there = [p for p in p_values if p is not None]
    if not there:
        return [None] * len(p_values)
    adjusted = iter(multipletests(there, alpha=ALPHA, method="holm")[1])
    return [None if p is None else float(next(adjusted)) for p in p_values]


@contextmanager
def few_objects_to_collect() -> Iterator[None]:
    """statsmodels collects garbage at every correction, which takes long with all of torch in memory."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def line_interval(drawn: np.ndarray) -> tuple[float | None, float | None, float | None]:
    """Standard error and 95 % percentile interval from bootstrap resamples over test lines.

    Args:
        drawn: (1 + resamples,) the number as measured, then resampled.

    Returns:
        Three times None where the number, or a tenth of its resamples, is not measurable.
    """
    resampled = drawn[1:][np.isfinite(drawn[1:])]
    if not np.isfinite(drawn[0]) or len(resampled) < 0.9 * (len(drawn) - 1):
        return None, None, None
    low, high = np.quantile(resampled, [ALPHA / 2, 1 - ALPHA / 2])
    return float(resampled.std()), float(low), float(high)


def verdict(found: Estimate, p_adjusted: float | None, higher: str) -> str:
    """What can be said about a difference, in a few words.

    Args:
        p_adjusted: after Holm, or Tukey's.
        higher: what is the higher one when the mean is above 0, and the lower one when it is below.
    """
    if found.n == 0 or found.mean is None:
        return "not measurable"
    if p_adjusted is not None and p_adjusted < ALPHA:
        return f"significant: {higher} {'higher' if found.mean > 0 else 'lower'}"
    if found.excluded is None:
        return f"too few seeds to say (n = {found.n})"
    if found.low == found.high:
        return f"too little variation to say (n = {found.n})"
    return f"{NOT_SIGNIFICANT}; above {found.excluded:.2g} is excluded"


def direction(verdict: str) -> int:
    """Which way a verdict says that a number differs from 0: 1 higher, -1 lower, 0 not significant."""
    return verdict.startswith("significant") * (1 if verdict.endswith(" higher") else -1)
