"""The declared analysis: which there may be, whether git has it from before the runs, and what it comes to.

pytest tests/test_declared.py
"""

import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from fake_runs import fake_runs
from laboratory import PARAMS, edited_params
from worldwidth.comparison.declared import Declared, check_analysis, declared, unchanged_since
from worldwidth.comparison.export import markdown, write_tables
from worldwidth.comparison.tables import Comparison, compare
from worldwidth.core.errors import WorldwidthError
from worldwidth.dvcio.experiments import Experiment
from worldwidth.settings.load import load
from worldwidth.settings.questions import Analysis
from worldwidth.settings.schema import Settings

HOUR = 3600
START = 1_700_000_000


class Repository:
    """A repository whose commits are an hour apart."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.time = folder, START
        self._git("init", "-q")

    def _git(self, *arguments: str) -> str:
        command = ["git", "-c", "user.name=test", "-c", "user.email=test@example.org", *arguments]
        dated = {**os.environ, "GIT_COMMITTER_DATE": f"{self.time} +0000"}
        ran = subprocess.run(command, cwd=self.folder, env=dated, check=True, capture_output=True, text=True)
        return ran.stdout.strip()

    def write(self, text: str) -> None:
        (self.folder / "params.yaml").write_text(text)

    def commit(self, text: str) -> str:
        self.write(text)
        self._git("add", "params.yaml")
        self.time += HOUR
        self._git("commit", "-qm", "params")
        return self._git("rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    monkeypatch.chdir(tmp_path)
    return Repository(tmp_path)


def section(primary: str, **others: Any) -> str:
    return "\n".join(["seed: 1", "analysis:", f"  primary: {primary}", *(f"  {k}: {v}" for k, v in others.items()), ""])


# --- since when it is declared


def test_it_is_the_oldest_commit_since_which_the_section_is_unchanged(repository: Repository) -> None:
    repository.commit(section("ftwb1_trained", sd=0.1))
    repository.commit("seed: 1\n")
    wanted = repository.commit(section("ftwb1_trained", sd=0.1))
    repository.commit(section("ftwb1_trained", sd=0.1).replace("seed: 1", "seed: 2"))
    repository.commit("# a comment\n" + section("ftwb1_trained", sd="1.0e-1"))
    assert unchanged_since() == (wanted, START + 3 * HOUR)


def test_another_value_is_another_declaration(repository: Repository) -> None:
    repository.commit(section("ftwb1_trained", sd=0.1))
    wanted = repository.commit(section("ftwb1_trained", sd=0.2))
    assert unchanged_since() == (wanted, START + 2 * HOUR)


def test_what_is_not_committed_is_not_declared(repository: Repository) -> None:
    repository.commit(section("ftwb1_trained"))
    repository.write(section("ftwb1_transfer"))
    assert unchanged_since() == ("", 0)


def runs_at(*times: int) -> list[Experiment]:
    return [Experiment(f"run-{time}", "c" * 40, "b" * 40, time) for time in times]


@pytest.mark.parametrize(
    ("first_run", "by", "decides", "said"),
    [
        (
            START + HOUR + 60,
            "arch",
            True,
            r"declared on 2023-11-14 23:13 \(commit .{8}\), before the first run \(2023-11-14 23:14\)",
        ),
        (START + HOUR - 60, "arch", False, r"declared after the runs \(2023-11-14 23:13, .*23:12\): exploratory"),
        (START + HOUR + 60, "budget", False, "declared for arch, not for budget: exploratory"),
    ],
)
def test_it_decides_if_it_is_older_than_the_first_run(
    repository: Repository, settings: Settings, first_run: int, by: str, decides: bool, said: str
) -> None:
    repository.commit(section("ftwb1_trained"))
    found = declared(settings, by, runs_at(first_run + HOUR, first_run))
    assert found is not None
    assert found.is_before == decides
    assert pd.Series([found.said]).str.fullmatch(said).all(), found.said


def test_an_uncommitted_one_is_exploratory(repository: Repository, settings: Settings) -> None:
    repository.commit("seed: 1\n")
    repository.write(section("ftwb1_trained"))
    found = declared(settings, "arch", runs_at(START + 9 * HOUR))
    assert found is not None
    assert (found.is_before, found.said) == (False, "analysis of params.yaml is not committed: exploratory")
    assert declared(replace(settings, analysis=None), "arch", runs_at(START)) is None


# --- what may be declared


def test_a_metric_that_is_none_is_one_line(settings: Settings) -> None:
    assert settings.analysis is not None
    check_analysis(settings)
    wrong = replace(settings, analysis=replace(settings.analysis, primary="ftwb1_transfr"))
    with pytest.raises(
        WorldwidthError,
        match=r"^params.yaml: analysis.primary: found 'ftwb1_transfr'; it must be a metric .*; did you mean 'ftwb1_t",
    ):
        check_analysis(wrong)
    alone = {name: tasks for name, tasks in settings.finetunes.items() if tasks}
    above = replace(settings, analysis=replace(settings.analysis, primary="ftwb1_transfer_minus_control"))
    check_analysis(above)
    with pytest.raises(WorldwidthError, match=r"analysis.primary: found 'ftwb1_transfer_minus_control'"):
        check_analysis(replace(above, finetunes=alone))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"analysis__by": "arc"}, "analysis.by: 'arc': no setting that can be varied; .*did you mean 'arch'"),
        (
            {"analysis__contrast": "linar"},
            "analysis.contrast: found \"linar\"; allowed: linear, ends; did you mean 'linear'",
        ),
        ({"analysis__equivalence": 0}, "analysis.equivalence: found 0; it must be greater than 0"),
    ],
)
def test_a_wrong_section_is_one_line(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump({**PARAMS, **edited_params(**change)}))
    with pytest.raises(WorldwidthError, match=said):
        load(path)


# --- what a comparison makes of it


@pytest.fixture(scope="module")
def small(settings: Settings) -> Settings:
    """A study of the control and two tasks."""
    some = ("ftwb0-0", "ftwb1-1", "ftwb1-4")
    return replace(settings, finetunes={name: settings.finetunes[name] for name in some})


def plan_of(analysis: Analysis, by: str = "arch", time: int = 1) -> Declared:
    return Declared(analysis, by, "a" * 40, time, 2)


def by_hand(comparison: Comparison, arm: str, metric: str) -> np.ndarray:
    rows = comparison.runs[comparison.runs["arm"] == arm]
    return rows.pivot(index="seed", columns="level", values=metric)[["narrow", "base", "wide", "wider"]].to_numpy()


def test_the_primary_result_comes_first_and_the_rest_is_exploratory(small: Settings, tmp_path: Path) -> None:
    assert small.analysis is not None
    plan = plan_of(replace(small.analysis, primary="ftwb1_trained"))
    found = compare(fake_runs(small, budgets=("epochs", "flops"), slope=0.1), plan=plan)
    decided = found.primary[found.primary["role"] == "primary"].set_index("arm")
    assert list(decided.index) == ["epochs", "flops"]
    y = by_hand(found, "epochs", "ftwb1_trained")
    slopes = np.polyfit(range(4), y.T, 1)[0]
    rest = y - y.mean(axis=0) - y.mean(axis=1, keepdims=True) + y.mean()
    assert decided.loc["epochs", "mean"] == pytest.approx(3 * slopes.mean())
    assert decided.loc["epochs", "sd"] == pytest.approx(((rest**2).sum() / 6) ** 0.5)
    assert decided.loc["epochs", "verdict"] == "significant: wider higher"
    assert (found.primary["role"] == "pair").sum() == 2 * 6
    assert (found.primary["role"] == "sensitivity").sum() == 2 * 3
    trend = found.trends.set_index(["arm", "metric"])
    assert set(trend.index[trend["role"] == "primary"]) == {(arm, "ftwb1_trained") for arm in ("epochs", "flops")}
    (one,) = found.trends.query("arm == 'epochs' and role == 'primary'").to_dict("records")
    assert one["p_holm"] == one["p"]  # a family of its own
    text = markdown(found)
    assert text.index("## Primary result: FTWB1 trained") < text.index("Everything below is exploratory")
    assert text.index("Everything below is exploratory") < text.index("## Budget: epochs")
    assert "before the first run" in text
    write_tables(found, tmp_path)
    written = pd.read_csv(tmp_path / "primary.csv")
    assert len(written) == len(found.primary)
    assert set(written["declared"]) == {plan.said}


def test_one_that_is_too_late_is_shown_and_does_not_decide(small: Settings) -> None:
    assert small.analysis is not None
    found = compare(fake_runs(small), plan=plan_of(small.analysis, time=3))
    assert set(found.primary["role"]) == {"exploratory", "sensitivity", "pair"}
    assert set(found.trends["role"]) == {"exploratory"}
    label = found.metrics[small.analysis.primary].label
    assert f"## Declared analysis, exploratory here: {label}" in markdown(found)
    assert "declared after the runs" in markdown(found)


def test_without_one_all_is_exploratory(small: Settings, tmp_path: Path) -> None:
    found = compare(fake_runs(small))
    assert found.primary.empty
    assert "params.yaml declares no analysis: everything here is exploratory." in markdown(found)
    assert "primary.csv" not in {path.name for path in write_tables(found, tmp_path)}


def test_runs_that_lack_the_metric_have_no_primary_result(small: Settings) -> None:
    assert small.analysis is not None
    some = {name: tasks for name, tasks in small.finetunes.items() if tasks}
    above = replace(small.analysis, primary="ftwb1_transfer_minus_control")
    found = compare(fake_runs(replace(small, finetunes=some)), plan=plan_of(above))
    assert "The declared metric, ftwb1_transfer_minus_control, is none of these runs" in markdown(found)


def test_levels_without_sizes_have_pairs_and_no_linear_contrast(small: Settings) -> None:
    assert small.analysis is not None
    plan = plan_of(replace(small.analysis, by="budget"), by="budget")
    runs = fake_runs(small, archs=("wide",), budgets=("epochs", "flops"))
    found = compare(runs, by=("budget",), plan=plan)
    assert set(found.primary["role"]) == {"pair"}
    assert "The declared contrast is not defined over these values of budget" in markdown(found)
    last = compare(runs, by=("budget",), plan=plan_of(replace(plan.analysis, contrast="ends"), by="budget"))
    (row,) = last.primary[last.primary["role"] == "primary"].to_dict("records")
    assert (row["level"], row["other"]) == ("epochs", "flops")


def test_one_replicate_gives_no_test(small: Settings) -> None:
    assert small.analysis is not None
    found = compare(fake_runs(small, seeds=(1,)), plan=plan_of(small.analysis))
    (row,) = found.primary.to_dict("records")
    assert (row["role"], row["verdict"]) == ("primary", "too few seeds to say (n = 1)")
    assert "too few seeds" in markdown(found)


def test_equivalence_is_judged_by_the_declared_bound(small: Settings) -> None:
    assert small.analysis is not None
    runs = fake_runs(small, seeds=tuple(range(12)), slope=0.0)
    for bound, within in ((0.5, True), (1e-6, False)):
        found = compare(runs, plan=plan_of(replace(small.analysis, equivalence=bound)))
        decided = found.primary[found.primary["role"] == "primary"]
        assert list(decided["within_bound"]) == [within]
        assert ("equivalent: within the declared 0.5" in markdown(found)) == within


# --- suspicious equality


def test_differences_that_agree_too_well_are_named(small: Settings) -> None:
    """The difference of wide and narrow is made the same in all replicates; everything else scatters."""
    runs = fake_runs(small, seed_sd=0.0)
    narrow = {run.settings.seed: run for run in runs if run.arch == "narrow"}
    made = []
    for run in runs:
        if run.arch != "wide":
            made.append(run)
            continue
        cells = dict(run.cells)
        for key, values in narrow[run.settings.seed].cells.items():
            if key[0] == "ftwb1":
                cells[key] = values + 0.008 + 1e-5 * run.settings.seed
        made.append(replace(run, cells=cells))
    found = compare(made)
    suspects = found.differences[found.differences["near_equal"]]
    named = {(row["level"], row["other"], row["metric"]) for row in suspects.to_dict("records")}
    assert {("narrow", "wide", "ftwb1_trained"), ("narrow", "wide", "ftwb1_transfer")} <= named
    assert len(named) < 8  # of 6 pairs in each of 12 metrics: about one by chance
    text = markdown(found)
    assert "wide − narrow, FTWB1 trained: 3 near-equal differences (sd 1e-05" in text  # noqa: RUF001
    row = suspects[(suspects["metric"] == "ftwb1_trained") & (suspects["other"] == "wide")].iloc[0]
    y = by_hand(found, "epochs", "ftwb1_trained")
    rest = y - y.mean(axis=0) - y.mean(axis=1, keepdims=True) + y.mean()
    assert row["pooled_sd"] == pytest.approx((2 * (rest**2).sum() / 6) ** 0.5)
    assert row["pooled_low"] < row["low"] < row["high"] < row["pooled_high"]


def test_two_levels_have_no_other_pairs_to_be_held_against(small: Settings) -> None:
    found = compare(fake_runs(small, archs=("narrow", "wide")))
    assert not found.differences["near_equal"].any()
    assert found.differences["pooled_sd"].isna().all()
