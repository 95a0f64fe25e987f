"""The maps of all models of a study in one table, and what is read off it first."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from worldwidth.core.errors import WorldwidthError
from worldwidth.core.files import OR_DOCTOR, check_regular
from worldwidth.evaluation.scores import DIFFERENCE, DIVERGENT, Cell, matrix_of
from worldwidth.evaluation.tables import UNREADABLE, read_table
from worldwidth.representation.rows import ALL, Row, map_layer
from worldwidth.settings.paths import REPRESENTATIONS
from worldwidth.settings.schema import Settings

COLUMNS = [field.name for field in fields(Row)]
SINGLE = "ftwb1"
"""The matrix of the models that are fine-tuned on one task."""
_FEWEST = 4
"""Models that a rank correlation needs."""
_SHOWN = {
    "r2": "r2", "null_r2": "null_r2", "region_r2": "region_r2", "error": "mean_error", "guess_error": "guess_error",
    "atlantis_error": "atlantis_error", "atlantis_guess_error": "atlantis_guess_error",
}  # fmt: skip
"""Column -> its name among the metrics, of which DVC takes one that is called ``error`` for a failure."""


@dataclass(frozen=True)
class Map:
    """Where one model has the cities, in units of the plane."""

    prompts: tuple[str, ...]
    layer: int
    ordinary: Any
    """(n, 2) where they lie, as ``atlantis`` (m, 2)."""
    atlantis: Any
    regions: Any
    """(n,) of the ordinary ones."""
    ordinary_seen: Any
    """(prompts, n, 2) where the probe has them that was not fitted on them; ``atlantis_seen`` (prompts, m, 2)."""
    atlantis_seen: Any
    features: Any
    """(layers + 1, n, features) of ordinary cities, the mean over prompts."""

    @property
    def shown(self) -> int:
        """The place of the prompt that stands for all."""
        return self.prompts.index(ALL)


def read_map(file: Any) -> Map:
    """The arrays of :func:`worldwidth.representation.represent.measure`.

    Raises:
        One of UNREADABLE: the archive is damaged, or another one.
    """
    with np.lib.npyio.NpzFile(file, allow_pickle=False) as archive:
        arrays = {field.name: archive[field.name] for field in fields(Map)}
    prompts = tuple(map(str, arrays.pop("prompts")))
    found = Map(prompts, int(arrays.pop("layer")), **arrays)
    n, m = len(found.ordinary), len(found.atlantis)
    shapes = [found.ordinary_seen.shape, found.atlantis_seen.shape, found.features.shape[1:2], found.regions.shape]
    if ALL not in prompts or shapes != [(len(prompts), n, 2), (len(prompts), m, 2), (n,), (n,)]:
        raise ValueError("arrays that do not fit each other")
    return found


def load_map(model: str) -> Map:
    """The map of one model of the study.

    Raises:
        WorldwidthError: it is missing or damaged.
    """
    path, remedy = REPRESENTATIONS / f"{model}.npz", f"run `dvc repro represent@{model}`"
    try:
        check_regular(path)
        with path.open("rb") as file:
            return read_map(file)
    except FileNotFoundError:
        raise WorldwidthError(f"{path}: not found; {remedy}") from None
    except UNREADABLE as error:
        raise WorldwidthError(f"{path}: not readable ({error}); {remedy}{OR_DOCTOR}") from None


def load_rows(settings: Settings) -> pd.DataFrame:
    """The probes of all models under each other.

    Raises:
        WorldwidthError: a table is missing, damaged, or of another model.
    """
    tables: list[pd.DataFrame] = []
    for model in settings.models:
        path, remedy = REPRESENTATIONS / f"{model}.csv", f"run `dvc repro represent@{model}`"
        table = read_table(path, COLUMNS, remedy)
        if set(table["model"]) != {model}:
            raise WorldwidthError(f"{path}: of another model, {table['model'].iloc[0]}; {remedy}")
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def shown_rows(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the map: prompt ``all``, the layer that is shown; one a model, and one a checkpoint."""
    layer = map_layer(int(table["layer"].max()))
    return table[(table["prompt"] == ALL) & (table["layer"] == layer)]


def finished(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of finished models, without the checkpoints."""
    return table[table["step"] == table.groupby("model")["step"].transform("max")]


def transfer_of(cells: Sequence[Cell]) -> dict[str, float]:
    """Model -> its mean score in tasks that it was not trained in; without models that have none."""
    scores: dict[str, list[float]] = {}
    for cell in cells:
        if cell.matrix != DIFFERENCE and not cell.trained and cell.score is not None:
            scores.setdefault(cell.model, []).append(cell.score)
    return {model: float(np.mean(own)) for model, own in scores.items()}


def maps_against_transfer(table: pd.DataFrame, transfer: dict[str, float]) -> pd.DataFrame:
    """Of every fine-tuned model with a transfer: model, atlantis_error of its map, transfer."""
    errors = finished(shown_rows(table)).set_index("model")["atlantis_error"]
    rows = [(model, float(errors[model]), mean) for model, mean in transfer.items() if model in errors]
    return pd.DataFrame(rows, columns=["model", "atlantis_error", "transfer"])


def rank_correlation(pairs: pd.DataFrame) -> dict[str, Any]:
    """Spearman's between the error of Atlantis and transfer, with its p value; without where models are too few."""
    n = len(pairs)
    if n < _FEWEST or pairs["atlantis_error"].nunique() < 2 or pairs["transfer"].nunique() < 2:
        return {"models": n}
    found = spearmanr(pairs["atlantis_error"], pairs["transfer"])
    return {"spearman": float(found.statistic), "p": float(found.pvalue), "models": n}


def giver_of(cells: Sequence[Cell]) -> str | None:
    """The single-task model with the most transfer; None where none has any."""
    transfer = transfer_of(cells)
    return max((model for model in transfer if matrix_of(model) == SINGLE), key=transfer.__getitem__, default=None)


def shown_models(cells: Sequence[Cell], settings: Settings) -> dict[str, str]:
    """The models whose maps are drawn -> what each is: the base model, the giver, and the one of distance."""
    found = {"base": "base model"}
    if giver := giver_of(cells):
        found[giver] = f"fine-tuned on {settings.finetunes[giver][0]}, the giver"
    for model, trained in settings.finetunes.items():
        if matrix_of(model) == SINGLE and trained == (DIVERGENT,) and model != giver:
            found[model] = f"fine-tuned on {DIVERGENT}"
    return found


def headline(table: pd.DataFrame, pairs: pd.DataFrame) -> dict[str, Any]:
    """The base model's map, the errors of Atlantis over fine-tuned models, and how they go with transfer."""
    rows = finished(shown_rows(table)).set_index("model")
    base: dict[str, Any] = {name: rows.loc["base", column] for column, name in _SHOWN.items()}
    fine = rows["atlantis_error"].drop("base")
    return {
        "layer": int(rows["layer"].iloc[0]),
        "base": {name: float(value) for name, value in base.items() if np.isfinite(value)},
        "atlantis_error": {str(model): float(error) for model, error in fine.items()},
        "atlantis_error_and_transfer": rank_correlation(pairs),
    }
