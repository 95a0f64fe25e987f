"""cross(A,B;C,D)= : whether the closed segments AB and CD share a point."""

import numpy as np

from worldwidth.tasks import BOOLEANS, Integers, Task
from worldwidth.tasks.geometry import any_order, cross


def _answer(points: Integers) -> Integers:
    a, b, c, d = (points[:, i] for i in range(4))
    meet = (np.minimum(a, b) <= np.maximum(c, d)) & (np.minimum(c, d) <= np.maximum(a, b))
    # Each segment's ends lie on different sides of the other's line, or on it. With the boxes this
    # also decides the collinear cases and segments that are a single point.
    c_side, d_side, a_side = cross(b - a, c - a), cross(b - a, d - a), cross(c - a, d - a)
    b_side = a_side + c_side - d_side  # = cross(d - c, b - c)
    boxes_meet = meet[:, 0] & meet[:, 1]
    return (boxes_meet & (c_side * d_side <= 0) & (a_side * b_side <= 0)).astype(np.int64)


def _pieces(count: int) -> list[str]:
    return ["cross(", ",", ";", ",", ")="]


def _canonical(cities: Integers) -> Integers:
    ab, cd = any_order(cities[:, :2]), any_order(cities[:, 2:])
    ab_first = ab[:, :1] < cd[:, :1]  # four distinct cities: the smaller ends never tie
    return np.concatenate([np.where(ab_first, ab, cd), np.where(ab_first, cd, ab)], axis=1)


TASK = Task(
    pieces=_pieces,
    answer=_answer,
    canonical=_canonical,
    sizes=(4, 4),
    labels=BOOLEANS,
    balanced=True,
)
