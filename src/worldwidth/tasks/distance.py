"""dist(A,B)= : the Euclidean distance of two cities."""

from worldwidth.tasks import Integers, Task
from worldwidth.tasks.geometry import any_order, comma_separated, length, round_to_integer


def _answer(points: Integers) -> Integers:
    return round_to_integer(length(points[:, 0], points[:, 1]))


TASK = Task(
    pieces=lambda count: comma_separated("dist", count),
    answer=_answer,
    canonical=any_order,
    sizes=(2, 2),
    worst_error=(402.492, 1),  # the diagonal of the map, sqrt(360^2 + 180^2), as published
)
