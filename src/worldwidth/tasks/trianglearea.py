"""triarea(A,B,C)= : the area of the triangle of three cities."""

import numpy as np

from worldwidth.tasks import Integers, Task
from worldwidth.tasks.geometry import any_order, comma_separated, cross


def _answer(points: Integers) -> Integers:
    doubled = np.abs(cross(points[:, 1] - points[:, 0], points[:, 2] - points[:, 0]))
    half: Integers = doubled // 2
    # Half of all areas end in .5: round those to the even neighbour, in integers.
    half += (doubled % 2) * (half % 2)
    return half


TASK = Task(
    pieces=lambda count: comma_separated("triarea", count),
    answer=_answer,
    canonical=any_order,
    sizes=(3, 3),
    worst_error=(32_400.0, 2),  # half the map, 360 * 180 / 2
    max_new_tokens=30,
)
