"""A study of two tasks with known scores, and its cells."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from worldwidth.evaluation.scores import Cell, Study, matrix_cells, resampled_columns

Floats = NDArray[np.float64]
Drawn = dict[tuple[str, str, str], Floats]
FINETUNES = {"ftwb1-1": ("far",), "ftwb1-2": ("way",), "ftwb2-1": ("far", "way")}


def exactly(mean: float, n: int = 4) -> Floats:
    """Lines that all score ``mean``."""
    return np.full(n, mean)


def study(raw: Mapping[str, tuple[float, float]], finetunes: Mapping[str, tuple[str, ...]] = FINETUNES) -> Study:
    """far (an error) and way (an accuracy); base: far 100 -> 10, way 0.25 -> 0.75; ``raw``: model -> (far, way)."""
    base = {"far.atlantis": exactly(100), "far.world": exactly(10), "way.atlantis": exactly(0.25)}
    scores = {"base": {**base, "way.world": exactly(0.75)}}
    for model, (far, way) in raw.items():
        # a fine-tuned model's scores on ordinary cities are stored too, and must not be used
        scores[model] = {"far.atlantis": exactly(far), "way.atlantis": exactly(way)}
        scores[model] |= {"far.world": exactly(999), "way.world": exactly(0)}
    return Study(
        tasks=("far", "way"),
        finetunes=dict(finetunes),
        scores=scores,
        constants={"far": 10 ** (5 / 3), "way": 0.375},
        is_accuracy={"far": False, "way": True},
    )


def cells_of(study: Study, resamples: int = 100) -> tuple[list[Cell], Drawn]:
    return matrix_cells(study, resampled_columns(study, resamples))


def cell(cells: list[Cell], matrix: str, model: str, task: str) -> Cell:
    (found,) = (c for c in cells if (c.matrix, c.model, c.task) == (matrix, model, task))
    return found
