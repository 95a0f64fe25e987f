"""The study's matrices and tables, from a finished study written here in the pipeline's formats.

pytest tests/test_results.py
"""

import csv
import io
import json
import math
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fake_study import PARAMETERS, RESAMPLES, Floats, arrays, compute
from worldwidth.evaluation import tables
from worldwidth.evaluation.scores import Cell
from worldwidth.settings.load import load
from worldwidth.settings.paths import CURVES, EVALUATIONS, MATRICES, SCORES
from worldwidth.settings.schema import Settings
from worldwidth.tasks import load_task

ROOT = Path(__file__).parents[1]
CELLS = {"plug1": 49, "plug7": 7, "ftwb0": 7, "ftwb1": 49, "ftwb2": 42, "difference": 42}
MODELS = 23


@pytest.fixture(scope="module")
def settings() -> Settings:
    return replace(load(ROOT / "params.yaml"), scale="smoke")


def scores(cells: list[Cell], trained: bool | None = None) -> Floats:
    chosen = [cell.score for cell in cells if trained is None or cell.trained is trained]
    return np.array([score for score in chosen if score is not None])


# --- the matrices


def test_a_finished_study_has_all_cells_of_the_published_matrices(settings: Settings, study: Path) -> None:
    cells, headline = compute(settings)
    counts = {name: [cell.trained for cell in cells if cell.matrix == name] for name in CELLS}
    assert {name: len(found) for name, found in counts.items()} == CELLS
    assert {name: sum(found) for name, found in counts.items()} == {
        "plug1": 7, "plug7": 7, "ftwb0": 0, "ftwb1": 7, "ftwb2": 12, "difference": 12
    }  # fmt: skip
    assert len(cells) == sum(CELLS.values()) == 196
    assert list(headline) == ["plug1", "plug7", "ftwb1", "ftwb2", "ftwb0", "difference"]
    assert {name: entry["cells"] for name, entry in headline.items()} == CELLS
    firsts = {
        "plug1": "plug1-1",
        "plug7": "plug7-1",
        "ftwb0": "ftwb0-0",
        "ftwb1": "ftwb1-1",
        "ftwb2": "ftwb2-4",
        "difference": "ftwb2-4",
    }
    for name, first in firsts.items():
        rows = [cell for cell in cells if cell.matrix == name]
        assert [cell.task for cell in rows[:7]] == list(settings.tasks)
        assert rows[0].model == first
        assert [cell.trained for cell in rows] == [cell.task in settings.finetunes[cell.model] for cell in rows]
    assert [cell.model for cell in cells if cell.task == "angle" and cell.matrix != "difference"] == list(
        settings.finetunes
    )


def test_cells_repeat_the_formulas_on_the_written_files(settings: Settings, study: Path) -> None:
    cells, _ = compute(settings)
    means = {
        model: {key: float(lines.mean()) for key, lines in arrays(SCORES / f"{model}.npz").items() if key != "model"}
        for model in settings.models
    }
    plain = {(cell.model, cell.task): cell for cell in cells if cell.matrix != "difference"}
    for (model, task), cell in plain.items():
        v, atlantis, world = (
            means[model][f"{task}.atlantis"],
            *(means["base"][f"{task}.{p}"] for p in ("atlantis", "world")),
        )
        if load_task(task).labels:
            score = (v - atlantis) / (world - atlantis)
        else:
            score = math.log(atlantis / v) / math.log(atlantis / world)
        assert cell.score == pytest.approx(score, rel=1e-5)
        assert cell.constant == (0.5 if load_task(task).labels else 50.0)
        assert (cell.raw, cell.base_atlantis, cell.base_world) == pytest.approx((v, atlantis, world), rel=1e-5)
        assert cell.measurable
        assert cell.standard_error is not None
        assert cell.standard_error > 0
    for cell in cells:
        if cell.matrix in ("ftwb2", "difference"):
            names = [f"ftwb1-{1 + settings.tasks.index(task)}" for task in settings.finetunes[cell.model]]
            best = (max if load_task(cell.task).labels else min)(names, key=lambda name: plain[name, cell.task].raw)
            assert cell.expected == pytest.approx(plain[best, cell.task].score)
        if cell.matrix == "difference":
            own = plain[cell.model, cell.task]
            assert own.score is not None
            assert cell.expected is not None
            assert cell.score == pytest.approx(own.score - cell.expected)


def test_the_headline_is_plain_means_over_cells(settings: Settings, study: Path) -> None:
    cells, headline = compute(settings)
    for name, entry in headline.items():
        rows = [cell for cell in cells if cell.matrix == name]
        blocks: dict[str, bool | None] = {"trained": True, "transfer": False}
        if name == "difference":
            blocks["overall"] = None
        if name == "ftwb0":
            del blocks["trained"]
        if name == "plug7":  # it is trained on all tasks; and a null in a metrics file makes DVC complain
            del blocks["transfer"]
        assert None not in entry.values()
        if name in ("ftwb1", "ftwb2"):
            assert {key for key in entry if key.startswith(tables.ABOVE)} == {
                f"{tables.ABOVE}{part}" for part in ("", "_std", "_se")
            }
            entry = {key: value for key, value in entry.items() if not key.startswith(tables.ABOVE)}
        keys = {f"{block}{part}" for block in blocks for part in ("", "_std", "_se")}
        assert set(entry) == keys | {"measurable", "cells"} | ({"constant"} if name != "difference" else set())
        for block, trained in blocks.items():
            assert entry[block] == pytest.approx(np.mean(scores(rows, trained)))
            assert entry[f"{block}_std"] == pytest.approx(np.std(scores(rows, trained)))
            assert entry[f"{block}_se"] > 0
        if name != "difference":
            assert entry["constant"] == pytest.approx(np.mean([cell.constant_score for cell in rows]))
        assert entry["measurable"] == len(rows)
    assert json.loads(json.dumps(headline, allow_nan=False)) == headline


def test_transfer_minus_the_control_is_cell_by_cell(settings: Settings, study: Path) -> None:
    """Only tasks that a model was not trained on, each minus what the warm-up lines alone give on that task."""
    cells, headline = compute(settings)
    control = {cell.task: cell.score for cell in cells if cell.matrix == "ftwb0" and cell.score is not None}
    assert len(set(control.values())) == 7
    for name, count in (("ftwb1", 42), ("ftwb2", 30)):
        above = [
            cell.score - control[cell.task]
            for cell in cells
            if cell.matrix == name and not cell.trained and cell.score is not None
        ]
        assert len(above) == count
        assert headline[name][tables.ABOVE] == pytest.approx(np.mean(above))
        assert headline[name][f"{tables.ABOVE}_std"] == pytest.approx(np.std(above))
        assert headline[name][tables.ABOVE] != headline[name]["transfer"]
    assert {name for name, entry in headline.items() if tables.ABOVE in entry} == {"ftwb1", "ftwb2"}


def test_the_standard_error_of_transfer_minus_the_control_is_of_paired_lines(settings: Settings, study: Path) -> None:
    """A control that answers every line as the models do leaves nothing to be unsure about."""
    made = tables.load_study(settings, ("base", "ftwb0-0", "ftwb1-1"))
    made.scores["ftwb1-1"] = made.scores["ftwb0-0"]
    _, headline = tables.compute_matrices(made, RESAMPLES)
    assert headline["ftwb1"]["transfer_se"] > 0.001
    assert headline["ftwb1"][tables.ABOVE] == 0
    assert headline["ftwb1"][f"{tables.ABOVE}_se"] == 0


def test_without_the_control_nothing_is_taken_from_transfer(settings: Settings, study: Path) -> None:
    unfinished = tables.load_study(settings, ("base", "ftwb1-1", "ftwb2-4"))
    without = replace(unfinished, finetunes={name: tasks for name, tasks in settings.finetunes.items() if tasks})
    for made in (unfinished, without):
        _, headline = tables.compute_matrices(made, RESAMPLES)
        assert "ftwb1" in headline
        assert [key for entry in headline.values() for key in entry if key.startswith(tables.ABOVE)] == []


def test_columns_that_are_not_measurable_leave_the_means_and_are_counted(settings: Settings, study: Path) -> None:
    made = tables.load_study(settings, settings.models)
    made.scores["base"]["angle.world"] = made.scores["base"]["angle.atlantis"] + 1
    cells, headline = tables.compute_matrices(made, RESAMPLES)
    assert {name: entry["measurable"] for name, entry in headline.items()} == {
        "plug1": 42,
        "plug7": 6,
        "ftwb0": 6,
        "ftwb1": 42,
        "ftwb2": 36,
        "difference": 36,
    }
    assert {name: entry["cells"] for name, entry in headline.items()} == CELLS
    for name, entry in headline.items():
        rows = [cell for cell in cells if cell.matrix == name]
        assert [cell.score is None for cell in rows] == [cell.task == "angle" for cell in rows]
        transfer = scores(rows, trained=False)
        assert len(transfer) == {"plug1": 36, "plug7": 0, "ftwb0": 6, "ftwb1": 36, "ftwb2": 25, "difference": 25}[name]
        assert entry.get("transfer") == (pytest.approx(np.mean(transfer)) if len(transfer) else None)
    assert headline["ftwb1"]["constant"] == pytest.approx(
        np.mean([cell.constant_score for cell in cells if cell.constant_score is not None and cell.matrix == "ftwb1"])
    )


def test_nothing_measurable_is_null_and_never_zero(settings: Settings, study: Path) -> None:
    made = tables.load_study(settings, settings.models)
    for task in settings.tasks:
        made.scores["base"][f"{task}.world"] = made.scores["base"][f"{task}.atlantis"]
    _, headline = tables.compute_matrices(made, RESAMPLES)
    for entry in headline.values():
        assert entry["measurable"] == 0
        assert {value for key, value in entry.items() if key not in ("measurable", "cells")} == {None}


def test_a_study_in_part_has_the_matrices_it_can_have(settings: Settings, study: Path) -> None:
    made = tables.load_study(settings, ("base", "ftwb1-1", "ftwb2-4", "ftwb2-13", "ftwb1-6"))
    cells, headline = tables.compute_matrices(made, RESAMPLES)
    counts = {name: len([c for c in cells if c.matrix == name]) for name in headline}
    assert counts == {"ftwb1": 14, "ftwb2": 14, "difference": 7}
    assert {c.model for c in cells if c.matrix == "difference"} == {"ftwb2-13"}


# --- the tables


def test_the_table_of_cells_has_the_columns_people_rely_on(settings: Settings, study: Path) -> None:
    cells, _ = compute(settings)
    tables.write_table(tables.cells_table(cells), MATRICES)
    rows = list(csv.DictReader(io.StringIO(MATRICES.read_text(encoding="utf-8"))))
    assert len(rows) == sum(CELLS.values())
    wanted = "matrix model task trained raw base_atlantis base_world constant score standard_error expected measurable"
    assert set(wanted.split()) <= set(rows[0])
    assert {row["trained"] for row in rows} == {"True", "False"}  # what the template of dvc plots compares with
    assert {row["expected"] for row in rows if row["matrix"] in ("plug1", "ftwb0", "ftwb1")} == {""}
    assert [float(row["score"]) for row in rows] == pytest.approx([cell.score for cell in cells], rel=1e-15)


def test_cells_come_back_as_they_were(settings: Settings, study: Path) -> None:
    made = tables.load_study(settings, settings.models)
    made.scores["base"]["angle.world"] = made.scores["base"]["angle.atlantis"]
    cells, _ = tables.compute_matrices(made, RESAMPLES)
    assert any(cell.score is None for cell in cells)
    tables.write_table(tables.cells_table(cells), MATRICES)
    read = tables.read_cells()
    assert read == cells
    for before, after in zip(cells, read, strict=True):
        for field in fields(Cell):
            assert type(getattr(after, field.name)) is type(getattr(before, field.name)), field.name
    first = MATRICES.read_bytes()
    tables.write_table(tables.cells_table(read), MATRICES)
    assert MATRICES.read_bytes() == first


def test_cells_without_any_number_come_back_as_they_were(settings: Settings, study: Path) -> None:
    made = tables.load_study(settings, ("base", "ftwb1-1"))
    for task in settings.tasks:
        made.scores["base"][f"{task}.world"] = made.scores["base"][f"{task}.atlantis"]
    cells, _ = tables.compute_matrices(made, RESAMPLES)
    assert {cell.score for cell in cells} == {None}
    tables.write_table(tables.cells_table(cells), MATRICES)
    assert tables.read_cells() == cells


def test_the_evaluation_table_holds_every_model_and_test_set(settings: Settings, study: Path) -> None:
    table = tables.evaluation_table(settings)
    assert len(table) == MODELS * (7 * 2 + 7 + 1) == 506
    assert not table.duplicated(["model", "task", "population"]).any()
    assert list(table["model"].drop_duplicates()) == list(settings.models)
    assert set(table["population"]) == {"world", "atlantis", "multitask"}
    indexed = {(row["model"], row["task"], row["population"]): row for row in table.to_dict("records")}
    for model in ("base", "ftwb2-12"):
        report = json.loads((EVALUATIONS / f"{model}.json").read_text())
        for task in settings.tasks:
            for population, values in (*report[task].items(), ("multitask", report["multitask"][task])):
                row = indexed[model, task, population]
                for key in ("mean", "median", "std", "min", "max", "n", "parse_rate", "exact_match"):
                    assert row[key] == values[key]
        whole = indexed[model, "all", "multitask"]
        assert (whole["exact_match"], whole["n"]) == (0.125, 63)
        assert np.isnan(whole["mean"])


def test_the_evaluation_table_goes_without_a_task_that_is_in_no_multitask_line(settings: Settings, study: Path) -> None:
    path = EVALUATIONS / "base.json"
    report = json.loads(path.read_text())
    del report["multitask"]["inside"]
    path.write_text(json.dumps(report))
    assert len(tables.evaluation_table(settings)) == 505


def test_the_training_table_is_all_curves_below_each_other(settings: Settings, study: Path) -> None:
    table = tables.training_table(settings)
    assert len(table) == MODELS * 3
    assert list(table["model"].drop_duplicates()) == list(settings.models)
    assert list(table.columns) == ["model", *tables.CURVE_COLUMNS]
    assert list(table[table["model"] == "ftwb1-2"]["step"]) == [1, 5, 7 + settings.models.index("ftwb1-2")]
    assert table["validation_loss"].isna().sum() == MODELS
    path = Path("results/training.csv")
    tables.write_table(table, path)
    assert b"\r" not in path.read_bytes()
    pd.testing.assert_frame_equal(tables.read_table(path, list(table.columns), "run it"), table)


def test_the_summary_counts_parameters_steps_tokens_and_flops(settings: Settings, study: Path) -> None:
    summary = tables.compute_summary(settings)
    plug_in, steps = sum(7 + number for number in range(1, 9)), sum(7 + number for number in range(9, MODELS))
    assert summary == {
        "parameters": PARAMETERS,
        "pretraining": {"step": 7, "tokens": 700, "flops": 6 * PARAMETERS * 700},
        "finetuning": {"step": steps, "tokens": 100 * steps, "flops": 6 * PARAMETERS * 100 * steps},
        "plug_in": {"step": plug_in, "tokens": 100 * plug_in, "flops": 6 * PARAMETERS * 100 * plug_in},
    }
    assert json.loads(json.dumps(summary)) == summary  # plain integers, which numpy's are not


def test_the_summary_is_exact_beyond_two_to_the_53(settings: Settings, study: Path) -> None:
    """Hidden size 516 at the published scale; floats count such FLOPs in steps of 16 and lose a parameter."""
    parameters, tokens = 96 * 516**2 + 227 * 516, 764_000_001
    row = f"164064,{tokens},{6 * parameters * tokens},1.5,0.1,1.5,0.5,3-2b6d0b8f4c1e"
    (CURVES / "base.csv").write_text(f"{','.join(tables.CURVE_COLUMNS)}\n{row}\n")
    summary = tables.compute_summary(settings)
    assert summary["pretraining"] == {"step": 164_064, "tokens": tokens, "flops": 6 * parameters * tokens}
    assert summary["parameters"] == parameters


def test_no_text_is_taken_for_a_missing_value(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("task,answer,score\nNA,null,\nnan,None,1.5\n")
    table = tables.read_table(path, ["task", "answer", "score"], "run it")
    assert list(table["task"]) == ["NA", "nan"]
    assert list(table["answer"]) == ["null", "None"]
    assert table["score"].isna().tolist() == [True, False]
