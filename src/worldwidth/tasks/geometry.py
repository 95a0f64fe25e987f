"""Exact integer geometry on arrays of points, and symmetries of rows of cities."""

import numpy as np
from numpy.typing import NDArray

from worldwidth.tasks import Integers

Floats = NDArray[np.float64]


def cross(first: Integers, second: Integers) -> Integers:
    """Cross product of vectors; (..., 2) each, gives (...)."""
    product: Integers = first[..., 0] * second[..., 1] - first[..., 1] * second[..., 0]
    return product


def dot(first: Integers, second: Integers) -> Integers:
    """Scalar product of vectors; (..., 2) each, gives (...)."""
    product: Integers = first[..., 0] * second[..., 0] + first[..., 1] * second[..., 1]
    return product


def round_to_integer(values: Floats) -> Integers:
    """Round float64 to the nearest integer, halves to even."""
    return np.rint(values).astype(np.int64)


def length(start: Integers, end: Integers) -> Floats:
    """Euclidean length of the segments, float64; the squared length is an exact integer."""
    leg = end - start
    return np.sqrt(dot(leg, leg).astype(np.float64))


def any_order(cities: Integers) -> Integers:
    """Canonical form where the order of all cities is free: each row sorted."""
    columns = list(cities.T)
    for end in range(len(columns) - 1, 0, -1):  # bubble sort of whole columns, much faster than short rows
        for i in range(end):
            columns[i : i + 2] = np.minimum(*columns[i : i + 2]), np.maximum(*columns[i : i + 2])
    return np.array(columns).T


def comma_separated(name: str, count: int) -> list[str]:
    """The texts around ``count`` cities in ``name(c,c,...)=``."""
    return [f"{name}(", *[","] * (count - 1), ")="]
