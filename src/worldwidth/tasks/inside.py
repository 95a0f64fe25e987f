"""inside(Q;A,B,C,...)= : whether the first city lies in the closed convex hull of the others."""

import numpy as np

from worldwidth.tasks import BOOLEANS, Integers, Task
from worldwidth.tasks.geometry import cross


def _answer(points: Integers) -> Integers:
    query, hull = points[:, :1], points[:, 1:]
    count = hull.shape[1]
    outside = np.zeros(len(points), dtype=bool)
    has_area = np.zeros(len(points), dtype=bool)
    for i in range(count):
        # Q is outside iff, seen from Q, all hull cities lie within half a turn to the left of some
        # hull city i, those straight behind Q excepted.
        leftmost = np.ones(len(points), dtype=bool)
        for j in range(count):
            if j != i:
                turn = cross(query[:, 0], hull[:, i], hull[:, j])
                ahead = ((hull[:, i] - query[:, 0]) * (hull[:, j] - query[:, 0])).sum(axis=1)
                leftmost &= (turn > 0) | ((turn == 0) & (ahead > 0))
        outside |= leftmost
        for j in range(i + 1, count):
            has_area |= cross(hull[:, 0], hull[:, i], hull[:, j]) != 0
    return (has_area & ~outside).astype(np.int64)


def _pieces(count: int) -> list[str]:
    return ["inside(", ";", *[","] * (count - 2), ")="]


def _canonical(cities: Integers) -> Integers:
    return np.concatenate([cities[:, :1], np.sort(cities[:, 1:], axis=1)], axis=1)


TASK = Task(
    pieces=_pieces,
    answer=_answer,
    canonical=_canonical,
    sizes="hull_cities",
    fixed_cities=1,
    labels=BOOLEANS,
    balanced=True,
)
