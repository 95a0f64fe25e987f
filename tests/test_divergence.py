"""Divergence, givers and takers, and efficiency: small tables whose numbers are worked out by hand.

pytest tests/test_divergence.py
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fake_runs import RESAMPLES, fake_runs
from worldwidth.comparison.divergence import single_tasks
from worldwidth.comparison.efficiency import frontier, scores_shown
from worldwidth.comparison.runs import RunScores, over_control
from worldwidth.comparison.tables import Comparison, compare, records
from worldwidth.comparison.transfer_tables import giver_rows
from worldwidth.evaluation.scores import DIFFERENCE
from worldwidth.settings.load import load
from worldwidth.settings.schema import Settings

ROOT = Path(__file__).parents[1]
GAINS = {
    # (model, task) -> gain: distance and angle, then angle and inside; the third task is the other one
    ("ftwb2-1", "distance"): -0.1,
    ("ftwb2-1", "angle"): -0.3,
    ("ftwb2-1", "inside"): -0.5,
    ("ftwb2-2", "distance"): 0.3,
    ("ftwb2-2", "angle"): 0.1,
    ("ftwb2-2", "inside"): 0.2,
}
TRANSFER = {
    # (trained, evaluated) -> score above the control
    ("distance", "angle"): 0.1,
    ("distance", "inside"): 0.0,
    ("angle", "distance"): 0.3,
    ("angle", "inside"): 0.5,
    ("inside", "distance"): 0.1,
    ("inside", "angle"): 0.6,
}


@pytest.fixture(scope="module")
def settings() -> Settings:
    """Three tasks, a model of each, one pair with distance and one without, and the control."""
    finetunes: dict[str, tuple[str, ...]] = {
        "ftwb1-1": ("distance",),
        "ftwb1-2": ("angle",),
        "ftwb1-3": ("inside",),
        "ftwb2-1": ("angle", "distance"),
        "ftwb2-2": ("angle", "inside"),
        "ftwb0-0": (),
    }
    return replace(load(ROOT / "params.yaml"), tasks=("distance", "angle", "inside"), finetunes=finetunes)


def known(runs: list[RunScores], shift: Callable[[RunScores], float] = lambda run: 0.0) -> list[RunScores]:
    """Gains and transfer as in the tables above; of pairs with distance ``shift`` more."""
    for run in runs:
        for (model, task), gain in GAINS.items():
            more = shift(run) if model == "ftwb2-1" else 0.0
            run.cells[DIFFERENCE, model, task] = np.full(1 + RESAMPLES, gain + more)
        models = single_tasks(run.settings)["ftwb1"]
        for (trained, task), score in TRANSFER.items():
            run.cells[over_control("ftwb1"), models[trained], task] = np.full(1 + RESAMPLES, score)
    return runs


def means(table: pd.DataFrame, **where: str) -> dict[str, float]:
    """``pairs`` or ``task`` -> mean of the rows with these values."""
    for column, value in where.items():
        table = table[table[column] == value]
    by = "pairs" if "pairs" in table else "task"
    return dict(zip(table[by], table["mean"], strict=True))


def test_gains_with_and_without_distance(settings: Settings) -> None:
    found = compare(known(fake_runs(settings, archs=("narrow", "wide")))).divergence
    for level in ("narrow", "wide"):
        of = {tasks: means(found, level=level, tasks=tasks) for tasks in ("trained", "other", "all")}
        assert of["trained"] == pytest.approx(
            {"with distance": -0.2, "without distance": 0.15, "with minus without": -0.35}
        )
        assert of["other"] == pytest.approx(
            {"with distance": -0.5, "without distance": 0.3, "with minus without": -0.8}
        )
        assert of["all"] == pytest.approx({"with distance": -0.3, "without distance": 0.2, "with minus without": -0.5})
    sizes = found[(found["level"] == "wide") & (found["tasks"] == "all")].set_index("pairs")
    assert sizes["models"].to_dict() == {"with distance": 1, "without distance": 1, "with minus without": 2}
    assert sizes["cells"].to_dict() == {"with distance": 3, "without distance": 3, "with minus without": 6}


def test_the_interval_of_the_difference_is_over_replicates(settings: Settings) -> None:
    """-0.35 - 0.1, -0.35 and -0.35 + 0.1: mean -0.35, sd 0.1, half of the interval 4.303 x 0.1 / root 3."""
    shifts = {1: -0.1, 2: 0.0, 3: 0.1}
    runs = known(fake_runs(settings, archs=("narrow", "wide")), shift=lambda run: shifts[run.settings.seed])
    found = compare(runs).divergence
    contrast = found[(found["pairs"] == "with minus without") & (found["tasks"] == "trained")]
    for row in contrast.to_dict("records"):
        assert (row["n"], row["mean"], row["sd"]) == (3, pytest.approx(-0.35), pytest.approx(0.1))
        assert row["high"] - row["mean"] == pytest.approx(4.30265 * 0.1 / np.sqrt(3), rel=1e-4)
        assert row["line_se"] == pytest.approx(0.0, abs=1e-12)
        assert row["p_holm"] == pytest.approx(2 * row["p"])  # two archs
        assert row["verdict"] == ("significant: pairs with distance lower" if row["p_holm"] < 0.05 else row["verdict"])
    assert (contrast["p"] < 0.05).all()
    others = found[found["pairs"] != "with minus without"]
    assert others["p"].isna().all()
    assert others["verdict"].isna().all()


def test_a_cell_that_one_run_cannot_measure_counts_in_none(settings: Settings) -> None:
    runs = known(fake_runs(settings, archs=("wide",)))
    runs[0].cells[DIFFERENCE, "ftwb2-1", "distance"] = np.full(1 + RESAMPLES, np.nan)
    found = compare(runs).divergence
    assert means(found, tasks="trained")["with distance"] == pytest.approx(-0.3)
    assert list(found[found["pairs"] == "with distance"]["cells"]) == [1, 1, 2]


def test_without_pairs_of_both_kinds_there_is_no_divergence(settings: Settings) -> None:
    kept = {name: tasks for name, tasks in settings.finetunes.items() if name != "ftwb2-2"}
    assert compare(fake_runs(replace(settings, finetunes=kept), archs=("wide",))).divergence.empty


def test_givers_and_takers(settings: Settings) -> None:
    found = compare(known(fake_runs(settings, archs=("wide",)))).givers
    assert means(found, role="giver") == pytest.approx({"distance": 0.05, "angle": 0.4, "inside": 0.35})
    assert means(found, role="taker") == pytest.approx({"distance": 0.2, "angle": 0.35, "inside": 0.25})
    assert set(found["minus_control"]) == {True}
    assert set(found["cells"]) == {2}


def test_without_a_control_transfer_is_as_measured(settings: Settings) -> None:
    kept = {name: tasks for name, tasks in settings.finetunes.items() if tasks}
    runs = fake_runs(replace(settings, finetunes=kept), archs=("wide",))
    for run in runs:
        run.cells["ftwb1", "ftwb1-1", "angle"] = np.full(1 + RESAMPLES, 0.8)
        run.cells["ftwb1", "ftwb1-1", "inside"] = np.full(1 + RESAMPLES, 0.2)
    found = compare(runs).givers
    assert means(found, role="giver")["distance"] == pytest.approx(0.5)
    assert set(found["minus_control"]) == {False}


# --- efficiency


def test_frontier_by_hand() -> None:
    """Dominated: as dear and worse, dearer and no better; equal points stand beside each other."""
    costs = [1.0, 2.0, 2.0, 3.0, 4.0, 4.0, 5.0]
    scores = [0.2, 0.5, 0.4, 0.5, 0.9, 0.9, 0.8]
    assert frontier(costs, scores) == [True, True, False, False, True, True, False]
    assert frontier([3.0], [-1.0]) == [True]
    assert frontier([], []) == []


def test_plug_ins_that_come_first_are_neither_the_headline_nor_held_against_the_control(settings: Settings) -> None:
    """Tables and the first sentence are about fine-tuned models; a plug-in has no control to be held against."""
    plug_ins = {f"plug1-{i}": (task,) for i, task in enumerate(settings.tasks)}
    whole = replace(settings, finetunes={**plug_ins, **settings.finetunes})
    runs = known(fake_runs(whole, archs=("narrow", "wide")))
    found = compare(runs)
    givers = found.givers
    assert list(dict.fromkeys(givers["matrix"])) == list(dict.fromkeys(found.patterns["matrix"])) == ["ftwb1", "plug1"]
    assert givers.groupby("matrix")["minus_control"].unique().map(list).to_dict() == {"ftwb1": [True], "plug1": [False]}
    assert givers["mean"].notna().all()
    own = [run.cells["plug1", "plug1-0", task][0] for run in runs if run.arch == "wide" for task in settings.tasks[1:]]
    (row,) = records(givers, level="wide", matrix="plug1", role="giver", task=settings.tasks[0])
    assert row["mean"] == pytest.approx(np.mean(own))
    shown = {row["task"]: row["wide"] for row in giver_rows(found, "epochs")}
    assert shown["angle gives"].startswith("0.40")  # (0.3 + 0.5) / 2, of TRANSFER


@pytest.fixture(scope="module")
def costly(settings: Settings) -> Comparison:
    """Scores in tasks trained: narrow 0.5, base 0.4, wide 0.7, but base is best of seed 3."""
    runs = fake_runs(settings, archs=("narrow", "base", "wide"))
    for run in runs:
        score = {"narrow": 0.5, "base": 0.4, "wide": 0.7}[run.arch]
        score = 0.71 if (run.arch, run.settings.seed) == ("base", 3) else score
        for task, model in single_tasks(run.settings)["ftwb1"].items():
            run.cells["ftwb1", model, task] = np.full(1 + RESAMPLES, score)
    return compare(runs)


def test_points_stand_at_what_they_cost(costly: Comparison) -> None:
    table, runs = costly.efficiency, costly.runs
    assert scores_shown(costly.metrics) == [
        "ftwb1_trained", "ftwb1_transfer_minus_control", "skill_trained", "skill_transfer"]  # fmt: skip
    assert list(dict.fromkeys(table["metric"])) == scores_shown(costly.metrics)
    for cost, values in (("parameters", runs["parameters"]), ("total_flops", runs["flops"] + runs["finetuning_flops"])):
        own = table[(table["metric"] == "ftwb1_trained") & (table["cost"] == cost)]
        assert dict(zip(own["level"], own["at"], strict=True)) == dict(values.groupby(runs["level"]).mean())
    trained = costly.means[costly.means["metric"] == "ftwb1_trained"]
    own = table[(table["metric"] == "ftwb1_trained") & (table["cost"] == "parameters")]
    np.testing.assert_allclose(
        own[["mean", "low", "high"]].to_numpy(dtype=float), trained[["mean", "low", "high"]].to_numpy(dtype=float)
    )


def test_the_frontier_is_of_the_means_and_counted_in_single_replicates(costly: Comparison) -> None:
    """base's mean is 0.503: above narrow's 0.5, below wide's; in seeds 1 and 2 it is below narrow, in 3 above wide."""
    own = costly.efficiency.query("metric == 'ftwb1_trained' and cost == 'parameters'").set_index("level")
    assert own["frontier"].to_dict() == {"narrow": True, "base": True, "wide": True}
    assert own["frontier_replicates"].to_dict() == {"narrow": 3, "base": 1, "wide": 2}
    assert set(own["replicates"]) == {3}


def test_without_a_control_efficiency_is_of_transfer_itself(settings: Settings) -> None:
    kept = {name: tasks for name, tasks in settings.finetunes.items() if tasks}
    found = compare(fake_runs(replace(settings, finetunes=kept), archs=("narrow", "wide")))
    assert scores_shown(found.metrics)[1] == "ftwb1_transfer"
    assert len(found.efficiency) == 4 * 2 * 2
