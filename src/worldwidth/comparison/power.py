"""Before the runs: the difference that a number of replicates can tell from none, at 5 % two-sided and 80 % power.

Of the estimator that decides (blocks.py), by the noncentral t distribution; Tukey's critical value for a pair. The
distribution is summed here: scipy's has no numbers for the tails that two replicates lead to.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import optimize, special, stats

from worldwidth.comparison.statistics import ALPHA
from worldwidth.evaluation.scores import Floats

POWER = 0.8
_MOST = 1000  # replicates
_QUANTILES = (np.arange(4000) + 0.5) / 4000


@dataclass(frozen=True)
class PlannedTest:
    """What a test is made of."""

    levels: int
    weights: Floats | None
    """Of a contrast, (levels,); None for a pair under Tukey."""

    @property
    def norm(self) -> float:
        """Standard error of the difference, for one replicate and a standard deviation of 1."""
        return float(np.sqrt(2 if self.weights is None else self.weights @ self.weights))

    def critical(self, n: int) -> float:
        """What a t value must exceed with ``n`` replicates."""
        freedom = self.freedom(n)
        return _tukey(self.levels, freedom) if self.weights is None else float(stats.t.ppf(1 - ALPHA / 2, freedom))

    def freedom(self, n: int) -> int:
        """Degrees of freedom of replicates as blocks."""
        return (n - 1) * (self.levels - 1)


@cache
def _tukey(levels: int, freedom: int) -> float:
    return float(stats.studentized_range.ppf(1 - ALPHA, levels, freedom) / np.sqrt(2))


def power(test: PlannedTest, n: int, difference: float, sd: float) -> float:
    """The chance that a ``difference`` is significant.

    Args:
        n: replicates, at least 2.
        sd: of one run, what replicates do to all levels alike left out.
    """
    critical, freedom = test.critical(n), test.freedom(n)
    shift = difference / (sd * test.norm) * np.sqrt(n)
    spread = np.sqrt(special.chdtri(freedom, _QUANTILES) / freedom)  # of the estimated sd over the true one
    return float(np.mean(special.ndtr(shift - critical * spread) + special.ndtr(-shift - critical * spread)))


def detectable(test: PlannedTest, n: int, sd: float) -> float | None:
    """The difference that is significant with 80 % power; None with fewer than two replicates."""
    if n < 2:
        return None
    unit = sd * test.norm / np.sqrt(n)
    most = unit * test.critical(n)
    while power(test, n, most, sd) < POWER:
        most *= 1.25
    return float(optimize.brentq(lambda difference: power(test, n, difference, sd) - POWER, 0, most))


def replicates_for(test: PlannedTest, difference: float, sd: float) -> int | None:
    """The fewest replicates that tell ``difference`` with 80 % power; None where 1,000 do not."""
    low, high = 1, 2
    while high <= _MOST and power(test, high, difference, sd) < POWER:
        low, high = high, 2 * high
    if high > _MOST:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(test, middle, difference, sd) >= POWER else (middle, high)
    return high
