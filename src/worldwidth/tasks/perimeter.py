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
    rows, count = cities.shape
    twice_round = np.concatenate([cities.T, cities.T]).ravel()
    start = cities.argmin(axis=1) * rows + np.arange(rows)
    backward = twice_round.take(start + (count - 1) * rows) < twice_round.take(start + rows)
    step = np.where(backward, -rows, rows)
    start += backward * (count * rows)
    return np.array([twice_round.take(start + i * step) for i in range(count)]).T


TASK = Task(
    pieces=lambda count: comma_separated("perimeter", count),
    answer=_answer,
    canonical=_canonical,
    sizes="tour_cities",
    worst_error=(2_000.0, 1),
    max_new_tokens=30,
)
