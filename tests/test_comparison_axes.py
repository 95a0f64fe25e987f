"""Comparisons by any axis: levels, arms, replicates, trends and the control. `pytest tests/test_comparison_axes.py`."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fake_runs import fake_run, fake_runs, published, with_rate, with_scale
from test_comparison import metric_by_hand, only
from worldwidth.comparison.axes import Axis, Design, in_file_name, value_of
from worldwidth.comparison.export import markdown, write_tables
from worldwidth.comparison.runs import RunFiles, RunScores, load_runs
from worldwidth.comparison.statistics import estimate
from worldwidth.comparison.tables import Comparison, compare
from worldwidth.core.errors import WorldwidthError
from worldwidth.settings.schema import Budget, Settings
from worldwidth.tasks import load_task

RATE = "finetuning.learning_rate"
RATES = (1e-3, 4e-3, 1.6e-2)


@pytest.fixture(scope="module")
def runs_by_rate(settings: Settings) -> list[RunScores]:
    return fake_runs(settings, archs=("narrow", "wide"), rates=RATES)


@pytest.fixture(scope="module")
def by_rate(runs_by_rate: list[RunScores]) -> Comparison:
    """Two archs at three rates, the last first."""
    return compare(runs_by_rate[::-1], by=(RATE,))


def own_rate(settings: Settings, arch: str, rate: float) -> Settings:
    """``settings`` where an arch is fine-tuned at a rate of its own."""
    changed = replace(settings.selected.archs[arch], finetuning={"learning_rate": rate})
    return with_scale(settings, archs={**settings.selected.archs, arch: changed})


# --- axes


def test_levels_are_in_the_order_of_their_values(by_rate: Comparison) -> None:
    assert by_rate.axis.levels == ("1e-3", "4e-3", "0.016")
    assert by_rate.arms == ("epochs, narrow", "epochs, wide")
    assert by_rate.levels("epochs, wide") == ["1e-3", "4e-3", "0.016"]
    assert by_rate.axis.is_log
    assert by_rate.words("epochs, wide") == "each arch's own epochs, arch wide"


def test_archs_are_in_the_order_of_their_width_then_depth(settings: Settings) -> None:
    archs = ("wide", "deep", "shallow", "base", "narrow")
    axis = Axis.of("arch", [replace(settings, arch=arch) for arch in archs])
    assert settings.selected.archs["deep"].hidden_size == settings.selected.archs["base"].hidden_size
    assert axis.levels == ("narrow", "base", "deep", "wide", "shallow")
    assert axis.sizes == {"narrow": 16, "base": 32, "wide": 64}
    assert axis.noun == "architecture"
    assert Axis.of("arch", [replace(settings, arch=arch) for arch in ("wide", "base")]).noun == "width"


def test_budgets_are_in_their_order_and_words_in_that_of_letters(settings: Settings) -> None:
    budgets: tuple[Budget, ...] = ("flops", "epochs", "tokens")
    runs = [replace(settings, budget=budget) for budget in budgets]
    assert Axis.of("budget", runs).levels == ("epochs", "tokens", "flops")
    assert not Axis.of("budget", runs).sizes
    words = [settings, replace(settings, parametrization="mup")]
    assert Axis.of("parametrization", words).levels == ("mup", "standard")


def test_a_value_is_what_the_run_was_trained_with(settings: Settings) -> None:
    """With what its arch overrides."""
    changed = own_rate(settings, "narrow", 4e-3)
    assert value_of(replace(changed, arch="narrow"), RATE) == 4e-3
    assert value_of(replace(changed, arch="wide"), RATE) == value_of(settings, RATE) != 4e-3
    assert value_of(replace(settings, arch="deep"), "model.num_hidden_layers") == 12


def test_what_is_no_axis_is_refused(settings: Settings) -> None:
    with pytest.raises(WorldwidthError, match=r"'finetuning.learning_rte'.*did you mean 'finetuning.learning_rate'"):
        value_of(settings, "finetuning.learning_rte")
    for axis in ("seed", "world.atlantis.seed"):
        with pytest.raises(WorldwidthError, match=f"axis '{axis}': it tells replicates apart, .*; name another"):
            value_of(settings, axis)


def test_an_arm_is_all_else_that_differs(settings: Settings) -> None:
    def arms(by: tuple[str, ...], runs: list[Settings], others: tuple[str, ...] = ()) -> tuple[str, ...]:
        return Design.of(runs, by, others).arms_of(runs)

    plain = [replace(published(settings), arch=arch) for arch in ("narrow", "wide")]
    rated = [with_rate(run, rate) for rate in (8e-3, 5e-4) for run in plain]
    assert arms(("arch",), plain) == ("epochs",)
    assert arms(("arch",), plain, (RATE,)) == ("epochs",)
    assert arms(("arch",), rated, (RATE,)) == arms(("arch", RATE), rated) == ("epochs, lr 5e-4", "epochs, lr 8e-3")
    both = rated + [replace(run, parametrization="mup") for run in rated]
    assert arms((RATE,), both, ("parametrization",))[:2] == (
        "epochs, narrow, mup",
        "epochs, narrow",
    )
    assert arms(("budget",), [replace(run, budget="flops") for run in plain] + plain) == ("narrow", "wide")
    recipes = plain + [replace(run, recipe="equal_flops", finetuning_budget="flops") for run in plain]
    assert arms(("arch",), recipes, ("recipe", "finetuning_budget")) == (
        "epochs",
        "epochs, equal_flops, fine-tuning flops",
    )
    assert in_file_name("epochs, lr 5e-4") == "epochs-lr5e-4"


# --- differences and trends


def test_rates_are_subtracted_within_an_arch(runs_by_rate: list[RunScores], by_rate: Comparison) -> None:
    by_hand = []
    for seed in (1, 2, 3):
        own = {
            value_of(run.settings, RATE): metric_by_hand(run, "ftwb1", True)
            for run in runs_by_rate
            if (run.arch, run.settings.seed) == ("wide", seed)
        }
        by_hand.append(own[4e-3] - own[1e-3])
    wanted = estimate(by_hand)
    where = {"arm": "epochs, wide", "metric": "ftwb1_trained"}
    row = only(by_rate.differences, level="1e-3", other="4e-3", **where)
    assert [row["mean"], row["low"], row["p"]] == pytest.approx([wanted.mean, wanted.low, wanted.p])
    assert len(by_rate.differences.query("arm == 'epochs, wide' and metric == 'ftwb1_trained'")) == 3


def test_a_trend_over_rates_is_per_doubling_of_the_rate(runs_by_rate: list[RunScores], by_rate: Comparison) -> None:
    slopes = []
    for seed in (1, 2, 3):
        own = [run for run in runs_by_rate if (run.arch, run.settings.seed) == ("narrow", seed)]
        values = [metric_by_hand(run, "skill", True) for run in own]
        slopes.append(np.polyfit([0, 2, 4], values, 1)[0])  # four times the rate each
    row = only(by_rate.trends, arm="epochs, narrow", metric="skill_trained")
    assert row["slope"] == pytest.approx(np.mean(slopes))
    assert row["levels"] == "1e-3 4e-3 0.016"
    assert "per doubling of finetuning.learning_rate" in markdown(by_rate)


def test_a_trend_over_archs_is_over_those_of_one_depth(settings: Settings) -> None:
    archs = ("narrow", "deep", "base", "shallow", "wide")
    found = compare(fake_runs(settings, archs=archs))
    assert set(found.trends["levels"]) == {"narrow base wide"}
    runs = fake_runs(settings, archs=archs)
    slopes = []
    for seed in (1, 2, 3):
        own = {run.arch: metric_by_hand(run, "ftwb1", True) for run in runs if run.settings.seed == seed}
        slopes.append(np.polyfit([0, 1, 2], [own[arch] for arch in ("narrow", "base", "wide")], 1)[0])
    assert only(found.trends, metric="ftwb1_trained")["slope"] == pytest.approx(np.mean(slopes))
    assert len(found.differences.query("metric == 'ftwb1_trained'")) == 10  # which are of all five
    assert "trend: over the archs of one depth, without deep, shallow" in markdown(found)


def test_two_widths_and_another_depth_make_no_trend(settings: Settings) -> None:
    assert compare(fake_runs(settings, archs=("narrow", "deep", "wide"))).trends.empty


def test_words_make_no_trend(settings: Settings) -> None:
    budgets = ("epochs", "tokens", "flops")
    found = compare(fake_runs(settings, archs=("narrow",), budgets=budgets), by=("budget",))
    assert found.axis.levels == budgets
    assert found.arms == ("narrow",)
    assert found.trends.empty
    assert len(found.differences) == 3 * len(found.metrics)


# --- replicates


def test_runs_are_paired_by_seed_and_draw(settings: Settings) -> None:
    """Not by the seed alone: two draws of one seed are two replicates."""
    runs = fake_runs(settings, archs=("narrow", "wide"), seeds=(1, 2), draws=(42, 43))
    found = compare([run for run in runs if (run.arch, *run.replicate) != ("wide", 2, 43)])
    metric = {(run.arch, *run.replicate): metric_by_hand(run, "ftwb2", False) for run in runs}
    both = [(1, 42), (1, 43), (2, 42)]
    wanted = estimate([metric["wide", *one] - metric["narrow", *one] for one in both])
    row = only(found.differences, metric="ftwb2_transfer")
    assert (row["n"], row["mean"], row["low"]) == (3, pytest.approx(wanted.mean), pytest.approx(wanted.low))
    assert only(found.means, level="narrow", metric="ftwb2_transfer")["n"] == 4
    assert list(zip(found.runs["seed"], found.runs["atlantis_seed"], strict=True))[:4] == [
        (1, 42), (1, 43), (2, 42), (2, 43)]  # fmt: skip
    assert "draws of Atlantis 42, 43" in markdown(found)


def test_the_tables_say_what_each_run_is(by_rate: Comparison, tmp_path: Path) -> None:
    write_tables(by_rate, tmp_path)
    runs = pd.read_csv(tmp_path / "runs.csv")
    assert {"arm", "level", "arch", "budget", "seed", "atlantis_seed", RATE, "num_hidden_layers"} <= set(runs)
    assert (runs["level"] == runs[RATE]).all()  # as text 1e-3, as a number .001
    assert set(runs[runs["arm"] == "epochs, wide"]["arch"]) == {"wide"}
    for table in ("means", "cells", "differences", "tasks", "cell_differences", "trends", "curves"):
        columns = set(pd.read_csv(tmp_path / f"{table}.csv"))
        assert {"arm", "levels" if table == "trends" else "level"} <= columns
        assert not {"budget", "width"} & columns


# --- the control


def test_transfer_is_said_minus_the_control(settings: Settings) -> None:
    """Over the same cells, run by run."""
    run = fake_run(replace(settings, seed=1), 0.0, 0.03)
    found = compare([run])
    above = [
        run.cells["ftwb1", model, task][0] - run.cells["ftwb0", "ftwb0-0", task][0]
        for model, trained in settings.finetunes.items()
        if model.startswith("ftwb1")
        for task in settings.tasks
        if task not in trained
    ]
    row = only(found.means, metric="ftwb1_transfer_minus_control")
    assert (row["mean"], row["cells"]) == (pytest.approx(np.mean(above)), len(above))
    transfer, control = (only(found.means, metric=metric)["mean"] for metric in ("ftwb1_transfer", "control"))
    assert row["mean"] == pytest.approx(transfer - control)  # every task is left out by as many models
    assert row["line_se"] > 0


def test_the_control_counts_in_nothing_else(settings: Settings) -> None:
    runs = fake_runs(settings, archs=("narrow", "wide"))
    with_control, loud = compare(runs), []
    for run in runs:
        cells = {key: values + 100 * (key[1] == "ftwb0-0") for key, values in run.cells.items()}
        loud.append(replace(run, cells=cells))
    means = compare(loud).means.merge(with_control.means, on=["arm", "level", "metric"])
    changed = set(means[means["mean_x"] != means["mean_y"]]["metric"])
    assert changed == {"control"}


def test_without_a_control_nothing_is_said_about_it(settings: Settings) -> None:
    trained = {model: tasks for model, tasks in settings.finetunes.items() if tasks}
    found = compare(fake_runs(replace(settings, finetunes=trained), archs=("narrow", "wide")))
    assert not [metric for metric in found.metrics if "control" in metric]
    assert "control" not in markdown(found)


def test_a_control_that_cannot_be_measured_leaves_its_cells_out(settings: Settings) -> None:
    run = fake_run(replace(settings, seed=1), 0.0, 0.03)
    for key in run.cells:
        if key[2] == "angle" and key[0] in ("ftwb0", "ftwb1-control"):
            run.cells[key] *= np.nan
    found = compare([run])
    assert only(found.means, metric="ftwb1_transfer_minus_control")["cells"] == 42 - 6
    assert only(found.means, metric="ftwb1_transfer")["cells"] == 42


def test_scores_above_the_control_come_from_the_test_lines(settings: Settings) -> None:
    """As measured, and resampled: the control shares every resample with the model above it."""
    rng = np.random.default_rng(0)
    settings = replace(settings, finetunes={"ftwb0-0": (), "ftwb1-1": ("distance",)})
    tests = [(task, population) for task in settings.tasks for population in ("world", "atlantis")]
    better = {task: "world" if load_task(task).labels else "atlantis" for task in settings.tasks}  # scores, or errors
    lines = {
        model: {f"{task}.{p}": rng.random(200) + (model == "base" and better[task] == p) for task, p in tests}
        for model in settings.models
    }
    lines["ftwb0-0"]["inside.atlantis"] = lines["ftwb1-1"]["inside.atlantis"]
    constants = dict.fromkeys(tests, 9.0)
    made = fake_run(replace(settings, seed=1), 0.0, 0.0)
    curves = pd.concat([made.curve.assign(model=model) for model in settings.models], ignore_index=True)
    (run,) = load_runs([RunFiles(made.experiment, lines, constants, curves)], resamples=100)
    above = {key[2]: values for key, values in run.cells.items() if key[0] == "ftwb1-control"}
    assert set(above) == set(settings.tasks) - {"distance"}
    one, control = run.cells["ftwb1", "ftwb1-1", "perimeter"], run.cells["ftwb0", "ftwb0-0", "perimeter"]
    assert np.isfinite(one[0])
    np.testing.assert_array_equal(above["perimeter"], one - control)
    assert set(above["inside"]) == {0.0}
    assert not [key for key in run.cells if key[0] == "ftwb0-control"]
    means = [lines[m][f"angle.{p}"].mean() for m, p in (("ftwb1-1", "world"), ("base", "atlantis"), ("base", "world"))]
    kept = run.cells["retention", "ftwb1-1", "angle"][0]  # ordinary cities: 0 as the base model on Atlantis
    assert kept == pytest.approx(np.log(means[1] / means[0]) / np.log(means[1] / means[2]))


@pytest.mark.parametrize(
    ("kept", "first", "among"),
    [
        (("ftwb0", "ftwb1"), "ftwb1_trained", {"ftwb1_transfer_minus_control", "control", "skill_transfer"}),
        (("ftwb1-4",), "ftwb1_trained", {"ftwb1_transfer", "retention_other"}),
        (("ftwb0",), "control", {"base_skill"}),
    ],
)
def test_a_sweep_of_some_fine_tunes_has_their_metrics(
    settings: Settings, kept: tuple[str, ...], first: str, among: set[str]
) -> None:
    some = {model: tasks for model, tasks in settings.finetunes.items() if model.startswith(kept)}
    found = compare(fake_runs(replace(settings, finetunes=some), archs=("narrow", "wide")))
    assert next(iter(found.metrics)) == first
    assert among <= set(found.metrics)
    assert not {name for name in found.metrics if name.startswith(("ftwb2", "difference"))}
    assert found.means["n"].eq(3).all()
    assert set(found.runs["cells"]) == {len(some) * len(settings.tasks)}
