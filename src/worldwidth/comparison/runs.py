"""Runs side by side, each as numbers with their resamples: every cell of every matrix, over the same test lines.

Beside the study's own matrices (scores.py) there are three more, which a comparison of widths needs:
``retention``, fine-tuned models on ordinary cities on the same scale as the scores (1 = as before fine-tuning, 0 = as
the base model on Atlantis); ``skill``, fine-tuned models on Atlantis on a scale that knows no base model
(0 = the best constant answer, 1 = no error); and ``base``, the base model's skill on ordinary cities.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from worldwidth.core.errors import WorldwidthError
from worldwidth.data.corpus import POPULATIONS
from worldwidth.dvcio.experiments import Experiment
from worldwidth.evaluation.scores import Columns, Floats, LineScores, Study, matrix_cells, resampled_means
from worldwidth.evaluation.tables import UNREADABLE
from worldwidth.settings.paths import EVALUATION_TABLE, SCORES, TRAINING_TABLE
from worldwidth.tasks import load_task

RETENTION, SKILL, BASE = "retention", "skill", "base"
Key = tuple[str, str, str]
"""(matrix, model, task)."""


@dataclass(frozen=True)
class RunScores:
    """One finished run."""

    experiment: Experiment
    cells: dict[Key, Floats]
    """(1 + resamples,): as measured, then over resampled test lines; NaN is not measurable."""
    raw: dict[Key, float]
    """Mean score in the task's own unit, of the same cells."""
    missing: tuple[str, ...]
    """Models whose per-line scores are not to be had."""
    curve: pd.DataFrame
    """The pre-training curve."""
    totals: dict[str, dict[str, int]]
    """``pretraining`` and ``finetuning`` (all its models) -> step, tokens, flops."""
    parameters: int

    @property
    def arch(self) -> str:
        """The width variant."""
        return self.experiment.settings.arch

    @property
    def budget(self) -> str:
        """The compute arm."""
        return self.experiment.settings.budget

    @property
    def seed(self) -> int:
        """Of initialisation and batch order."""
        return self.experiment.settings.seed

    def trained(self, model: str, task: str) -> bool:
        """Whether ``model`` was trained on ``task`` of Atlantis; a base model on ordinary cities always was."""
        return model == "base" or task in self.experiment.settings.finetunes[model]


def load_runs(experiments: list[Experiment], cache: Path, resamples: int) -> list[RunScores]:
    """Read experiments and resample their test lines together: all models of all runs share every resample.

    Args:
        cache: DVC's cached files by their hash, where the per-line scores are.

    Raises:
        WorldwidthError: a run has no base model's scores, or its tables are missing.
    """
    tasks = experiments[0].settings.tasks
    lines = [_line_scores(experiment, cache) for experiment in experiments]
    means: dict[str, dict[tuple[int, str], Floats]] = {}
    for task in tasks:
        for population in POPULATIONS:
            name = f"{task}.{population}"
            table = {(i, model): scores[name] for i, models in enumerate(lines) for model, scores in models.items()}
            sizes = {len(scores) for scores in table.values()}
            if len(sizes) > 1:
                raise WorldwidthError(f"the runs were scored on different numbers of {name} lines: {sorted(sizes)}")
            means[name] = resampled_means(table, resamples, name)
    return [
        _run(experiment, i, models, means)
        for i, (experiment, models) in enumerate(zip(experiments, lines, strict=True))
    ]


def _line_scores(experiment: Experiment, cache: Path) -> dict[str, LineScores]:
    """model -> its per-line scores, of the models that have them."""
    names = [f"{task}.{population}" for task in experiment.settings.tasks for population in POPULATIONS]
    found: dict[str, LineScores] = {}
    for model in experiment.settings.models:
        digest = experiment.outs.get((SCORES / f"{model}.npz").as_posix(), "")
        path = cache / digest[:2] / digest[2:]
        try:
            with path.open("rb") as file, np.lib.npyio.NpzFile(file, allow_pickle=False) as archive:
                found[model] = {name: archive[name] for name in names}
        except UNREADABLE:
            continue  # the model is missing, and is shown as that
    if "base" not in found:
        raise WorldwidthError(
            f"{experiment.name}: the base model's scores are not in DVC's cache ({cache}); "
            "`dvc exp pull` fetches them, `make widths` makes them again"
        )
    return found


def _run(
    experiment: Experiment, index: int, models: dict[str, LineScores], means: dict[str, dict[tuple[int, str], Floats]]
) -> RunScores:
    settings = experiment.settings
    of_base = experiment.table(EVALUATION_TABLE).query("model == 'base'").set_index(["task", "population"])
    constants = {(task, p): float(of_base["constant_mean"][task, p]) for task in settings.tasks for p in POPULATIONS}
    study = Study(
        tasks=settings.tasks,
        finetunes=settings.finetunes,
        scores=models,
        constants={task: constants[task, "atlantis"] for task in settings.tasks},
        is_accuracy={task: bool(load_task(task).labels) for task in settings.tasks},
    )
    columns = {
        task: Columns(
            means={model: means[f"{task}.atlantis"][index, model] for model in models},
            base_world=means[f"{task}.world"][index, "base"],
            is_accuracy=study.is_accuracy[task],
        )
        for task in settings.tasks
    }
    cells, drawn = matrix_cells(study, columns)
    raw = {(cell.matrix, cell.model, cell.task): cell.raw for cell in cells}
    for key, values, mean in _further_cells(study, columns, means, index, constants):
        drawn[key], raw[key] = values, mean
    curves = experiment.table(TRAINING_TABLE)
    ends = {model: curve.iloc[-1] for model, curve in curves.groupby("model")}
    totals = {
        part: {column: sum(int(ends[model][column]) for model in of_part) for column in ("step", "tokens", "flops")}
        for part, of_part in (("pretraining", ("base",)), ("finetuning", tuple(settings.finetunes)))
    }
    return RunScores(
        experiment=experiment,
        cells=drawn,
        raw=raw,
        missing=tuple(model for model in settings.models if model not in models),
        curve=curves[curves["model"] == "base"].drop(columns="model"),
        totals=totals,
        parameters=totals["pretraining"]["flops"] // (6 * totals["pretraining"]["tokens"]),  # FLOPs are 6 N D
    )


def _further_cells(
    study: Study,
    columns: dict[str, Columns],
    means: dict[str, dict[tuple[int, str], Floats]],
    index: int,
    constants: dict[tuple[str, str], float],
) -> Iterator[tuple[Key, Floats, float]]:
    """Retention and skill of the fine-tuned models, and the base model's skill."""
    for task in study.tasks:
        column = columns[task]
        for model in study.scores:
            world = means[f"{task}.world"][index, model]
            if model == "base":
                yield (BASE, model, task), skill(world, constants[task, "world"], column.is_accuracy), float(world[0])
                continue
            atlantis = column.means[model]
            yield (RETENTION, model, task), column.normalized(world), float(world[0])
            yield (SKILL, model, task), skill(atlantis, study.constants[task], column.is_accuracy), float(atlantis[0])


def skill(value: Floats, constant: float, is_accuracy: bool) -> Floats:
    """Skill score over the best constant answer: 0 is no better than it, 1 is no error; NaN where it is perfect.

    1 - v/c for errors, (v - c) / (1 - c) for accuracies (the skill score of forecast verification).
    """
    if (constant >= 1) if is_accuracy else (constant <= 0):
        return np.full_like(value, np.nan)
    return (value - constant) / (1 - constant) if is_accuracy else 1 - value / constant
