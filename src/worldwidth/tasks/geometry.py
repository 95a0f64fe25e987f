"""Exact integer geometry on arrays of points, and symmetries of rows of cities."""

import numpy as np
from numpy.typing import NDArray

from worldwidth.tasks import Integers

Floats = NDArray[np.float64]


def cross(origin: Integers, first: Integers, second: Integers) -> Integers:
    """Cross product of ``first - origin`` and ``second - origin``; (..., 2) each, gives (...)."""
    a, b = first - origin, second - origin
    product: Integers = a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
    return product


def round_to_integer(values: Floats) -> Integers:
    """Round float64 to the nearest integer, halves to even."""
    return np.rint(values).astype(np.int64)


def length(start: Integers, end: Integers) -> Floats:
    """Euclidean length of the segments, float64; the squared length is an exact integer."""
    squared: Integers = ((end - start) ** 2).sum(axis=-1)
    return np.sqrt(squared.astype(np.float64))


def any_order(cities: Integers) -> Integers:
    """Canonical form where the order of all cities is free."""
    return np.sort(cities, axis=1)


def comma_separated(name: str, count: int) -> list[str]:
    """The texts around ``count`` cities in ``name(c,c,...)=``."""
    return [f"{name}(", *[","] * (count - 1), ")="]
