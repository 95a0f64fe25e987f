"""compass(A,B)= : the direction from the first city to the second, one of eight."""

import numpy as np

from worldwidth.tasks import Integers, Task
from worldwidth.tasks.geometry import any_order, comma_separated

LABELS = ("E", "NE", "N", "NW", "W", "SW", "S", "SE")


def _answer(points: Integers) -> Integers:
    x, y = (points[:, 1] - points[:, 0]).T
    # No integer vector lies on a border between sectors (tan 22.5 deg is irrational): float64 decides safely.
    sector = np.floor(np.degrees(np.arctan2(y, x)) / 45 + 0.5).astype(np.int64) % len(LABELS)
    return np.where((x == 0) & (y == 0), LABELS.index("N"), sector)


TASK = Task(
    pieces=lambda count: comma_separated("compass", count),
    answer=_answer,
    canonical=any_order,
    sizes=(2, 2),
    labels=LABELS,
)
