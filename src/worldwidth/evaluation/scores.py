"""From evaluations to the matrices: normalised improvement, what was to be expected, and standard errors.

Normalised improvement of a fine-tuned mean v over the base model's means b_A (Atlantis) and b_N (ordinary
cities): ln(b_A / v) / ln(b_A / b_N) for errors, (v - b_A) / (b_N - b_A) for accuracies. 0 is as the base
model on Atlantis, 1 as good as it is on ordinary cities. Where b_N is no better than b_A, or a logarithm
is undefined, a cell is not measurable: it has no score and counts in no mean.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from worldwidth.data.random_streams import stream
from worldwidth.settings.schema import is_plug_in

Floats = NDArray[np.float64]
LineScores = dict[str, Floats]
"""``"distance.world"`` -> per-line scores (n,), of one model."""

DIFFERENCE = "difference"
DIVERGENT = "distance"
"""The task that arXiv 2602.00533, "Convergent World Representations and Divergent Tasks", found to harm the integration
of new entities. Where a study does not have it, there is nothing to set apart."""
CONTROL = "ftwb0"
"""The matrix of the model that is trained on no task: what the warm-up lines alone give."""

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One trained model on one task of Atlantis. Scores are unclipped; None is not measurable."""

    matrix: str
    """plug1, plug7, ftwb0, ftwb1, ... or ``difference`` (score minus expected)."""
    model: str
    task: str
    trained: bool
    raw: float
    base_atlantis: float
    base_world: float
    constant: float
    """Mean score of the best constant answer on the same lines, in raw units."""
    constant_score: float | None
    """``constant`` as normalised improvement."""
    score: float | None
    standard_error: float | None
    """Of ``score``, over test lines: paired bootstrap, the base model's means resampled too."""
    expected: float | None
    """Score of the better single-task specialist, for models trained on several tasks."""
    measurable: bool


@dataclass(frozen=True)
class Study:
    """Everything the matrices are computed from."""

    tasks: tuple[str, ...]
    finetunes: dict[str, tuple[str, ...]]
    scores: dict[str, LineScores]
    """model -> its per-line scores; a model may be missing in a half-finished study."""
    constants: dict[str, float]
    """task -> mean score of the best constant answer on Atlantis."""
    is_accuracy: dict[str, bool]
    """task -> whether a higher score is better."""


def normalized(value: Floats, base_atlantis: Floats, base_world: Floats, is_accuracy: bool) -> Floats:
    """Normalised improvement, elementwise; NaN where it is not measurable."""
    value, base_atlantis, base_world = (np.asarray(x, dtype=np.float64) for x in (value, base_atlantis, base_world))
    with np.errstate(divide="ignore", invalid="ignore"):
        if is_accuracy:
            score = (value - base_atlantis) / (base_world - base_atlantis)
            sound = base_world > base_atlantis
        else:
            score = np.log(base_atlantis / value) / np.log(base_atlantis / base_world)
            sound = (value > 0) & (base_world > 0) & (base_world < base_atlantis)
    return np.where(sound, score, np.nan)


@dataclass(frozen=True)
class Columns:
    """One evaluated task: means of every model on its lines, as measured (index 0) and resampled."""

    means: dict[str, Floats]
    """model -> (1 + resamples,) mean scores on Atlantis."""
    base_world: Floats
    """(1 + resamples,) mean score of the base model on ordinary cities."""
    is_accuracy: bool

    def score(self, model: str) -> Floats:
        """(1 + resamples,) normalised improvement of ``model``."""
        return self.normalized(self.means[model])

    def normalized(self, values: Floats) -> Floats:
        """Normalised improvement of raw means of this task, (1 + resamples,) or (1,)."""
        return normalized(values, self.means["base"][: len(values)], self.base_world[: len(values)], self.is_accuracy)


def resampled_columns(study: Study, resamples: int) -> dict[str, Columns]:
    """Bootstrap every task's test lines: all models share a resample, so that comparisons stay paired."""
    columns: dict[str, Columns] = {}
    for task in study.tasks:
        atlantis = {model: lines[f"{task}.atlantis"] for model, lines in study.scores.items()}
        world = study.scores["base"][f"{task}.world"]
        columns[task] = Columns(
            means=resampled_means(atlantis, resamples, f"{task}.atlantis"),
            base_world=resampled_means({"base": world}, resamples, f"{task}.world")["base"],
            is_accuracy=study.is_accuracy[task],
        )
    return columns


def resampled_means(lines: dict[Key, Floats], resamples: int, name: str) -> dict[Key, Floats]:
    """Mean of every entry's lines: first as they are, then ``resamples`` times drawn with replacement."""
    table = np.stack(list(lines.values()), axis=1)  # (n, models)
    rng, n = stream(0, "bootstrap", name), len(table)
    means = [table.mean(axis=0, keepdims=True)]
    for start in range(0, resamples, 200):  # in pieces: the weights of one piece are 200 x n
        weights = rng.multinomial(n, np.full(n, 1 / n), size=min(200, resamples - start))
        means.append(weights @ table / n)
    return dict(zip(lines, np.concatenate(means).T, strict=True))


def matrix_cells(study: Study, columns: dict[str, Columns]) -> tuple[list[Cell], dict[tuple[str, str, str], Floats]]:
    """All cells, matrix by matrix, and their scores (1 + resamples,) by (matrix, model, task).

    Rows of models that are missing, and differences that lack a specialist, are left out.
    """
    cells: list[Cell] = []
    drawn: dict[tuple[str, str, str], Floats] = {}
    differences: list[Cell] = []
    constant_scores = {
        task: _number(column.normalized(np.array([study.constants[task]]))[0]) for task, column in columns.items()
    }
    for model, trained in study.finetunes.items():
        if model not in study.scores:
            continue
        for task in study.tasks:
            column, score = columns[task], columns[task].score(model)
            specialist = None if is_plug_in(model) else _better_specialist(study, column, trained)
            expected = column.score(specialist) if specialist else np.full_like(score, np.nan)

            def cell(
                matrix: str, values: Floats, expected: Floats = expected, task: str = task, model: str = model
            ) -> Cell:
                point, drawn[matrix, model, task] = values[0], values
                return Cell(
                    matrix=matrix,
                    model=model,
                    task=task,
                    trained=task in study.finetunes[model],
                    raw=float(columns[task].means[model][0]),
                    base_atlantis=float(columns[task].means["base"][0]),
                    base_world=float(columns[task].base_world[0]),
                    constant=study.constants[task],
                    constant_score=constant_scores[task],
                    score=_number(point),
                    standard_error=_standard_error(values),
                    expected=_number(expected[0]),
                    measurable=bool(np.isfinite(point)),
                )

            cells.append(cell(matrix_of(model), score))
            if specialist:
                differences.append(cell(DIFFERENCE, score - expected))
    return cells + differences, drawn


def matrix_of(model: str) -> str:
    """The matrix a model is a row of: ftwb2-12 -> ftwb2."""
    return model.split("-")[0]


def matrix_names(finetunes: dict[str, tuple[str, ...]]) -> list[str]:
    """The matrices to draw: plug1, ftwb1, ftwb2, ... in their order, and ``difference`` where there are specialists.

    Those that ``rows_below`` puts below another have none of their own.
    """
    names = list(dict.fromkeys(map(matrix_of, finetunes)))
    below = {matrix_of(row) for name in names for row in rows_below(finetunes, name)}
    return [name for name in names if name not in below] + [DIFFERENCE] * bool(compared_with_specialists(finetunes))


def rows_below(finetunes: dict[str, tuple[str, ...]], name: str) -> list[str]:
    """The models that are the last rows of matrix ``name`` though they are not of it.

    Below the first one of fine-tuned models: the control. Below the first one of plug-ins: all further plug-ins.
    """
    of_kind = [model for model in finetunes if is_plug_in(model) == is_plug_in(name)]
    first = next((matrix_of(model) for model in of_kind if finetunes[model]), None)
    if name != first:
        return []
    if is_plug_in(name):
        return [model for model in of_kind if matrix_of(model) != name]
    return [model for model in of_kind if not finetunes[model]]


def compared_with_specialists(finetunes: dict[str, tuple[str, ...]]) -> list[str]:
    """The models of several tasks whose scores are compared with those of single-task models."""
    return [model for model, trained in finetunes.items() if len(trained) > 1 and not is_plug_in(model)]


def control_of(finetunes: dict[str, tuple[str, ...]]) -> str | None:
    """The model that is fine-tuned on no task, if there is one."""
    return next((model for model, trained in finetunes.items() if not trained), None)


def minus_control(drawn: dict[tuple[str, str, str], Floats], control: str) -> dict[tuple[str, str, str], Floats]:
    """Every score minus that of ``control`` on the same task and the same lines, (1 + resamples,)."""
    return {place: values - drawn[CONTROL, control, place[2]] for place, values in drawn.items()}


def _better_specialist(study: Study, column: Columns, trained: tuple[str, ...]) -> str | None:
    """The single-task model with the better raw mean on this column; None for one task or a missing one."""
    alone = {only: name for name, only in study.finetunes.items() if not is_plug_in(name)}
    specialists = [alone[task,] for task in trained if (task,) in alone]
    if len(trained) < 2 or len(specialists) < len(trained) or not all(name in column.means for name in specialists):
        return None
    better = max if column.is_accuracy else min
    return better(specialists, key=lambda name: column.means[name][0])


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _standard_error(values: Floats) -> float | None:
    """Spread of the resampled scores; None when the cell, or a tenth of its resamples, is not measurable."""
    drawn = values[1:][np.isfinite(values[1:])]
    if not np.isfinite(values[0]) or len(drawn) < 0.9 * (len(values) - 1):
        return None
    return float(drawn.std())


def block_statistics(cells: list[Cell], drawn: dict[tuple[str, str, str], Floats]) -> dict[str, float | int | None]:
    """Mean, population std over cells, standard error of the mean over test lines, and the measurable cells.

    Args:
        drawn: what is averaged: the scores of the cells, (1 + resamples,), or what was made of them.
    """
    values = [drawn[cell.matrix, cell.model, cell.task] for cell in cells]
    used = [of_cell for of_cell in values if np.isfinite(of_cell[0])]
    if not used:
        return {"mean": None, "std": None, "standard_error": None, "cells": 0}
    table = np.array(used)
    return {
        "mean": float(table[:, 0].mean()),
        "std": float(table[:, 0].std()),
        "standard_error": _standard_error(table.mean(axis=0)),
        "cells": len(used),
    }
