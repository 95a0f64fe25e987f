"""angle(A,B,C)= : the angle at the SECOND city, in degrees 0..180."""

import numpy as np

from worldwidth.tasks import Integers, Task
from worldwidth.tasks.geometry import comma_separated, cross, round_to_integer


def _answer(points: Integers) -> Integers:
    corner = points[:, 1]
    turn = np.abs(cross(corner, points[:, 0], points[:, 2])).astype(np.float64)
    along = ((points[:, 0] - corner) * (points[:, 2] - corner)).sum(axis=1).astype(np.float64)
    # A ray of length 0 makes both arguments 0, and arctan2(0, 0) is 0.
    return round_to_integer(np.degrees(np.arctan2(turn, along)))


def _canonical(cities: Integers) -> Integers:
    ends = np.sort(cities[:, [0, 2]], axis=1)
    return np.stack([ends[:, 0], cities[:, 1], ends[:, 1]], axis=1)


TASK = Task(
    pieces=lambda count: comma_separated("angle", count),
    answer=_answer,
    canonical=_canonical,
    sizes=(3, 3),
    worst_error=(180.0, 0),
    max_new_tokens=30,
)
