"""Which task spoils what is learned beside it, and which tasks give and take: means over cells of every run.

A pair's gain is the score of a model of two tasks minus that of the better single-task model (``difference`` in
evaluation/scores.py). Pairs with the divergent task are set against pairs without it, replicate by replicate.
"""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from worldwidth.comparison.cells import Groups, mean_over, measurable_in_all, over_replicates
from worldwidth.comparison.runs import Key, RunScores, over_control
from worldwidth.comparison.statistics import Estimate, few_objects_to_collect, holm, verdict
from worldwidth.evaluation.scores import DIFFERENCE, DIVERGENT, control_of, matrix_of
from worldwidth.settings.schema import Settings, is_plug_in

WITH, WITHOUT, CONTRAST = f"with {DIVERGENT}", f"without {DIVERGENT}", "with minus without"
GIVER, TAKER = "giver", "taker"
SCOPES: dict[str, bool | None] = {"trained": True, "other": False, "all": None}
"""Tasks that the pair was trained on, the others, and both together."""


def divergence_table(groups: Groups) -> pd.DataFrame:
    """The gains of pairs with the divergent task, of those without it, and their difference.

    One row per arm, level, ``pairs`` and ``tasks``: models, cells, n, mean, sd, low, high, line_se over replicates;
    of the difference p, Holm over the levels of an arm, and the verdict. Empty without pairs of both kinds.
    """
    found = [row for place, runs in groups.items() for row in _gains(place, runs)]
    families: dict[tuple[str, str], list[tuple[Estimate, dict[str, Any]]]] = {}
    for result, row in found:
        if row["pairs"] == CONTRAST:
            families.setdefault((row["arm"], row["tasks"]), []).append((result, row))
    with few_objects_to_collect():
        for tests in families.values():
            adjusted = holm([result.p for result, _ in tests])
            for (result, row), p in zip(tests, adjusted, strict=True):
                row |= {"p": result.p, "p_holm": p, "verdict": verdict(result, p, f"pairs {WITH}")}
    return pd.DataFrame([row for _, row in found])


def _gains(place: tuple[str, str], runs: list[RunScores]) -> Iterator[tuple[Estimate, dict[str, Any]]]:
    """The rows of one arm and level."""
    finetunes = runs[0].settings.finetunes
    pairs = [model for model, trained in finetunes.items() if len(trained) == 2]
    models = {
        WITH: [model for model in pairs if DIVERGENT in finetunes[model]],
        WITHOUT: [model for model in pairs if DIVERGENT not in finetunes[model]],
    }
    if not all(models.values()):
        return
    for tasks, trained in SCOPES.items():
        keys = {name: measurable_in_all(runs, _cells(runs[0], of, trained)) for name, of in models.items()}
        drawn = {name: [mean_over(run, own) for run in runs] for name, own in keys.items()}
        drawn[CONTRAST] = [one - other for one, other in zip(drawn[WITH], drawn[WITHOUT], strict=True)]
        for name, values in drawn.items():
            used = [name] if name in keys else list(keys)
            result, columns = over_replicates(values)
            sizes = {"models": sum(len(models[key]) for key in used), "cells": sum(len(keys[key]) for key in used)}
            place_of = {"arm": place[0], "level": place[1], "pairs": name, "tasks": tasks}
            yield result, {**place_of, **sizes, **columns}


def _cells(run: RunScores, models: list[str], trained: bool | None) -> list[Key]:
    """The cells of ``difference`` of these models: of tasks trained, of the others, or all."""
    tasks = run.settings.tasks
    return [
        (DIFFERENCE, model, task)
        for model in models
        for task in tasks
        if trained is None or run.trained(model, task) == trained
    ]


def single_tasks(settings: Settings) -> dict[str, dict[str, str]]:
    """Matrix -> task -> the model that is trained on this task alone; of matrices with two such models or more.

    That of plug-ins comes last: the first is what tables and figures are about.
    """
    found: dict[str, dict[str, str]] = {}
    for model in sorted(settings.finetunes, key=is_plug_in):
        trained = settings.finetunes[model]
        if len(trained) == 1:
            found.setdefault(matrix_of(model), {})[trained[0]] = model
    return {matrix: models for matrix, models in found.items() if len(models) > 1}


def transfer_cells(matrix: str, models: dict[str, str], tasks: tuple[str, ...]) -> list[tuple[str, Key]]:
    """(task trained, cell) of every model of one task in every other task.

    Args:
        matrix: whose cells.
        models: task -> the model that is trained on it alone.
        tasks: those that are evaluated.
    """
    return [(own, (matrix, model, task)) for own, model in models.items() for task in tasks if task != own]


def giver_table(groups: Groups) -> pd.DataFrame:
    """What a task gives to the others (mean of its model's transfer cells) and what it takes (that of its column).

    Minus the control's score in the same task, where there is a control; a plug-in has none, for it learns from no
    warm-up line. One row per arm, level, matrix, role and task:
    minus_control, cells, n, mean, sd, low, high, line_se over replicates.
    """
    return pd.DataFrame([row for place, runs in groups.items() for row in _giver_rows(place, runs)])


def _giver_rows(place: tuple[str, str], runs: list[RunScores]) -> Iterator[dict[str, Any]]:
    settings = runs[0].settings
    for matrix, models in single_tasks(settings).items():
        controlled = control_of(settings.finetunes) is not None and not is_plug_in(matrix)
        cells = transfer_cells(over_control(matrix) if controlled else matrix, models, settings.tasks)
        for role in (GIVER, TAKER):
            for task in settings.tasks:
                own = [key for given_by, key in cells if (given_by if role == GIVER else key[2]) == task]
                keys = measurable_in_all(runs, own)
                if own:
                    yield {
                        "arm": place[0],
                        "level": place[1],
                        "matrix": matrix,
                        "minus_control": controlled,
                        "role": role,
                        "task": task,
                        "cells": len(keys),
                        **over_replicates([mean_over(run, keys) for run in runs])[1],
                    }
