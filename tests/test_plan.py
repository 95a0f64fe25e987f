"""`worldwidth plan`: both budgets, what they come to for every arch, and the same as JSON.

pytest tests/test_plan.py
"""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from worldwidth.commands import plan
from worldwidth.commands.plan import print_plan
from worldwidth.core.text import times
from worldwidth.dvcio.forecast import CACHED, LATER, RUN, RUNS, UP_TO_DATE, Forecast
from worldwidth.engine.costs import LineSizes, width_plans
from worldwidth.engine.timings import START, Timings
from worldwidth.engine.view import duration
from worldwidth.settings.axes import with_edits
from worldwidth.settings.compute import training_steps
from worldwidth.settings.schema import Settings, finetuned

STAGES = ("recipe", "base", "ftwb0@0", "ftwb1@1", "ftwb2@4", "plug1@1")
NEEDS = {"recipe": set(), "base": {"recipe"}, **{name: {"base"} for name in STAGES[2:]}}
COLUMNS = ["arch", "parameters", "epochs", "steps", "tokens", "FLOPs", "ratio", "steps", "FLOPs", "ratio"]


@pytest.fixture
def lines(settings: Settings, empty_project: Path, monkeypatch: pytest.MonkeyPatch) -> LineSizes:
    """20 tokens a line of every task; DVC would run six stages, which have never run here."""
    places = [(task, population) for task in settings.tasks for population in ("world", "atlantis")]
    sizes: LineSizes = dict.fromkeys(places, 20.0), dict.fromkeys(settings.tasks, 50)
    monkeypatch.setattr(plan, "line_sizes", lambda settings: sizes)
    monkeypatch.setattr(plan, "check_rendered", lambda settings: None)
    monkeypatch.setattr(plan, "asked", lambda: ([Forecast(name, RUN, "never run") for name in STAGES], NEEDS))
    return sizes


def table(printed: str) -> tuple[list[str], dict[str, list[str]]]:
    """The table of archs at the end: its columns, and arch -> row."""
    rows = [line.split() for line in printed.splitlines()]
    start = next(i for i, row in enumerate(rows) if row[:1] == ["arch"] and "parameters" in row)
    return rows[start], {row[0]: row[1:] for row in rows[start + 1 :]}


def test_it_names_both_budgets_and_what_they_come_to(
    settings: Settings, lines: LineSizes, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = replace(settings, finetuning_budget="flops")
    print_plan(chosen, as_json=False)
    printed = capsys.readouterr().out
    assert printed.startswith("arch wide, scale laptop, seed 42, parametrization standard\n225,536 parameters\n")
    assert max(map(len, printed.splitlines())) <= 80
    assert "\nbudget epochs: each arch its own epochs\n" in printed
    assert "\nfinetuning_budget flops: the fine-tuning FLOPs of wide for every arch\n" in printed
    columns, rows = table(printed)
    assert columns == COLUMNS
    assert list(rows) == list(settings.selected.archs)
    assert rows["narrow"][:3] == ["19,520", "12", "10,500"]
    narrow = replace(chosen, arch="narrow")
    steps = sum(training_steps(narrow, model) for model in finetuned(narrow))
    assert steps == 70_622
    assert rows["narrow"][-4:] == [times(1, 1), f"{steps:,}", *rows["wide"][-2:]]
    ratios = [float(row[-1].removesuffix(times(1, 1)[-1])) for name, row in rows.items() if name != "wider"]
    assert ratios == pytest.approx([1] * 5, abs=2e-3), "but for rounding to whole steps"
    assert {len(line) for line in printed.splitlines()[-len(rows) :]} == {78}


def test_by_epochs_all_fine_tune_for_as_many_steps(
    settings: Settings, lines: LineSizes, capsys: pytest.CaptureFixture[str]
) -> None:
    print_plan(settings, as_json=False)
    printed = capsys.readouterr().out
    assert "\nfinetuning_budget epochs: each arch its own finetuning.epochs\n" in printed
    _, rows = table(printed)
    steps = sum(training_steps(settings, model) for model in finetuned(settings))
    assert {f"{steps:,}" in row for row in rows.values()} == {True}
    assert rows["wide"][-1] == times(11.6, 1)


def test_stages_stand_in_groups_unless_all_are_asked_for(
    settings: Settings, lines: LineSizes, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    states = {"ftwb1@1": UP_TO_DATE, "ftwb1@2": RUN, "ftwb1@3": LATER, "evaluate@ftwb1-1": RUNS, "corpus@angle": CACHED}
    answers = [Forecast(name, state, "params seed" if state in (RUN, CACHED) else "") for name, state in states.items()]
    monkeypatch.setattr(plan, "asked", lambda: (answers, {name: set() for name in states}))
    print_plan(settings, as_json=False)
    printed = capsys.readouterr().out
    assert "\nftwb1      3 stages      924 " in printed
    assert "  1 up to date, 1 will run, 1 decided later\n" in printed
    assert re.search(r"\nevaluate@ftwb1-1 .* running\n", printed)
    assert re.search(r"\ncorpus@angle .* restored\n", printed)
    assert "\n  ftwb1@2 and corpus@angle: params seed\n" in printed
    print_plan(settings, as_json=False, every=True)
    printed = capsys.readouterr().out
    assert [line.split()[0] for line in printed.splitlines()[4:9]] == list(states)
    assert max(map(len, printed.splitlines())) <= 80


def test_times_are_those_of_earlier_runs(
    settings: Settings, lines: LineSizes, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recipe, the base model, then the others two at a time, each job with its start."""
    monkeypatch.setattr(plan, "job_slots", lambda *arguments: [{}, {}])
    print_plan(settings, as_json=False)
    assert "How long that takes is not known" in " ".join(capsys.readouterr().out.split())
    timings = Timings()
    for stage, seconds in zip(STAGES, (1.0, 60.0, 40.0, 40.0, 40.0, 40.0), strict=True):
        timings.add(settings, stage, seconds)
    timings.add(settings, START, 2.0)
    timings.add_peak(settings, 200_000_000)
    timings.write()
    print_plan(settings, as_json=False)
    printed = " ".join(capsys.readouterr().out.split())
    assert "Memory: 200 MB a job at most when it last ran, 400 MB for 2 jobs at a time." in printed
    print_plan(settings, as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert found["stages"][1]["seconds"] == 60
    assert (found["peak_bytes"], found["jobs_at_a_time"]) == (200_000_000, 2)
    assert 3 + 62 + 82 <= found["seconds"] <= 3 + 62 + 162  # as models_per_job shares them out
    about = f"about {duration(found['seconds'])} with 2 jobs at a time"
    assert f"All of it: {about}, by timings/stages.json of earlier runs here." in printed


@pytest.mark.parametrize("budget", ["epochs", "flops"])
def test_a_stage_has_the_steps_that_it_will_train(
    settings: Settings, lines: LineSizes, capsys: pytest.CaptureFixture[str], budget: Any
) -> None:
    chosen = replace(settings, arch="narrow", finetuning_budget=budget)
    print_plan(chosen, as_json=True)
    found = json.loads(capsys.readouterr().out)
    steps = {row["stage"]: row["steps"] for row in found["stages"]}
    models = {name.replace("@", "-"): n for name, n in steps.items() if n}
    assert models == {
        model: training_steps(chosen, model) for model in ("base", "ftwb0-0", "ftwb1-1", "ftwb2-4", "plug1-1")
    }
    assert models["ftwb0-0"] == models["ftwb1-1"] == {"epochs": 308, "flops": 3559}[budget]
    (narrow,) = (width for width in found["widths"] if width["arch"] == "narrow")
    assert narrow["finetuning_steps"] == sum(training_steps(chosen, model) for model in finetuned(chosen))
    assert (found["finetuning_budget"], found["stages_to_run"]) == (budget, len(STAGES))


@pytest.mark.parametrize("atlantis", [False, True])
def test_tokens_are_those_of_the_lines_that_each_model_reads(
    settings: Settings, lines: LineSizes, capsys: pytest.CaptureFixture[str], atlantis: bool
) -> None:
    """20 a line: a plug-in reads those of Atlantis alone, a base model perhaps those, too."""
    scale = settings.selected
    own = with_edits(settings, {f"scales.{settings.scale}.pretraining.atlantis": atlantis})
    print_plan(own, as_json=True)
    found = {row["stage"]: row["tokens"] for row in json.loads(capsys.readouterr().out)["stages"]}
    tasks, corpus, fine = len(settings.tasks), scale.corpus, settings.finetuning
    epochs = settings.selected_arch.epochs
    assert found["base"] == 20 * tasks * (corpus.world.train + atlantis * corpus.atlantis.train) * epochs
    assert found["plug1@1"] == 20 * fine.atlantis_lines * fine.epochs
    assert found["ftwb1@1"] == 20 * fine.epochs * (fine.world_lines + fine.atlantis_lines + tasks * fine.warmup_lines)


def test_equal_fine_tuning_flops_are_equal(settings: Settings, lines: LineSizes) -> None:
    """But for rounding to whole steps; a deep arch counts by its own layers."""
    plans = {width.arch: width for width in width_plans(replace(settings, finetuning_budget="flops"), lines)}
    wide = plans["wide"].finetuning_flops
    assert [plans[name].finetuning_flops for name in ("narrow", "base", "deep", "shallow")] == pytest.approx(
        [wide] * 4, rel=5e-3
    )
    assert plans["wider"].finetuning_flops == pytest.approx(wide, rel=0.02)
    assert plans["narrow"].finetuning_steps > 10 * plans["wide"].finetuning_steps
