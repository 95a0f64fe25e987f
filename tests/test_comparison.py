"""Comparisons: what is averaged, paired, left out and tested. `pytest tests/test_comparison.py`."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fake_runs import fake_run, fake_runs
from worldwidth.comparison import export
from worldwidth.comparison.export import TABLES, markdown, write_tables
from worldwidth.comparison.runs import RunScores, log_skill, skill
from worldwidth.comparison.statistics import estimate
from worldwidth.comparison.tables import Comparison, compare
from worldwidth.settings.schema import Settings, is_plug_in

ARCHS = ("narrow", "base", "wide", "wider")


def cells_of(settings: Settings) -> int:
    """Of a run: one of every fine-tuned model, the plug-ins among them, and task."""
    return len(settings.finetunes) * len(settings.tasks)


@pytest.fixture(scope="module")
def comparison(settings: Settings) -> Comparison:
    some = ("narrow", "wide")
    return compare(fake_runs(settings, budgets=("epochs",)) + fake_runs(settings, archs=some, budgets=("flops",)))


def only(table: pd.DataFrame, **values: object) -> pd.Series:
    """The one row with these values."""
    chosen = table[np.logical_and.reduce([table[column] == value for column, value in values.items()])]
    assert len(chosen) == 1, values
    return chosen.iloc[0]


def metric_by_hand(run: RunScores, matrix: str, trained: bool) -> float:
    own = {key: v[0] for key, v in run.cells.items() if key[0] == matrix and not is_plug_in(key[1])}
    cells = [value for (_, model, task), value in own.items() if run.trained(model, task) == trained]
    return float(np.mean(cells))


def test_the_widths_stand_in_their_order(comparison: Comparison) -> None:
    assert comparison.axis.levels == comparison.archs == ARCHS
    assert comparison.arms == ("epochs", "flops")
    assert (comparison.levels("epochs"), comparison.levels("flops")) == (list(ARCHS), ["narrow", "wide"])
    assert len(comparison.runs) == 4 * 3 + 2 * 3


def test_a_width_is_the_mean_over_its_seeds(settings: Settings, comparison: Comparison) -> None:
    runs = fake_runs(settings, archs=ARCHS)
    by_hand = estimate([metric_by_hand(run, "ftwb1", True) for run in runs if run.arch == "wide"])
    row = only(comparison.means, arm="epochs", level="wide", metric="ftwb1_trained")
    assert (row["n"], row["cells"]) == (3, 7)
    assert [row["mean"], row["low"], row["high"]] == pytest.approx([by_hand.mean, by_hand.low, by_hand.high])


def test_a_difference_is_paired_by_seed(settings: Settings, comparison: Comparison) -> None:
    runs = {(run.arch, run.settings.seed): run for run in fake_runs(settings, archs=ARCHS)}
    metric = {place: metric_by_hand(run, "ftwb2", False) for place, run in runs.items()}
    by_hand = estimate([metric["wider", seed] - metric["narrow", seed] for seed in (1, 2, 3)])
    row = only(comparison.differences, arm="epochs", level="narrow", other="wider", metric="ftwb2_transfer")
    assert [row["mean"], row["low"], row["high"], row["p"]] == pytest.approx(
        [by_hand.mean, by_hand.low, by_hand.high, by_hand.p]
    )
    assert "task" not in comparison.differences


def test_widths_of_different_budgets_are_not_paired(comparison: Comparison) -> None:
    assert len(comparison.differences) == (6 + 1) * len(comparison.metrics)


def test_only_seeds_that_both_widths_have_are_paired(settings: Settings) -> None:
    runs = fake_runs(settings, archs=("narrow", "wide"), seeds=(1, 2, 3))
    runs += fake_runs(settings, archs=("wide",), seeds=(4,))
    found = compare(runs)
    assert only(found.means, level="wide", metric="ftwb1_trained")["n"] == 4
    assert only(found.differences, metric="ftwb1_trained")["n"] == 3


def test_holm_is_over_the_pairs_and_over_the_tasks(comparison: Comparison) -> None:
    from statsmodels.stats.multitest import multipletests

    of_metric = comparison.differences.query("arm == 'epochs' and metric == 'ftwb1_trained'")
    assert len(of_metric) == 6
    assert list(of_metric["p_holm"]) == pytest.approx(list(multipletests(of_metric["p"], method="holm")[1]))
    of_tasks = comparison.tasks.query(
        "arm == 'epochs' and metric == 'skill_trained' and level == 'narrow' and other == 'wide'"
    )
    assert list(of_tasks["task"]) == list(comparison.settings.tasks)
    assert list(of_tasks["p_holm"]) == pytest.approx(list(multipletests(of_tasks["p"], method="holm")[1]))


def test_a_trend_is_fitted_seed_by_seed(settings: Settings, comparison: Comparison) -> None:
    row = only(comparison.trends, metric="skill_trained", arm="epochs")
    runs = fake_runs(settings, archs=ARCHS)
    slopes = []
    for seed in (1, 2, 3):
        values = [metric_by_hand(run, "skill", True) for run in runs if run.settings.seed == seed]
        slopes.append(np.polyfit(range(4), values, 1)[0])  # hidden_size doubles from width to width
    assert row["slope"] == pytest.approx(np.mean(slopes))
    assert row["levels"] == "narrow base wide wider"
    assert set(comparison.trends["arm"]) == {"epochs"}  # two widths make no trend


def test_a_large_effect_is_significant_and_none_is_not(settings: Settings) -> None:
    runs = fake_runs(settings, archs=("narrow", "wide"), seeds=tuple(range(8)), slope=0.3)
    assert only(compare(runs).differences, metric="ftwb1_trained")["verdict"] == "significant: wide higher"
    runs = fake_runs(settings, archs=("narrow", "wide"), seeds=tuple(range(8)), slope=0.0)
    verdict = only(compare(runs).differences, metric="ftwb1_transfer")["verdict"]
    assert re.fullmatch(r"not significant; above 0\.\d+ is excluded", verdict)


def test_one_seed_says_so(settings: Settings) -> None:
    found = compare(fake_runs(settings, seeds=(1,)))
    assert set(found.differences["verdict"]) == {"too few seeds to say (n = 1)"}
    assert found.means["low"].isna().all()
    assert found.means["line_se"].notna().all()


def test_one_width_has_no_differences(settings: Settings, tmp_path: Path) -> None:
    found = compare(fake_runs(settings, archs=("wide",)))
    assert found.differences.empty
    assert found.trends.empty
    assert "wide" in markdown(found)
    (tmp_path / "differences.csv").write_text("of an earlier comparison")
    written = {path.name for path in write_tables(found, tmp_path)}
    assert "differences.csv" not in written
    assert not (tmp_path / "differences.csv").exists()


def blind(run: RunScores, model: str, task: str) -> RunScores:
    """``run`` with one score that is not measurable."""
    key = ("ftwb1", model, task)
    return replace(run, cells={**run.cells, key: np.full_like(run.cells[key], np.nan)})


def test_a_cell_that_one_width_cannot_measure_is_left_out_of_both(settings: Settings) -> None:
    narrow, wide = (fake_runs(settings, archs=(arch,)) for arch in ("narrow", "wide"))
    wide = [blind(wide[0], "ftwb1-1", "distance"), *wide[1:]]
    found = compare(narrow + wide)
    assert only(found.differences, metric="ftwb1_trained")["cells"] == 6
    assert only(found.means, level="narrow", metric="ftwb1_trained")["cells"] == 7
    assert only(found.means, level="wide", metric="ftwb1_trained")["cells"] == 6
    assert only(found.cells, matrix="ftwb1", level="wide", model="ftwb1-1", task="distance")["n"] == 2
    every = cells_of(settings)
    assert f"{wide[0].experiment.name}: {every - 1} of {every} cells measurable" in markdown(found)


def test_what_is_suspiciously_equal_is_said_of_every_arm(
    comparison: Comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "near_equal_lines", lambda _, arm: [f"near-equal differences in {arm}"])
    sections = markdown(comparison).split("\n## ")
    said = {arm: [text for text in sections if f"- near-equal differences in {arm}" in text] for arm in comparison.arms}
    assert {arm: [text.partition("\n")[0] for text in texts] for arm, texts in said.items()} == {
        arm: [f"Budget: {arm}"] for arm in comparison.arms
    }


def test_nothing_measurable_is_said(settings: Settings) -> None:
    runs = fake_runs(settings, archs=("narrow", "wide"))
    for task, model in zip(
        settings.tasks, ("ftwb1-1", "ftwb1-2", "ftwb1-3", "ftwb1-4", "ftwb1-5", "ftwb1-6", "ftwb1-7"), strict=True
    ):
        runs = [blind(run, model, task) for run in runs]
    found = compare(runs)
    row = only(found.differences, metric="ftwb1_trained")
    assert (row["n"], row["verdict"], row["cells"]) == (0, "not measurable", 0)
    assert "n.m." in markdown(found)


def test_a_missing_model_is_missing_and_named(settings: Settings) -> None:
    runs = fake_runs(settings, archs=("narrow", "wide"))
    without = {key: values for key, values in runs[0].cells.items() if key[1] != "ftwb1-3"}
    runs[0] = replace(runs[0], cells=without, missing=("ftwb1-3",))
    found = compare(runs)
    assert only(found.cells, matrix="ftwb1", level="narrow", model="ftwb1-3", task="angle")["n"] == 2
    assert f"{runs[0].experiment.name}: no results of ftwb1-3" in markdown(found)


def test_an_experiment_whose_name_is_markup_or_a_formula(settings: Settings, tmp_path: Path) -> None:
    (run,) = (blind(run, "ftwb1-1", "distance") for run in fake_runs(settings, archs=("narrow",), seeds=(1,)))
    experiment = replace(run.experiment, name="=1|<b>\x9b\u202e")
    vars(experiment)["settings"] = run.experiment.settings
    found = compare([replace(run, experiment=experiment)])
    every = cells_of(settings)
    assert rf"=1\|\<b\>\\x9b\\u202e: {every - 1} of {every} cells measurable" in markdown(found)
    write_tables(found, tmp_path)
    assert r"'=1|<b>\x9b\u202e" in (tmp_path / "runs.csv").read_text(encoding="utf-8")


def test_the_text_fits_a_terminal_and_holds_the_numbers(comparison: Comparison) -> None:
    text = markdown(comparison)
    assert max(len(line) for line in text.splitlines() if line.startswith("|")) <= 125
    row = only(comparison.means, arm="epochs", level="wider", metric="ftwb1_trained")
    assert f"{row['mean']:.2f} ± {(row['high'] - row['low']) / 2:.2f}" in text


def test_the_tables_are_the_same_every_time(settings: Settings, comparison: Comparison, tmp_path: Path) -> None:
    first = {path.name: path.read_bytes() for path in write_tables(comparison, tmp_path)}
    assert first.keys() == {f"{name}.csv" for name in TABLES} - {"primary.csv"}  # none is declared
    some = ("narrow", "wide")
    shuffled = fake_runs(settings, archs=some, budgets=("flops",)) + fake_runs(settings, budgets=("epochs",))
    again = {path.name: path.read_bytes() for path in write_tables(compare(shuffled[::-1]), tmp_path)}
    assert again == first


def test_skill_is_over_the_best_constant_answer() -> None:
    assert skill(np.array([20.0, 0.0, 40.0]), 20.0, False) == pytest.approx([0.0, 1.0, -1.0])
    assert skill(np.array([0.5, 1.0, 0.25]), 0.5, True) == pytest.approx([0.0, 1.0, -0.5])
    assert np.isnan(skill(np.array([0.5]), 0.0, False)).all()
    assert np.isnan(skill(np.array([1.0]), 1.0, True)).all()


def test_compute_stands_beside_every_run(settings: Settings, comparison: Comparison) -> None:
    run = fake_run(replace(settings, arch="narrow", budget="flops", seed=1), 0.0, 0.0)
    row = only(comparison.runs, experiment="narrow-flops-s1")
    assert row["flops"] == run.totals["pretraining"]["flops"]
    assert row["epochs"] > 12  # more passes than the published 12, for equal FLOPs
    reference = only(comparison.runs, experiment="wide-flops-s1")
    assert row["flops"] / reference["flops"] == pytest.approx(1, rel=1e-3)


def test_a_run_s_metrics_are_over_the_cells_of_its_width_s_mean(settings: Settings) -> None:
    """Else a figure would show single seeds whose mean is not the mean beside them."""
    runs = fake_runs(settings, archs=("wide",))
    found = compare([blind(runs[0], "ftwb1-1", "distance"), *runs[1:]])
    mean = only(found.means, metric="ftwb1_trained")["mean"]
    assert found.runs["ftwb1_trained"].mean() == pytest.approx(mean)
    every = cells_of(settings)
    assert list(found.runs["cells_measurable"]) == [every - 1, every, every]


def test_log_skill_is_the_log_of_the_ratio_of_errors() -> None:
    """Its mean over tasks is that of the geometric mean of the ratios; without an error, half of one is counted."""
    assert log_skill(np.array([20.0, 10.0, 40.0]), 20.0, False, 100) == pytest.approx(np.log([1, 2, 0.5]))
    assert log_skill(np.array([0.5, 0.75]), 0.5, True, 100) == pytest.approx(np.log([1, 2]))
    assert log_skill(np.array([0.0]), 20.0, False, 100) == pytest.approx(np.log(20 / 0.005))
    assert log_skill(np.array([1.0]), 0.5, True, 100) == pytest.approx(np.log(0.5 / 0.005))
    assert np.isnan(log_skill(np.array([0.5]), 0.0, False, 100)).all()
    assert np.isnan(log_skill(np.array([1.0]), 1.0, True, 100)).all()
    skills = [skill(np.array([error]), 20.0, False)[0] for error in (10.0, 60.0)]
    logs = [log_skill(np.array([error]), 20.0, False, 100)[0] for error in (10.0, 60.0)]
    assert np.mean(skills) == pytest.approx(-0.75)  # ruled by the task that went wrong
    assert np.mean(logs) == pytest.approx(np.log((2 / 3) ** 0.5))
