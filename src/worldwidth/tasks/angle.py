"""angle(A,B,C)= : the angle at the SECOND city, in degrees 0..180."""

import numpy as np

from worldwidth.tasks import Integers, Task
from worldwidth.tasks.geometry import comma_separated, cross, dot, round_to_integer


def _answer(points: Integers) -> Integers:
    first, second = points[:, 0] - points[:, 1], points[:, 2] - points[:, 1]
    # A ray of length 0 makes both arguments 0, and arctan2(0, 0) is 0.
    return round_to_integer(np.degrees(np.arctan2(np.abs(cross(first, second)), dot(first, second))))


def _canonical(cities: Integers) -> Integers:
    first, corner, second = cities.T
    return np.array([np.minimum(first, second), corner, np.maximum(first, second)]).T


TASK = Task(
    pieces=lambda count: comma_separated("angle", count),
    answer=_answer,
    canonical=_canonical,
    sizes=(3, 3),
    worst_error=(180.0, 0),
    max_new_tokens=30,
)
