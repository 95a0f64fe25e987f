"""`worldwidth tune` through the real DVC, killed and resumed: `pytest tests/test_tuning_runs.py`."""

import re
import subprocess
import time

import numpy as np
import pandas as pd
import psutil  # type: ignore[import-untyped]
import pytest
import yaml

from in_process import ok, worldwidth
from repository import Repository
from small_study import small_study
from test_tuning import trial
from worldwidth.dvcio.repo import edit_yaml
from worldwidth.settings.load import load
from worldwidth.sweep import tuning
from worldwidth.sweep.tuning import best_trial


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """Three tasks, one fine-tune; a grid of two rates, on 40 validation lines."""
    made = small_study(tmp_path_factory.mktemp("tuning"), ("ftwb1-1",))
    made.edit("params.yaml", "lines: 24", "lines: 40")
    made.commit("forty lines")
    return made


def names(study: Repository) -> set[str]:
    return set(study.git("for-each-ref", "--format=%(refname:lstrip=4)", "refs/exps").split())


def started(study: Repository) -> set[str]:
    """The models that the jobs of the last sweep began to train."""
    logs = study.folder / ".dvc/tmp/worldwidth/sweep/logs"
    printed = "".join(log.read_text(encoding="utf-8") for log in logs.glob("*.log"))
    return {name for name, _ in re.findall(r"^(\S+): step (\d+) of \2,", printed, re.M)}


@pytest.mark.pipeline
def test_tuning_is_killed_and_goes_on_and_is_not_done_twice(study: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "EXTENSIONS", 1)
    words = ("tune", "--archs", "narrow", "wide", "--jobs", "2")
    first = study.start("worldwidth", *words, output=subprocess.DEVNULL)
    trees = study.folder / ".dvc/tmp/worldwidth/sweep"
    end = time.monotonic() + 120
    while not list(trees.glob("[12]/models/ftwb1-1/model.safetensors")):
        assert first.poll() is None
        assert time.monotonic() < end
        time.sleep(0.05)
    for process in [*psutil.Process(first.pid).children(recursive=True), psutil.Process(first.pid)]:
        process.kill()
    first.wait()
    assert not names(study)
    output = ok(study, *words)
    grid = {f"tune-{arch}-epochs-s1-lr{rate}-br3e-2" for arch in ("narrow", "wide") for rate in ("1e-3", "4e-3")}
    assert grid < names(study)
    assert len(names(study)) == 6  # of two rates the best is always at the edge
    assert output.count("is at the edge of what was tried") == 2
    assert "base" not in started(study)  # the rate beyond shares it with the others of its arch
    assert study.git("status", "--porcelain") == "?? results/\n"
    check_results(study)
    written = {path: path.read_bytes() for path in (study.folder / "results/tuning").iterdir()}
    log = trees / "logs"
    before = {path: path.stat().st_mtime_ns for path in log.iterdir()}
    again = ok(study, *words)
    assert again.count("already done") == 6
    assert {path: path.stat().st_mtime_ns for path in log.iterdir()} == before  # no job was started
    assert {path: path.read_bytes() for path in (study.folder / "results/tuning").iterdir()} == written


def check_results(study: Repository) -> None:
    """The table is what the experiments hold: skill of the one trained task on validation lines, rule applied."""
    table = pd.read_csv(study.folder / "results/tuning/smoke.csv")
    assert list(table.columns) == [
        "arch", "recipe", "body_ratio", "trainable", "replicate", "learning_rate", "skill", "standard_error",
        "transfer", "trained", "above", "retention", "chosen",
    ]  # fmt: skip
    assert list(table["arch"]) == ["narrow"] * 3 + ["wide"] * 3
    for arch, rows in table.groupby("arch"):
        assert rows["learning_rate"].is_monotonic_increasing
        of_arch = [trial(row["learning_rate"], row["skill"], str(arch)) for row in rows.to_dict("records")]
        assert rows[rows["chosen"]]["learning_rate"].tolist() == [best_trial(of_arch).learning_rate]
    (row,) = table[(table["arch"] == "wide") & (table["learning_rate"] == 4e-3)].to_dict("records")
    commit = study.git(
        "for-each-ref", "--format=%(objectname)", "refs/exps/*/*/tune-wide-epochs-s1-lr4e-3-br3e-2"
    ).strip()
    (study.folder / "shown.csv").write_text(study.git("show", f"{commit}:results/evaluations.csv"))
    shown = pd.read_csv(study.folder / "shown.csv").to_dict("records")
    (study.folder / "shown.csv").unlink()
    tests = {one["task"]: one for one in shown if (one["model"], one["population"]) == ("ftwb1-1", "atlantis")}
    own = tests.pop("distance")
    assert own["n"] == 40
    assert row["skill"] == pytest.approx(1 - own["mean"] / own["constant_mean"])
    assert row["standard_error"] > 0
    skills = [(one["mean"] - one["constant_mean"]) / (1 - one["constant_mean"]) for one in tests.values()]
    assert len(skills) == 2
    assert row["transfer"] == pytest.approx(np.mean(skills))


@pytest.mark.pipeline
def test_the_chosen_rates_become_those_of_the_archs(study: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the form that DVC gives back; what was tuned stays tuned, and another arch is left alone."""
    monkeypatch.setattr(tuning, "EXTENSIONS", 1)
    table = pd.read_csv(study.folder / "results/tuning/smoke.csv")
    best = {row["arch"]: row["learning_rate"] for row in table.to_dict("records") if row["chosen"]}
    said = ok(study, "tune", "--archs", "narrow", "wide")
    assert "params.yaml: --write would write:\n" in said
    assert study.git("status", "--porcelain", "params.yaml") == ""
    ok(study, "tune", "--archs", "narrow", "wide", "--write")
    changes = [line for line in study.git("diff", "-U0", "params.yaml").splitlines() if re.match("[+-] ", line)]
    assert len(changes) == 4
    found = load(study.folder / "params.yaml")
    archs = found.selected.archs
    assert {name: arch.finetuning for name, arch in archs.items() if arch.finetuning} == {
        name: {"learning_rate": rate} for name, rate in best.items()
    }
    text = study.read("params.yaml")
    edit_yaml(study.folder / "params.yaml", {})
    assert study.read("params.yaml") == text
    assert worldwidth(study, "check").returncode == 0
    again = ok(study, "tune", "--archs", "narrow", "wide", "--write")
    assert again.count("already done") == 6
    assert again.endswith("params.yaml has these rates already\n")
    assert study.read("params.yaml") == text


@pytest.mark.pipeline
def test_scores_that_are_gone_are_one_line(study: Repository) -> None:
    commit = study.git(
        "for-each-ref", "--format=%(objectname)", "refs/exps/*/*/tune-wide-epochs-s1-lr4e-3-br3e-2"
    ).strip()
    lock = yaml.safe_load(study.git("show", f"{commit}:dvc.lock"))
    (digest,) = (
        out["md5"] for out in lock["stages"]["evaluate@ftwb1-1"]["outs"] if out["path"] == "results/scores/ftwb1-1.npz"
    )
    (study.folder / ".dvc/cache/files/md5" / digest[:2] / digest[2:]).unlink()
    done = worldwidth(study, "tune", "--archs", "wide")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "tune-wide-epochs-s1-lr4e-3-br3e-2: the scores of ftwb1-1 are not in DVC's cache" in done.stderr
    assert "`dvc exp remove tune-wide-epochs-s1-lr4e-3-br3e-2` and the same command makes them again" in done.stderr


@pytest.mark.pipeline
def test_a_rate_that_diverges_is_said_to_and_not_chosen(study: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "EXTENSIONS", 0)
    edit_yaml(study.folder / "params.yaml", {"scales.smoke.tuning.learning_rates": [1e-3, 1e6]})
    said = ok(study, "tune", "--archs", "narrow", "--jobs", "1")
    assert "tune-narrow-epochs-s1-lr1e-3-br3e-2: already done" in said
    assert re.search(r"^narrow +1e6 +0\.03 +diverges$", said, re.M)
    table = pd.read_csv(study.folder / "results/tuning/smoke.csv")
    assert np.isfinite(table["skill"]).tolist() == table["chosen"].tolist() == [True, False]
    assert "tune-narrow-epochs-s1-lr1e6-br3e-2" not in names(study)
