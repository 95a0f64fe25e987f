"""Where the models of a study have Atlantis, against what they transfer: the tables behind the figures.

pytest tests/test_representation_tables.py
"""

import json
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from worldwidth.evaluation.scores import Cell
from worldwidth.representation.rows import ALL, Row
from worldwidth.representation.tables import (
    COLUMNS,
    giver_of,
    headline,
    maps_against_transfer,
    rank_correlation,
    shown_models,
    transfer_of,
)
from worldwidth.settings.schema import Settings


def cell(model: str, task: str, score: float | None, trained: bool = False, matrix: str = "ftwb1") -> Cell:
    return Cell(
        matrix=matrix, model=model, task=task, trained=trained, raw=1.0, base_atlantis=1.0, base_world=1.0,
        constant=1.0, constant_score=None, score=score, standard_error=None, expected=None,
        measurable=score is not None,
    )  # fmt: skip


def row(model: str, error: float, step: int = 9, **values: Any) -> Row:
    numbers: dict[str, Any] = {
        name: 0.5 for name in COLUMNS if name not in ("model", "step", "prompt", "layer", "cities")
    }
    numbers |= {"layer": 1, "atlantis_error": error, **values}
    return Row(model=model, step=step, prompt=ALL, cities=60, **numbers)


CELLS = [
    *(cell("ftwb1-1", "distance", 0.9, trained=True), cell("ftwb1-1", "angle", 0.1), cell("ftwb1-1", "compass", 0.2)),
    *(cell("ftwb1-3", "angle", 0.8, trained=True), cell("ftwb1-3", "distance", 0.6), cell("ftwb1-3", "compass", None)),
    *(cell("ftwb1-4", "compass", 1.0, trained=True), cell("ftwb1-4", "distance", 0.2), cell("ftwb1-4", "angle", 0.6)),
    *(cell("ftwb0-0", "distance", 0.1, matrix="ftwb0"), cell("ftwb0-0", "angle", -0.1, matrix="ftwb0")),
    cell("ftwb2-15", "angle", 0.9, matrix="ftwb2"),
    cell("ftwb2-15", "angle", -5, matrix="difference"),
]


def test_transfer_is_the_mean_over_tasks_that_were_not_trained() -> None:
    wanted = {"ftwb1-1": 0.15, "ftwb1-3": 0.6, "ftwb1-4": 0.4, "ftwb0-0": 0.0, "ftwb2-15": 0.9}
    assert transfer_of(CELLS) == pytest.approx(wanted)


def test_the_giver_is_the_single_task_model_with_the_most_transfer(settings: Settings) -> None:
    assert giver_of(CELLS) == "ftwb1-3"
    assert shown_models(CELLS, settings) == {
        "base": "base model", "ftwb1-3": "fine-tuned on angle, the giver", "ftwb1-1": "fine-tuned on distance",
    }  # fmt: skip
    distance = [cell for cell in CELLS if cell.model == "ftwb1-1"]
    assert list(shown_models(distance, settings)) == ["base", "ftwb1-1"]
    assert giver_of([]) is None


def test_the_correlation_is_over_models_with_a_map_and_a_transfer() -> None:
    errors = {"base": 99.0, "ftwb1-1": 80.0, "ftwb1-3": 10.0, "ftwb1-4": 30.0, "ftwb0-0": 85.0}
    rows = [row("base", 120, step=0), *(row(model, error) for model, error in errors.items())]
    rows += [row("ftwb1-3", 70, layer=2), replace(row("ftwb1-3", 70), prompt="angle")]
    table = pd.DataFrame([vars(each) for each in rows])
    pairs = maps_against_transfer(table, transfer_of(CELLS))
    assert pairs.to_numpy().tolist() == [
        ["ftwb1-1", 80, pytest.approx(0.15)], ["ftwb1-3", 10, 0.6], ["ftwb1-4", 30, 0.4], ["ftwb0-0", 85, 0],
    ]  # fmt: skip
    found = headline(table, pairs)
    assert found["atlantis_error_and_transfer"]["spearman"] == pytest.approx(-1)
    assert found["atlantis_error_and_transfer"]["models"] == 4
    assert found["atlantis_error"] == {model: error for model, error in errors.items() if model != "base"}
    assert found["base"]["atlantis_error"] == 99
    json.dumps(found, allow_nan=False)
    assert rank_correlation(pairs[:3]) == {"models": 3}
    assert "error" not in found["base"], "which DVC takes for a failure of the whole file"
