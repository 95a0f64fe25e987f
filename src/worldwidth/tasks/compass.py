"""compass(A,B)= : the direction from the first city to the second, one of eight."""

import numpy as np

from worldwidth.tasks import Integers, Task
from worldwidth.tasks.geometry import any_order, comma_separated

LABELS = ("E", "NE", "N", "NW", "W", "SW", "S", "SE")


def _answer(points: Integers) -> Integers:
    step = (points[:, 1] - points[:, 0]).astype(np.float64)
    degrees = np.degrees(np.arctan2(step[:, 1], step[:, 0])) % 360
    # No integer vector lies on a border between sectors (tan 22.5 deg is irrational): float64 decides safely.
    sector = np.floor(((degrees + 22.5) % 360) / 45).astype(np.int64)
    return np.where((step == 0).all(axis=1), LABELS.index("N"), sector)


TASK = Task(
    pieces=lambda count: comma_separated("compass", count),
    answer=_answer,
    canonical=any_order,
    sizes=(2, 2),
    labels=LABELS,
)
