"""Intervals and tests with the replicate (a seed and an Atlantis draw) as the unit, by scipy and statsmodels.

A difference between two levels is taken replicate by replicate (same seeds, same test lines) before anything is
averaged. Where there are too few, that is what the verdict says.
"""

import gc
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from scipy import special, stats
from statsmodels.stats.multitest import multipletests

CONFIDENCE = 0.95
ALPHA = 1 - CONFIDENCE
INTERVAL = f"{100 * CONFIDENCE:.0f} % interval"
ENOUGH_SEEDS = 6
"""With fewer, what is not significant is put down to them: the 97.5 % point of t is 2.8 with five, 4.3 with three."""


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


def estimate(values: Sequence[float]) -> Estimate:
    """Mean, spread, interval and test of one number a seed; NaN is a seed without a number."""
    found = np.array([value for value in values if math.isfinite(value)], dtype=np.float64)
    n = len(found)
    if n == 0:
        return Estimate(0, None, None, None, None, None)
    mean = float(found.mean())
    if n == 1:
        return Estimate(1, mean, None, None, None, None)
    sd = float(found.std(ddof=1))
    if sd <= 1e-12 * max(1.0, abs(mean)):  # equal numbers: no test, and the interval is that number
        return Estimate(n, mean, 0.0, mean, mean, None)
    error, freedom = sd / math.sqrt(n), n - 1
    half = float(special.stdtrit(freedom, 1 - ALPHA / 2)) * error
    p = 2 * float(special.stdtr(freedom, -abs(mean) / error))
    return Estimate(n, mean, sd, mean - half, mean + half, p)


def slope_per_doubling(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Least-squares slope of one replicate's ``values`` over log2 of ``sizes``; NaN with fewer than two numbers."""
    pairs = [(math.log2(w), v) for w, v in zip(sizes, values, strict=True) if math.isfinite(v)]
    if len({x for x, _ in pairs}) < 2:
        return math.nan
    x, y = zip(*pairs, strict=True)
    return float(stats.linregress(x, y).slope)


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
        p_adjusted: after Holm.
        higher: what is the higher one when the mean is above 0, and the lower one when it is below.
    """
    if found.n == 0:
        return "not measurable"
    if p_adjusted is not None and p_adjusted < ALPHA and found.mean is not None:
        return f"significant: {higher} {'higher' if found.mean > 0 else 'lower'}"
    if found.n > 1 and found.low == found.high:
        return f"too little variation to say (n = {found.n})"
    return f"too few seeds to say (n = {found.n})" if found.n < ENOUGH_SEEDS else "not significant"


def direction(verdict: str) -> int:
    """Which way a verdict says that a number differs from 0: 1 higher, -1 lower, 0 not significant."""
    return verdict.startswith("significant") * (1 if verdict.endswith(" higher") else -1)
