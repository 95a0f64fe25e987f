"""cross(A,B;C,D)= : whether the closed segments AB and CD share a point."""

import numpy as np

from worldwidth.tasks import BOOLEANS, Integers, Task
from worldwidth.tasks.geometry import cross


def _answer(points: Integers) -> Integers:
    a, b, c, d = (points[:, i] for i in range(4))
    boxes_meet = ((np.minimum(a, b) <= np.maximum(c, d)) & (np.minimum(c, d) <= np.maximum(a, b))).all(axis=1)
    # Each segment's ends lie on different sides of the other's line, or on it. With the boxes this
    # also decides the collinear cases and segments that are a single point.
    ab_splits = cross(a, b, c) * cross(a, b, d) <= 0
    cd_splits = cross(c, d, a) * cross(c, d, b) <= 0
    return (boxes_meet & ab_splits & cd_splits).astype(np.int64)


def _pieces(count: int) -> list[str]:
    return ["cross(", ",", ";", ",", ")="]


def _canonical(cities: Integers) -> Integers:
    segments = np.sort(cities.reshape(-1, 2, 2), axis=2)
    swap = segments[:, 0, 0] > segments[:, 1, 0]  # four distinct cities: the smaller ends never tie
    segments[swap] = segments[swap][:, ::-1]
    return segments.reshape(-1, 4)


TASK = Task(
    pieces=_pieces,
    answer=_answer,
    canonical=_canonical,
    sizes=(4, 4),
    labels=BOOLEANS,
    balanced=True,
)
