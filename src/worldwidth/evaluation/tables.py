"""The study's tables: read what the stages left per model, write the four small files that live in git."""

import io
import struct
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from worldwidth.core.errors import WorldwidthError
from worldwidth.core.files import OR_DOCTOR, check_regular, read_json, read_text, write_text
from worldwidth.data.corpus import POPULATIONS
from worldwidth.evaluation.scores import (
    CONTROL,
    DIFFERENCE,
    Cell,
    LineScores,
    Study,
    block_statistics,
    control_of,
    matrix_cells,
    minus_control,
    resampled_columns,
)
from worldwidth.settings.names import stage_of
from worldwidth.settings.paths import CURVES, EVALUATIONS, MATRICES, SCORES
from worldwidth.settings.schema import Settings, finetuned, is_plug_in
from worldwidth.tasks import load_task

UNREADABLE = (ValueError, OSError, EOFError, RuntimeError, KeyError, struct.error, zipfile.BadZipFile, zlib.error)
"""What numpy and zipfile raise over damaged archives; RuntimeError when a bit says that it is encrypted."""

ABOVE = "transfer_minus_control"
CURVE_COLUMNS = ["step", "tokens", "flops", "loss", "learning_rate", "validation_loss", "gradient_norm", "order"]


def load_evaluation(model: str, tasks: tuple[str, ...]) -> dict[str, Any]:
    """The statistics of one model: task -> population -> values, ``multitask``, and ``model``: its name and weights.

    Raises:
        WorldwidthError: the file is missing, damaged, or of other tasks or another model.
    """
    path, remedy = EVALUATIONS / f"{model}.json", f"run `dvc repro evaluate@{model}`"
    report = read_json(path, remedy)
    try:
        whole = all(isinstance(report[task][p]["mean"], float) for task in tasks for p in POPULATIONS)
        whole = whole and "exact_match" in report["multitask"] and report.keys() == {*tasks, "multitask", "model"}
        whole = whole and report["model"].keys() == {"name", "weights"}
    except (AttributeError, KeyError, TypeError):
        whole = False
    if not whole:
        raise WorldwidthError(f"{path}: not the evaluations of {', '.join(tasks)}; {remedy}")
    if report["model"]["name"] != model:
        raise WorldwidthError(f"{path}: of another model, {report['model']['name']}; {remedy}")
    assert isinstance(report, dict)
    return report


def load_scores(model: str, weights: str, lines: dict[str, int]) -> LineScores:
    """The per-line scores of one model, ``"distance.world"`` -> (n,); ``lines`` says how large each n must be.

    Args:
        weights: SHA-256 of the weights that the model's evaluations are of.

    Raises:
        WorldwidthError: they are missing, damaged, or those of another model or of other test sets.
    """
    path, remedy = SCORES / f"{model}.npz", f"run `dvc repro evaluate@{model}`"
    try:
        check_regular(path)
        with path.open("rb") as file, np.lib.npyio.NpzFile(file, allow_pickle=False) as archive:
            scores = {key: archive[key] for key in archive.files}
    except FileNotFoundError:
        raise WorldwidthError(f"{path}: not found; {remedy}") from None
    except UNREADABLE as error:
        raise WorldwidthError(f"{path}: not readable ({error}); {remedy}{OR_DOCTOR}") from None
    whose = [str(word) for word in scores.pop("model", np.array([])).flat]
    if whose != [model, weights]:
        which = "other weights than its evaluations" if model in whose else " ".join(["another model", *whose[:1]])
        raise WorldwidthError(f"{path}: of {which}; {remedy}")
    found = {key: values.size for key, values in scores.items() if values.ndim == 1 and values.dtype.kind == "f"}
    if found != lines:
        raise WorldwidthError(f"{path}: not the test lines that the base model was scored on; {remedy}")
    return scores


def read_table(path: Path, columns: list[str], remedy: str) -> pd.DataFrame:
    """Read a CSV table with exactly ``columns``; an empty field is NaN, no text is taken for a missing value.

    Raises:
        WorldwidthError: it is missing, cut off, or not such a table.
    """
    try:
        text = read_text(path)
        table = pd.read_csv(io.StringIO(text), keep_default_na=False, na_values=[""])
    except FileNotFoundError:
        raise WorldwidthError(f"{path}: not found; {remedy}") from None
    except (OSError, ValueError) as error:
        raise WorldwidthError(f"{path}: not readable as a table ({error}); {remedy}") from None
    if list(table.columns) != columns or table.empty or not text.endswith("\n"):
        raise WorldwidthError(f"{path}: not a whole table of {', '.join(columns)}; {remedy}")
    return table


def load_curve(model: str) -> pd.DataFrame:
    """The training curve of one model, all columns numbers but ``order``.

    Raises:
        WorldwidthError: it is missing, damaged, or not such a table.
    """
    path, remedy = CURVES / f"{model}.csv", f"run `dvc repro {stage_of(model)}`"
    table = read_table(path, CURVE_COLUMNS, remedy)
    if not all(map(pd.api.types.is_numeric_dtype, table.drop(columns="order").dtypes)) or table["flops"].isna().any():
        raise WorldwidthError(f"{path}: holds text where a number belongs; {remedy}")
    return table


def load_study(settings: Settings, models: tuple[str, ...]) -> Study:
    """Read what the matrices need of ``models``, the base model among them.

    Raises:
        WorldwidthError: a file is missing, of another model, of other tasks or of other test lines.
    """
    reports = {model: load_evaluation(model, settings.tasks) for model in models}
    base = reports["base"]
    lines = {f"{task}.{p}": base[task][p]["n"] for task in settings.tasks for p in POPULATIONS}
    scores = {model: load_scores(model, report["model"]["weights"], lines) for model, report in reports.items()}
    return Study(
        tasks=settings.tasks,
        finetunes=settings.finetunes,
        scores=scores,
        constants={task: base[task]["atlantis"]["constant_mean"] for task in settings.tasks},
        is_accuracy={task: bool(load_task(task).labels) for task in settings.tasks},
    )


def compute_matrices(study: Study, resamples: int) -> tuple[list[Cell], dict[str, Any]]:
    """All cells, and the headline statistics by matrix.

    The statistics are over unclipped scores. ``constant`` is the mean normalised score that the best constant
    answers would reach: what a model gets for giving up on geometry. ``transfer_minus_control``, where a model of no
    task is there, is over the cells of ``transfer``, each minus the control's score on that task: what a task adds to
    the warm-up lines.
    """
    columns = resampled_columns(study, resamples)
    cells, drawn = matrix_cells(study, columns)
    control = control_of(study.finetunes)
    above = minus_control(drawn, control) if control and control in study.scores else {}
    headline: dict[str, Any] = {}
    for name in dict.fromkeys(cell.matrix for cell in cells):
        rows = [cell for cell in cells if cell.matrix == name]
        blocks = {"trained": [c for c in rows if c.trained], "transfer": [c for c in rows if not c.trained]}
        if name == DIFFERENCE:
            blocks["overall"] = rows
        elif above and name != CONTROL and not is_plug_in(name):
            blocks[ABOVE] = blocks["transfer"]
        entry = headline[name] = {}
        for block, chosen in ((block, chosen) for block, chosen in blocks.items() if chosen):
            statistics = block_statistics(chosen, above if block == ABOVE else drawn)
            entry[block] = statistics["mean"]
            entry[f"{block}_std"] = statistics["std"]
            entry[f"{block}_se"] = statistics["standard_error"]
        constants = [cell.constant_score for cell in rows if cell.constant_score is not None]
        if name != DIFFERENCE:
            entry["constant"] = float(np.mean(constants)) if constants else None
        entry["measurable"] = sum(cell.measurable for cell in rows)
        entry["cells"] = len(rows)
    return cells, headline


def compute_summary(settings: Settings) -> dict[str, Any]:
    """Parameters, steps, tokens and FLOPs, from the last rows of the training curves."""
    curves = {model: load_curve(model) for model in settings.models}

    def total(column: str, models: tuple[str, ...]) -> int:
        return sum(int(curves[model][column].iloc[-1]) for model in models)

    base = ("base",)
    parts = {"pretraining": base, "finetuning": finetuned(settings)}
    if plug_ins := tuple(filter(is_plug_in, settings.finetunes)):
        parts["plug_in"] = plug_ins
    return {
        "parameters": total("flops", base) // (6 * total("tokens", base)),  # the curve counts 6 N FLOPs a token
        **{
            part: {column: total(column, models) for column in ("step", "tokens", "flops")}
            for part, models in parts.items()
        },
    }


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV; an empty field where there is no number."""
    write_text(path, table.to_csv(index=False, lineterminator="\n"))


def check_models(models: Iterable[str], settings: Settings, path: Path) -> None:
    """Refuse a table of other models than those of params.yaml; the base model need not be in it.

    Raises:
        WorldwidthError: the table at ``path`` is such a one.
    """
    for model in sorted({"base", *models} ^ set(settings.models)):
        found = "no rows of" if model in settings.models else "another study's"
        raise WorldwidthError(f"{path}: {found} {model}; run `dvc repro summarize`{OR_DOCTOR}")


def cells_table(cells: list[Cell]) -> pd.DataFrame:
    """The long table of cells, one row a cell."""
    return pd.DataFrame([asdict(cell) for cell in cells])


def read_cells(path: Path = MATRICES) -> list[Cell]:
    """Read back the table of cells."""
    remedy = "run `dvc repro summarize`"
    table = read_table(path, [field.name for field in fields(Cell)], remedy)
    if table[["matrix", "model", "task", "trained", "raw", "measurable"]].isna().any(axis=None):
        raise WorldwidthError(f"{path}: a field is empty; {remedy}")
    records = table.astype(object).replace({np.nan: None}).to_dict("records")
    return [Cell(**{str(key): value for key, value in record.items()}) for record in records]


def evaluation_table(settings: Settings) -> pd.DataFrame:
    """One row a model and test set, the multi-task mixture (task ``all``) and its parts included."""
    rows: list[dict[str, Any]] = []
    for model in settings.models:
        report = load_evaluation(model, settings.tasks)
        sets = [(task, population, report[task][population]) for task in settings.tasks for population in POPULATIONS]
        parts = {task: values for task, values in report["multitask"].items() if isinstance(values, dict)}
        whole = {key: report["multitask"][key] for key in ("exact_match", "n")}
        sets += [(task, "multitask", values) for task, values in {**parts, "all": whole}.items()]
        rows += [
            {"model": model, "task": task, "population": population, **values} for task, population, values in sets
        ]
    return pd.DataFrame(rows)


def training_table(settings: Settings) -> pd.DataFrame:
    """The training curves of all models under each other."""
    tables = [load_curve(model).assign(model=model) for model in settings.models]
    return pd.concat(tables, ignore_index=True)[["model", *CURVE_COLUMNS]]
