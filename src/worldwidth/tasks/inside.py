"""inside(Q;A,B,C,...)= : whether the first city lies in the closed convex hull of the others."""

import itertools

import numpy as np

from worldwidth.tasks import BOOLEANS, Integers, Task
from worldwidth.tasks.geometry import any_order, cross, dot


def _answer(points: Integers) -> Integers:
    hull = [points[:, i] - points[:, 0] for i in range(1, points.shape[1])]  # seen from Q
    # Q is outside iff all hull cities lie within half a turn to the left of some hull city i, those
    # straight behind Q excepted.
    leftmost = np.ones((len(hull), len(points)), dtype=bool)
    has_area = np.zeros(len(points), dtype=bool)
    from_first: list[Integers] = []
    for i, j in itertools.combinations(range(len(hull)), 2):
        turn = cross(hull[i], hull[j])
        ahead = (turn == 0) & (dot(hull[i], hull[j]) > 0)
        leftmost[i] &= (turn > 0) | ahead
        leftmost[j] &= (turn < 0) | ahead
        if i == 0:
            from_first.append(turn)
        else:
            has_area |= turn + from_first[i - 1] != from_first[j - 1]  # the triangle of hull cities 0, i, j
    return (has_area & ~leftmost.any(axis=0)).astype(np.int64)


def _pieces(count: int) -> list[str]:
    return ["inside(", ";", *[","] * (count - 2), ")="]


def _canonical(cities: Integers) -> Integers:
    return np.concatenate([cities[:, :1], any_order(cities[:, 1:])], axis=1)


TASK = Task(
    pieces=_pieces,
    answer=_answer,
    canonical=_canonical,
    sizes="hull_cities",
    fixed_cities=1,
    labels=BOOLEANS,
    balanced=True,
)
