"""Runs side by side, each as numbers with their resamples: every cell of every matrix, over the same test lines.

Beside the study's own matrices (scores.py) there are more, which a comparison needs:
``retention``, fine-tuned models on ordinary cities on the same scale as the scores (1 = as before fine-tuning, 0 = as
the base model on Atlantis); ``skill``, fine-tuned models on Atlantis on a scale that knows no base model
(0 = the best constant answer, 1 = no error); ``log-skill``, the same on a log scale, on which no task can rule a mean;
``base``, the base model's skill on ordinary cities; and where there is a model of no task, ``ftwb1-control``,
``skill-control`` and so on: scores in tasks not trained minus that model's in the same tasks.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from worldwidth.core.errors import WorldwidthError
from worldwidth.core.table import Kind
from worldwidth.data.corpus import POPULATIONS
from worldwidth.dvcio.experiments import Experiment
from worldwidth.dvcio.hashes import Hashes
from worldwidth.evaluation.scores import (
    CONTROL,
    Columns,
    Floats,
    LineScores,
    Study,
    control_of,
    matrix_cells,
    matrix_of,
    resampled_means,
)
from worldwidth.evaluation.tables import UNREADABLE
from worldwidth.settings.paths import EVALUATION_TABLE, SCORES, TRAINING_TABLE
from worldwidth.settings.schema import Settings, finetuned, is_plug_in
from worldwidth.tasks import load_task

RETENTION, SKILL, LOG_SKILL, BASE = "retention", "skill", "log-skill", "base"
_EVALUATIONS: dict[str, Kind] = {
    "model": "text", "task": "text", "population": "text", "n": "count", "constant_mean": "number or none",
}  # fmt: skip
_CURVES: dict[str, Kind] = {
    "model": "text", "step": "count", "tokens": "count", "flops": "count", "loss": "number",
    "validation_loss": "number or none",
}  # fmt: skip
_HASHES = Hashes()
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
    def settings(self) -> Settings:
        """What it ran with."""
        return self.experiment.settings

    @property
    def arch(self) -> str:
        """The architecture."""
        return self.settings.arch

    @property
    def budget(self) -> str:
        """What rules the length of pre-training."""
        return self.settings.budget

    @property
    def replicate(self) -> tuple[int, int]:
        """The seed of initialisation and batch order, and that of the Atlantis draw: runs are paired by both."""
        return replicate_of(self.settings)

    def trained(self, model: str, task: str) -> bool:
        """Whether ``model`` was trained on ``task`` of Atlantis; a base model on ordinary cities always was."""
        return model == "base" or task in self.settings.finetunes[model]


def replicate_of(settings: Settings) -> tuple[int, int]:
    """The seed of initialisation and batch order, and that of the Atlantis draw."""
    return settings.seed, settings.selected.world.atlantis.seed


@dataclass(frozen=True)
class RunFiles:
    """What an experiment holds of what is compared, read and checked."""

    experiment: Experiment
    lines: dict[str, LineScores]
    """model -> its per-line scores, of the models that have them."""
    constants: dict[tuple[str, str], float]
    """(task, population) -> mean score of the best constant answer."""
    curves: pd.DataFrame
    """Training curves of all models."""


def read_run(experiment: Experiment, cache: Path) -> RunFiles:
    """Read an experiment.

    Args:
        cache: DVC's cached files by their hash, where the per-line scores are.

    Raises:
        WorldwidthError: its base model's scores, or its tables, are missing or damaged.
    """
    tests = [(task, population) for task in experiment.settings.tasks for population in POPULATIONS]
    evaluations = experiment.table(EVALUATION_TABLE, _EVALUATIONS)
    of_base = evaluations[evaluations["model"] == "base"].set_index(["task", "population"])
    curves = experiment.table(TRAINING_TABLE, _CURVES)
    for path, wanted, found in (
        (EVALUATION_TABLE, tests, list(of_base.dropna(subset="constant_mean").index)),
        (TRAINING_TABLE, experiment.settings.models, list(curves["model"].unique())),
    ):
        if lacking := [row for row in wanted if found.count(row) != 1]:
            named = " ".join(["base", *lacking[0]]) if path == EVALUATION_TABLE else lacking[0]
            raise WorldwidthError(f"{experiment.name}: its {path} has not one entry of {named}; {experiment.remedy}")
    sizes = {f"{task}.{population}": int(of_base["n"][task, population]) for task, population in tests}
    return RunFiles(
        experiment=experiment,
        lines=_line_scores(experiment, cache, sizes),
        constants={test: float(of_base["constant_mean"][test]) for test in tests},
        curves=curves,
    )


def _line_scores(experiment: Experiment, cache: Path, sizes: dict[str, int]) -> dict[str, LineScores]:
    """model -> its per-line scores, (n,) of each test set as ``sizes`` says; without models that have none."""
    found: dict[str, LineScores] = {}
    for model in experiment.settings.models:
        path = SCORES / f"{model}.npz"
        digest = experiment.outs.get(path.as_posix(), "")
        object_ = cache / digest[:2] / digest[2:]
        content = _HASHES.compare(object_, digest) if digest else "missing"
        if content == "missing":
            continue  # the model is missing, and is shown as that
        try:
            with object_.open("rb") as file, np.lib.npyio.NpzFile(file, allow_pickle=False) as archive:
                scores = {name: archive[name] for name in sizes}
        except UNREADABLE:
            scores = {}
        if content == "wrong" or not all(is_whole(scores.get(name), size) for name, size in sizes.items()):
            raise WorldwidthError(
                f"{experiment.name}: its {path}, {object_} in DVC's cache, is damaged; `worldwidth doctor` says what "
                "to do, or delete it and the same sweep makes it again"
            )
        found[model] = scores
    if "base" not in found:
        raise WorldwidthError(
            f"{experiment.name}: the base model's scores are not in DVC's cache ({cache}); "
            "`dvc exp pull` fetches them, the same sweep makes them again"
        )
    return found


def is_whole(scores: Any, size: int) -> bool:
    """Whether ``scores`` is one finite number for each of ``size`` test lines."""
    if not isinstance(scores, np.ndarray) or scores.shape != (size,) or not np.issubdtype(scores.dtype, np.floating):
        return False
    return bool(np.isfinite(scores).all())


def load_runs(files: list[RunFiles], resamples: int) -> list[RunScores]:
    """Resample the test lines of all runs together: all models of all runs share every resample.

    Raises:
        WorldwidthError: they were scored on different numbers of lines.
    """
    means: dict[str, dict[tuple[int, str], Floats]] = {}
    for task in files[0].experiment.settings.tasks:
        for population in POPULATIONS:
            name = f"{task}.{population}"
            table = {(i, model): scores[name] for i, run in enumerate(files) for model, scores in run.lines.items()}
            sizes = {len(scores) for scores in table.values()}
            if len(sizes) > 1:
                raise WorldwidthError(f"the runs were scored on different numbers of {name} lines: {sorted(sizes)}")
            means[name] = resampled_means(table, resamples, name)
    return [_run(run, i, means) for i, run in enumerate(files)]


def _run(files: RunFiles, index: int, means: dict[str, dict[tuple[int, str], Floats]]) -> RunScores:
    settings, models, constants, curves = files.experiment.settings, files.lines, files.constants, files.curves
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
    for key, values in _cells_over_control(study, drawn):
        drawn[key], raw[key] = values, raw[matrix_of(key[1]), *key[1:]]
    ends = {model: curve.iloc[-1] for model, curve in curves.groupby("model")}
    totals = {
        part: {column: sum(int(ends[model][column]) for model in of_part) for column in ("step", "tokens", "flops")}
        for part, of_part in (("pretraining", ("base",)), ("finetuning", finetuned(settings)))
    }
    return RunScores(
        experiment=files.experiment,
        cells=drawn,
        raw=raw,
        missing=tuple(model for model in settings.models if model not in models),
        curve=curves[curves["model"] == "base"].drop(columns="model"),
        totals=totals,
        parameters=totals["pretraining"]["flops"] // (6 * totals["pretraining"]["tokens"]),  # FLOPs are 6 N D
    )


def over_control(matrix: str) -> str:
    """The matrix of what the scores of ``matrix`` are minus the control's."""
    return f"{matrix}-control"


def _cells_over_control(study: Study, drawn: dict[Key, Floats]) -> list[tuple[Key, Floats]]:
    """What models score above the one of no task, in the tasks that they were not trained in; none without it."""
    control = control_of(study.finetunes)
    if control is None or control not in study.scores:
        return []
    return [
        ((over_control(matrix), model, task), values - drawn[CONTROL if matrix == own else matrix, control, task])
        for (matrix, model, task), values in drawn.items()
        if (own := matrix_of(model)) not in (CONTROL, "base")
        and not is_plug_in(model)
        and task not in study.finetunes[model]
        if matrix in (own, SKILL, LOG_SKILL)
    ]


def _further_cells(
    study: Study,
    columns: dict[str, Columns],
    means: dict[str, dict[tuple[int, str], Floats]],
    index: int,
    constants: dict[tuple[str, str], float],
) -> Iterator[tuple[Key, Floats, float]]:
    """Retention, skill and log skill of the fine-tuned models, and the base model's skill."""
    for task in study.tasks:
        column = columns[task]
        for model in study.scores:
            world = means[f"{task}.world"][index, model]
            if model == "base":
                yield (BASE, model, task), skill(world, constants[task, "world"], column.is_accuracy), float(world[0])
                continue
            atlantis, constant = column.means[model], study.constants[task]
            lines = len(study.scores[model][f"{task}.atlantis"])
            log = log_skill(atlantis, constant, column.is_accuracy, lines)
            yield (RETENTION, model, task), column.normalized(world), float(world[0])
            yield (SKILL, model, task), skill(atlantis, constant, column.is_accuracy), float(atlantis[0])
            yield (LOG_SKILL, model, task), log, float(atlantis[0])


def skill(value: Floats, constant: float, is_accuracy: bool) -> Floats:
    """Skill score over the best constant answer: 0 is no better than it, 1 is no error; NaN where it is perfect.

    1 - v/c for errors, (v - c) / (1 - c) for accuracies (the skill score of forecast verification).
    """
    if (constant >= 1) if is_accuracy else (constant <= 0):
        return np.full_like(value, np.nan)
    return (value - constant) / (1 - constant) if is_accuracy else 1 - value / constant


def log_skill(value: Floats, constant: float, is_accuracy: bool, lines: int) -> Floats:
    """ln(c / v), the error of the best constant answer over the model's; for accuracies of 1 minus each.

    0 is no better than the constant answer, each 0.69 halves the error, and far below 0 the mean of several tasks is
    not ruled by one, as it is where 1 - v/c has no lower bound. An error of 0 counts as half an error of 1 in one of
    the ``lines``; where the constant answer is perfect it is NaN.
    """
    error, reference = (1 - value, 1 - constant) if is_accuracy else (value, constant)
    if reference <= 0:
        return np.full_like(value, np.nan)
    found: Floats = np.log(reference / np.maximum(error, 0.5 / lines))
    return found
