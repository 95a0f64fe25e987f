"""perimeter(A,B,...)= : the length of the closed tour through the cities in the given order."""

import numpy as np

from worldwidth.tasks import Integers, Task
from worldwidth.tasks.geometry import comma_separated, length, round_to_integer


def _answer(points: Integers) -> Integers:
    legs = [length(points[:, i], points[:, i + 1]) for i in range(points.shape[1] - 1)]
    if len(legs) > 1:  # two cities make one distance, not a tour there and back
        legs.append(length(points[:, -1], points[:, 0]))
    return round_to_integer(np.sum(legs, axis=0))


def _canonical(cities: Integers) -> Integers:
    """Start at the smallest city and go towards its smaller neighbour."""
    count = cities.shape[1]
    start = cities.argmin(axis=1)[:, None]
    steps = np.arange(count)
    forward = np.take_along_axis(cities, (start + steps) % count, axis=1)
    backward = np.take_along_axis(cities, (start - steps) % count, axis=1)
    return np.where(forward[:, 1:2] <= backward[:, 1:2], forward, backward)


TASK = Task(
    pieces=lambda count: comma_separated("perimeter", count),
    answer=_answer,
    canonical=_canonical,
    sizes="tour_cities",
    worst_error=(2_000.0, 1),
    max_new_tokens=30,
)
