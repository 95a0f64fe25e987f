"""The geometric text tasks. A new task is one new module here and one line in params.yaml.

A module ``tasks/NAME.py`` defines ``TASK``. It is imported by name, so that a stage which handles
one task depends on that task's module alone.
"""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from worldwidth.core.errors import WorldwidthError, nearest

Integers = NDArray[np.int64]

BOOLEANS = ("FALSE", "TRUE")


@dataclass(frozen=True, kw_only=True)
class Task:
    """What one task asks and how its answers are judged.

    Shapes: n queries of k cities; ``cities`` (n, k) rows of the cities table, ``points`` (n, k, 2)
    their x and y in units of the plane.
    """

    pieces: Callable[[int], list[str]]
    """k -> the k + 1 texts around the cities, the last one ending in '='."""
    answer: Callable[[Integers], Integers]
    """points -> (n,) the number to print, or the row of ``labels``."""
    canonical: Callable[[Integers], Integers]
    """cities -> (n, k): the same row for queries that differ only by a symmetry of the task."""
    sizes: tuple[int, int] | Literal["hull_cities", "tour_cities"]
    """Fewest and most cities besides ``fixed_cities``, or the corpus setting that holds them."""
    fixed_cities: int = 0
    labels: tuple[str, ...] = ()
    """The possible answers; empty for a number."""
    balanced: bool = False
    """Whether every label is drawn equally often within each k."""
    worst_error: tuple[float, int] = (0.0, 0)
    """Numbers: (error in whole degrees, power of the plane's unit): the score of no answer, and the cap."""
    max_new_tokens: int = 20

    def failure(self, units_per_degree: int) -> float:
        """Score of an answer that is no number, in units of the plane; errors are capped at it."""
        error, power = self.worst_error
        return error * float(units_per_degree) ** power


def available() -> list[str]:
    """Names of the modules in this package that define a task."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name != "geometry")


def load_task(name: str) -> Task:
    """Return the task that ``tasks/NAME.py`` defines.

    Raises:
        WorldwidthError: there is no such module.
    """
    names = available()
    if name not in names:
        raise WorldwidthError(f"task '{name}': not known; allowed: {', '.join(names)}{nearest(name, names)}")
    task = importlib.import_module(f"{__name__}.{name}").TASK
    assert isinstance(task, Task)
    return task
