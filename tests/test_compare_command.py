"""`worldwidth compare`: which experiments it takes, what it refuses, where it writes.

pytest tests/test_compare_command.py
"""

import json
import re
import shutil
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from dvc.cli import main as dvc_main

from laboratory import CURVES, PARAMS, Laboratory, edited, edited_params, save_scores, with_scores
from repository import PROJECT
from worldwidth.commands.compare import Question, of_scale, of_sweep, run_compare
from worldwidth.comparison.axes import Design
from worldwidth.core.errors import WorldwidthError
from worldwidth.dvcio.experiments import NAME
from worldwidth.settings.load import load
from worldwidth.settings.questions import Sweep
from worldwidth.settings.schema import Settings
from worldwidth.sweep.variants import variants_of

RATE = "finetuning.learning_rate"


@pytest.fixture
def laboratory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Laboratory:
    monkeypatch.chdir(tmp_path)
    return Laboratory(tmp_path)


def at_smoke() -> Settings:
    return replace(load(PROJECT / "params.yaml"), scale="smoke")


def sweeping(settings: Settings, **vary: Any) -> Settings:
    """``settings`` with a sweep ``two`` over archs and rates."""
    varied = {"arch": ("narrow", "wide"), RATE: (1e-3, 4e-3), **vary}
    return replace(settings, sweeps={**settings.sweeps, "two": Sweep(vary=varied, replicates=2)})


# --- which experiments


def test_those_of_the_scale_are_taken(laboratory: Laboratory) -> None:
    laboratory.add("wide-epochs-s1", scale="smoke", seed=3)
    newer = laboratory.add("wide-epochs-s1", scale="smoke", seed=1)
    rated = laboratory.add("wide-epochs-s1-lr4e-3", scale="smoke", seed=1)
    drawn = laboratory.add("wide-epochs-s1-a43", scale="smoke", seed=1)
    laboratory.add("narrow-epochs-s1", scale="laptop")
    laboratory.add("lively-newt", scale="smoke")
    plain = re.compile(r"[^-]+-[^-]+-s\d+(-a\d+)?")
    assert [e.commit for e in of_scale(at_smoke(), plain)] == [newer, drawn]
    assert {e.commit for e in of_scale(at_smoke(), NAME)} == {newer, drawn, rated}


def test_those_of_a_sweep_are_taken_and_the_others_named(
    laboratory: Laboratory,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = sweeping(at_smoke())
    with pytest.raises(
        WorldwidthError, match="sweep two: none of its 8 runs is there at smoke; `worldwidth sweep two`"
    ):
        of_sweep(settings, "two")
    for name in ("wide-epochs-s42-lr4e-3", "narrow-epochs-s43-a43-lr1e-3", "base-epochs-s42-lr1e-3"):
        laboratory.add(name, scale="smoke")
    laboratory.add("wide-epochs-s42-lr1e-3", scale="laptop")
    found = of_sweep(settings, "two")
    assert {experiment.name for experiment in found} == {"wide-epochs-s42-lr4e-3", "narrow-epochs-s43-a43-lr1e-3"}
    assert "sweep two: 6 of 8 runs are not there (narrow-epochs-s42-lr1e-3, " in capsys.readouterr().err


def test_those_of_a_sweep_at_another_scale(laboratory: Laboratory) -> None:
    settings = load(PROJECT / "params.yaml")
    one = Sweep(vary={"arch": ("narrow", "wide")}, scale="smoke")
    settings = replace(settings, sweeps={"one": one})
    with pytest.raises(WorldwidthError, match="sweep one: none of its 2 runs is there at smoke; "):
        of_sweep(settings, "one")
    laboratory.add("wide-epochs-s42-smoke", scale="smoke")
    laboratory.add("narrow-epochs-s42-smoke", scale="laptop")
    assert [experiment.name for experiment in of_sweep(settings, "one")] == ["wide-epochs-s42-smoke"]


def test_without_experiments_it_says_what_to_do(laboratory: Laboratory) -> None:
    with pytest.raises(
        WorldwidthError, match="no experiments of scale smoke: run `worldwidth sweep` or `make widths` first"
    ):
        run_compare(at_smoke(), [], [])
    laboratory.add("narrow-epochs-s1", scale="laptop")
    with pytest.raises(WorldwidthError, match=r"no experiments of scale smoke \(there are some of laptop\)"):
        run_compare(at_smoke(), [], [])


# --- what is asked


def test_a_sweep_is_compared_by_what_it_varies() -> None:
    settings = sweeping(at_smoke())
    asked = Question.of(settings, ["two"], None, None)
    assert (asked.sweeps, asked.by, asked.others, asked.name) == (("two",), ("arch", RATE), (), "two")
    asked = Question.of(settings, ["two"], [RATE], "mine")
    assert (asked.by, asked.others, asked.name) == ((RATE,), ("arch",), "mine")
    asked = Question.of(settings, [], None, None)
    assert (asked.sweeps, asked.by, asked.others, asked.name) == ((), ("arch",), (), "smoke")
    seeds = replace(settings, sweeps={"seeds": Sweep(vary={"seed": (1, 2)})})
    assert Question.of(seeds, ["seeds"], None, None).by == ("arch",)


def test_several_sweeps_are_arms_of_what_all_of_them_vary() -> None:
    one = Sweep(vary={"arch": ("narrow", "wide"), RATE: (1e-3,)})
    two = Sweep(vary={"arch": ("wide",), "recipe": ("published",)})
    settings = replace(at_smoke(), sweeps={"one": one, "two": two})
    asked = Question.of(settings, ["one", "two"], None, "both")
    assert (asked.sweeps, asked.by, asked.others) == (("one", "two"), ("arch",), (RATE, "recipe"))
    with pytest.raises(WorldwidthError, match="--out: several sweeps are compared; name the folders"):
        Question.of(settings, ["one", "two"], None, None)


def test_an_arm_that_is_one_of_the_sweeps_has_its_name() -> None:
    """And arms stand in the order in which the sweeps were named; one of many arms, or of another's, has no name."""
    mine = {
        "published": Sweep(vary={"arch": ("narrow", "wide"), "recipe": ("published",)}),
        "rates": Sweep(vary={"arch": ("wide",), RATE: (1e-3, 2e-3)}),
        "again": Sweep(vary={"arch": ("wide",), RATE: (2e-3,)}),
        "tuned": Sweep(vary={"arch": ("narrow", "wide")}),
    }
    settings = replace(at_smoke(), sweeps=mine)
    variants = [variant for sweep in mine.values() for variant in variants_of(settings, sweep)]
    runs = [variant.of(settings) for variant in variants]
    asked = Question.of(settings, list(mine), None, "all")
    names = asked.arms(settings, runs)
    assert sorted(names.values()) == ["published", "tuned"]
    design = Design.of(runs, asked.by, asked.others, names)
    assert design.arms_of(runs)[:2] == ("published", "tuned")
    assert [arm for arm in design.arms_of(runs)[2:] if "lr 1e-3" in arm or "lr 2e-3" in arm] != []
    assert Question.of(settings, ["tuned"], None, None).arms(settings, runs) == {}


@pytest.mark.parametrize(
    ("by", "out", "said"),
    [
        (["finetuning.learning_rte"], None, "'finetuning.learning_rte': no setting .*; did you mean '" + RATE),
        (["seed"], None, "axis 'seed': it tells replicates apart"),
        (["arch", RATE, "budget"], None, f"--by: found arch, {RATE}, budget; at most two axes"),
        (None, "../elsewhere", r"--out: found '\.\./elsewhere'; it must be a name of small letters"),
    ],
)
def test_what_cannot_be_asked_is_one_line(by: list[str] | None, out: str | None, said: str) -> None:
    with pytest.raises(WorldwidthError, match=said):
        Question.of(at_smoke(), [], by, out)


def test_a_sweep_beside_experiments_is_refused(laboratory: Laboratory) -> None:
    laboratory.add("one")
    with pytest.raises(WorldwidthError, match="'widths': sweeps are named without experiments beside them"):
        run_compare(at_smoke(), ["one", "widths"], [])


def test_an_axis_of_one_value_is_refused(laboratory: Laboratory) -> None:
    laboratory.add("one", arch="wide", seed=1)
    laboratory.add("two", arch="narrow", seed=2)
    with pytest.raises(WorldwidthError, match=f"axis '{RATE}': all 2 experiments have 1e-3; they differ in arch"):
        run_compare(at_smoke(), ["one", "two"], [], by=[RATE])


def test_two_runs_of_one_kind_are_refused(laboratory: Laboratory) -> None:
    laboratory.add("one", seed=1)
    laboratory.add("two", seed=1)
    said = "one and two: both are arch wide, epochs, seed 1, Atlantis seed 42; name one of them, or with --by"
    with pytest.raises(WorldwidthError, match=said):
        run_compare(at_smoke(), ["one", "two"], [])


def test_two_draws_of_one_seed_are_two_runs(laboratory: Laboratory) -> None:
    """They come as far as their scores."""
    dvc_main(["init", "-q"])
    for name, seed in (("one", 42), ("two", 43)):
        changes = edited_params(scales__laptop__world__atlantis__seed=seed)
        laboratory.add(name, with_scores("0" * 32, **changes), **changes)
    laboratory.params()
    with pytest.raises(WorldwidthError, match="one: the base model's scores are not in DVC's cache"):
        run_compare(load(Path("params.yaml")), ["one", "two"], [])


def test_a_pair_of_an_unknown_value_is_refused(laboratory: Laboratory) -> None:
    laboratory.add("one", arch="wide")
    with pytest.raises(
        WorldwidthError, match="arch 'wider': not among the experiments; there: wide; did you mean 'wide'"
    ):
        run_compare(at_smoke(), ["one"], [("wide", "wider")])


# --- what is written


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing is what takes the time."""
    monkeypatch.setattr("worldwidth.commands.draw_comparison.draw_comparison_figures", lambda *_: [])
    monkeypatch.setattr("worldwidth.commands.draw_comparison.write_report", lambda *_: None)


def cache_of(laboratory: Laboratory) -> Path:
    dvc_main(["init", "-q"])
    cache = laboratory.folder / ".dvc" / "cache" / "files" / "md5"
    cache.mkdir(parents=True)
    return cache


@pytest.mark.usefixtures("undrawn")
@pytest.mark.pipeline
def test_two_comparisons_lie_beside_each_other(laboratory: Laboratory) -> None:
    """The same runs by rate and by arch, from the real files."""
    cache, rng, models = cache_of(laboratory), np.random.default_rng(0), ("base", *PARAMS["finetunes"])
    for arch, rate, seed in product(("narrow", "wide"), ("1e-3", "4e-3"), (42, 43)):
        scale = {"finetuning__learning_rate": float(rate), "world__atlantis__seed": seed}
        edits = edited_params(**{f"scales__laptop__{key}": value for key, value in scale.items()})
        changes = {**edits, "arch": arch, "seed": seed}
        scores = save_scores(cache, **{"distance.world": rng.random(40)})
        name = f"{arch}-epochs-s{seed}{'-a43' * (seed == 43)}-lr{rate}"
        laboratory.add(name, with_scores(scores, models, **changes), **changes)
    laboratory.params()
    settings = sweeping(load(Path("params.yaml")))
    run_compare(settings, ["two"], [])
    run_compare(settings, ["two"], [], by=[RATE], out="by-rate")
    run_compare(settings, [], [], by=["arch", RATE])
    folder = Path("results/comparison")
    assert {path.name for path in folder.iterdir()} == {"two", "by-rate", "laptop"}
    asked = {name: json.loads((folder / name / "provenance.json").read_text()) for name in ("two", "by-rate", "laptop")}
    assert [(found["by"], found["sweeps"]) for found in asked.values()] == [
        (["arch", RATE], ["two"]), ([RATE], ["two"]), (["arch", RATE], [])]  # fmt: skip
    assert all(len(found["experiments"]) == 8 for found in asked.values())
    runs = {name: pd.read_csv(folder / name / "runs.csv") for name in asked}
    assert set(runs["two"]["arm"]) == {"epochs, lr 1e-3", "epochs, lr 4e-3"}
    assert set(runs["two"]["level"]) == {"narrow", "wide"}
    assert set(runs["by-rate"]["arm"]) == {"epochs, narrow", "epochs, wide"}
    assert set(runs["by-rate"]["level"]) == {1e-3, 4e-3}
    assert sorted(set(zip(runs["two"]["seed"], runs["two"]["atlantis_seed"], strict=True))) == [(42, 42), (43, 43)]
    pd.testing.assert_frame_equal(runs["two"], runs["laptop"])
    differences = pd.read_csv(folder / "by-rate" / "differences.csv")
    assert set(differences["n"]) == {2} | ({0} if (differences["n"] == 0).any() else set())


def test_a_comparison_is_drawn_again_from_its_tables_alone(
    laboratory: Laboratory, capsys: pytest.CaptureFixture[str]
) -> None:
    """As in a fresh clone: no experiments, no cache; the same bytes."""
    cache, rng, tests = cache_of(laboratory), np.random.default_rng(0), ("distance.world", "angle.atlantis")
    for arch, seed in product(("narrow", "wide"), (42, 43)):
        changes = {**edited_params(scales__laptop__world__atlantis__seed=seed), "arch": arch, "seed": seed}
        scores = save_scores(cache, **{name: rng.random(40) for name in tests})
        made = with_scores(scores, ("base", *PARAMS["finetunes"]), **changes)
        laboratory.add(f"{arch}-epochs-s{seed}{'-a43' * (seed == 43)}", made, **changes)
    laboratory.params()
    settings = load(Path("params.yaml"))
    shutil.copytree(PROJECT / "templates", "templates")
    capsys.readouterr()  # what DVC says of a new repository, once in a process
    run_compare(settings, [], [("narrow", "wide")])
    folders = Path("results/comparison/laptop"), Path("report/laptop")
    before = {path: path.read_bytes() for folder in folders for path in folder.iterdir()}
    assert {path.suffix for path in before} == {".csv", ".json", ".md", ".tex", ".html", ".png", ".pdf", ".svg"}
    shutil.rmtree(".git")
    shutil.rmtree(".dvc")
    for path in before:
        if path.suffix not in (".csv", ".json"):
            path.unlink()
    printed = capsys.readouterr().out
    run_compare(settings, [], [("narrow", "wide")], source="laptop")
    assert {path: path.read_bytes() for folder in folders for path in folder.iterdir()} == before
    again = capsys.readouterr().out
    assert again.partition("drawn again: ")[0] == printed.partition("compared 4 experiments: ")[0]
    with pytest.raises(WorldwidthError, match=r"^--from: found 'labtop'; there, .*: laptop; did you mean 'laptop'\?"):
        run_compare(settings, [], [], source="labtop")
    with pytest.raises(WorldwidthError, match=r"^--from: draws what was compared; name no experiments"):
        run_compare(settings, ["one"], [], source="laptop")
    (folders[0] / "runs.csv").write_text("experiment\none\n")
    with pytest.raises(WorldwidthError, match=r"^results/comparison/laptop: of another version .*`worldwidth compare"):
        run_compare(settings, [], [], source="laptop")


@pytest.mark.usefixtures("undrawn")
def test_runs_of_other_models_are_compared_in_those_that_all_have(
    laboratory: Laboratory, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = cache_of(laboratory)
    everything = PARAMS["finetunes"]
    some = {name: tasks for name, tasks in everything.items() if name.startswith(("ftwb0", "ftwb1"))}
    untuned = edited_params(**{f"scales__{scale}__tuning": None for scale in PARAMS["scales"]})
    for arch, finetunes in (("narrow", everything), ("wide", some), ("wider", {"ftwb2-4": everything["ftwb2-4"]})):
        changes = {**untuned, "sweeps": {}, "arch": arch, "finetunes": finetunes}
        laboratory.add(
            f"{arch}-epochs-s42", with_scores(save_scores(cache), ("base", *finetunes), **changes), **changes
        )
    laboratory.params()
    settings = load(Path("params.yaml"))
    run_compare(settings, ["narrow-epochs-s42", "wide-epochs-s42"], [])
    assert "compared in 8 fine-tunes that all experiments have, without plug1-1, " in capsys.readouterr().err
    cells = pd.read_csv("results/comparison/laptop/cells.csv")
    assert set(cells["model"]) == {"base", *some}
    assert set(pd.read_csv("results/comparison/laptop/runs.csv")["cells"]) == {8 * 7}
    with pytest.raises(WorldwidthError, match="have no fine-tune in common"):
        run_compare(settings, ["wide-epochs-s42", "wider-epochs-s42"], [])


@pytest.mark.usefixtures("undrawn")
def test_an_older_run_may_lack_an_arch_and_a_recipe_of_today(laboratory: Laboratory) -> None:
    """base-... sorts first, and its params.yaml has neither; read_comparison, which draws, needs both."""
    cache, laptop = cache_of(laboratory), "scales__laptop__"
    younger = {
        f"{laptop}archs__thin": PARAMS["scales"]["laptop"]["archs"]["narrow"],
        f"{laptop}recipes__slow": {"finetuning": {"learning_rate": 2e-4}},
    }
    runs: dict[str, dict[str, Any]] = {
        "base-epochs-s42": {"arch": "base"},
        "base-epochs-s42-slow": {"arch": "base", "recipe": "slow", **younger},
        "thin-epochs-s42": {"arch": "thin", **younger},
        "thin-epochs-s42-slow": {"arch": "thin", "recipe": "slow", **younger},
    }
    for name, changes in runs.items():
        edits = edited_params(**changes)
        laboratory.add(name, with_scores(save_scores(cache), ("base", *PARAMS["finetunes"]), **edits), **edits)
    laboratory.params()
    settings = load(Path("params.yaml"))
    run_compare(settings, list(runs), [], by=["arch", "recipe"])
    found = pd.read_csv("results/comparison/laptop/runs.csv")
    assert set(zip(found["level"], found["recipe"], strict=True)) == set(product(("base", "thin"), ("default", "slow")))
    older = edited_params(**{f"{laptop}recipes__older": {"finetuning": {}}}, arch="base", recipe="older")
    laboratory.add("base-epochs-s42-older", with_scores(save_scores(cache), ("base",), **older), **older)
    with pytest.raises(WorldwidthError, match=r"^no experiment has all of base, older, slow and thin in its params"):
        run_compare(settings, [*runs, "base-epochs-s42-older"], [], by=["arch", "recipe"])


@pytest.mark.usefixtures("undrawn")
def test_a_damaged_experiment_is_left_out(
    laboratory: Laboratory,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cache = cache_of(laboratory)
    sound = with_scores(save_scores(cache))
    wrong = save_scores(cache, **{"distance.world": np.full(40, 0.25)})
    laboratory.add("wide-epochs-s1", sound, seed=1)
    laboratory.add("wide-epochs-s2", sound, edited(CURVES, "600", "many"), seed=2)
    laboratory.add("wide-epochs-s3", sound, scales="no scales", seed=3)
    laboratory.add("wide-epochs-s4", with_scores(wrong), seed=4)
    (cache / wrong[:2] / wrong[2:]).write_bytes(b"PK")
    laboratory.params()
    with pytest.raises(
        WorldwidthError, match=r"^left out, as said above: wide-epochs-s2, wide-epochs-s3, wide-epochs-s4; the others"
    ):
        run_compare(load(Path("params.yaml")), [], [])
    captured = capsys.readouterr()
    assert "compared 1 experiment:" in captured.out
    starts = [line.split(": its ")[0] for line in captured.err.splitlines() if line.startswith("worldwidth: left out")]
    assert starts == [f"worldwidth: left out: wide-epochs-s{seed}" for seed in (3, 2, 4)]
