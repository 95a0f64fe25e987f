"""Experiments read from git, and which may be compared: `pytest tests/test_experiments.py`.

The experiments here are commits made by git alone, laid out as DVC lays them out.
"""

import hashlib
import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from dvc.cli import main as dvc_main

from repository import PROJECT
from worldwidth.commands.compare import of_sweep, run_compare
from worldwidth.comparison.compatibility import check_comparable
from worldwidth.comparison.runs import read_run
from worldwidth.core.errors import WorldwidthError
from worldwidth.core.git import git
from worldwidth.dvcio.experiments import Experiment, find_experiments, list_experiments
from worldwidth.settings.load import load
from worldwidth.settings.schema import Settings
from worldwidth.sweep.saving import present_experiment
from worldwidth.sweep.variants import Variant

PARAMS = yaml.safe_load((PROJECT / "params.yaml").read_text())
EVALUATIONS, CURVES = "results/evaluations.csv", "results/training.csv"
EDITED_CLUSTER = PARAMS["cluster"] | {"requeues": 9}


def lock(code: str = "c1", corpus: str = "d1", own_list: str = "", **changes: Any) -> dict[str, Any]:
    """A dvc.lock in short, of params.yaml with ``changes``; every stage is in it."""
    params = {**PARAMS, **changes}
    scale, selected = f"scales.{params['scale']}", params["scales"][params["scale"]]
    checked = {key: params[key] for key in ("arch", "scale", "seed", "budget", "reference", "tasks", "finetunes")}
    arch, reference = f"{scale}.archs.{params['arch']}", f"{scale}.archs.{params['reference']}"
    budget = {key: selected["archs"][key.split(".")[-1]] for key in (arch, reference)}
    world, statistics = {f"{scale}.world": selected["world"]}, {f"{scale}.statistics": selected["statistics"]}
    trained = {"seed": params["seed"], "tasks": params["tasks"], arch: selected["archs"][params["arch"]], **world}

    def stage(deps: dict[str, str], values: dict[str, Any], outs: dict[str, str]) -> dict[str, Any]:
        files = {
            kind: [{"path": path, "md5": digest} for path, digest in listed.items()]
            for kind, listed in (("deps", deps), ("outs", outs))
        }
        return {**files, "params": {"params.yaml": values}}

    own = md5_of(f"{code}{corpus}{params['arch']}{params['seed']}")
    of_task = {f"data/corpora/{task}": corpus for task in params["tasks"]}
    lists = {"lists/own.csv": own_list} if own_list else {}
    stages = {
        "check": stage({"stages/check.py": "c0"}, checked, {"data/checked.txt": "ok"}),
        "cities": stage({"data/checked.txt": "ok", **lists}, world, {"data/cities.csv": "x"}),
        "budget": stage({"stages/budget.py": "c0"}, {**budget, "budget": params["budget"]}, {"data/budget.json": "7"}),
        "summarize": stage({"src/worldwidth/results.py": code}, checked | statistics, {"results/summary.json": own}),
        "plots": stage({"results/summary.json": own}, checked, {}),
    }
    for task in params["tasks"]:
        stages[f"corpus@{task}"] = stage({"data/cities.csv": "x"}, world, {f"data/corpora/{task}": corpus})
    for model in ("base", *params["finetunes"]):
        learner = {"src/worldwidth/training.py": code, **of_task}
        stages[model.replace("-", "@")] = stage(learner, trained, {f"models/{model}": own})
        stages[f"evaluate@{model}"] = stage({f"models/{model}": own, **of_task}, world, {})
    return {"stages": stages}


def md5_of(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def sound_tables() -> dict[str, str]:
    """The tables of a run that a comparison reads."""
    tests = [f"base,{task},{population},0.5,40,7.5" for task in PARAMS["tasks"] for population in ("world", "atlantis")]
    curves = [f"{model},9,100,600,1.5," for model in ("base", *PARAMS["finetunes"])]
    return {
        EVALUATIONS: "\n".join(["model,task,population,mean,n,constant_mean", *tests, ""]),
        CURVES: "\n".join(["model,step,tokens,flops,loss,validation_loss", *curves, ""]),
    }


def save_scores(cache: Path, **changes: Any) -> str:
    """Per-line scores of a model as an object of DVC's cache; returns its hash."""
    sound = {f"{task}.{p}": np.full(40, 0.5) for task in PARAMS["tasks"] for p in ("world", "atlantis")}
    np.savez(cache / "new.npz", **{**sound, **changes})
    digest = hashlib.md5((cache / "new.npz").read_bytes(), usedforsecurity=False).hexdigest()
    (cache / digest[:2]).mkdir(exist_ok=True)
    (cache / "new.npz").rename(cache / digest[:2] / digest[2:])
    return digest


class Laboratory:
    """A git repository with experiments in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._git("init", "-q")
        self._git("commit", "-qm", "start", "--allow-empty")
        self._seconds = 1_700_000_000

    def _git(self, *arguments: str, environment: dict[str, str] | None = None) -> str:
        command = ["git", "-c", "user.name=test", "-c", "user.email=test@example.org", *arguments]
        done = subprocess.run(command, cwd=self.folder, env=environment, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def params(self, **changes: Any) -> None:
        """Write params.yaml, with these top-level values, into the tree."""
        (self.folder / "params.yaml").write_text(yaml.safe_dump({**PARAMS, **changes}, sort_keys=False))

    def add(
        self, name: str, lock: dict[str, Any] | None = None, files: dict[str, str] | None = None, **changes: Any
    ) -> str:
        """Save an experiment with these top-level params; later ones are newer. Returns its commit."""
        start = self._git("rev-parse", "HEAD")
        self.params(**changes)
        (self.folder / "dvc.lock").write_text(yaml.safe_dump(lock or {"stages": {}}))
        tables = sound_tables() if files is None else files
        for path, text in tables.items():
            (self.folder / path).parent.mkdir(exist_ok=True)
            (self.folder / path).write_text(text)
        self._git("add", "params.yaml", "dvc.lock", *tables)
        self._seconds += 10
        dated = {**os.environ, "GIT_COMMITTER_DATE": f"{self._seconds} +0000"}
        self._git("commit", "-qm", name, environment=dated)
        commit = self._git("rev-parse", "HEAD")
        self._git("update-ref", f"refs/exps/{start[:2]}/{start[2:]}/{name}", commit)
        self._git("reset", "-q", "--hard", start)
        return commit


@pytest.fixture
def laboratory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Laboratory:
    monkeypatch.chdir(tmp_path)
    return Laboratory(tmp_path)


def at_smoke() -> Settings:
    return replace(load(PROJECT / "params.yaml"), scale="smoke")


def test_experiments_are_found_newest_first(laboratory: Laboratory) -> None:
    older = laboratory.add("wide-epochs-s1", arch="wide", seed=1)
    newer = laboratory.add("narrow-epochs-s1", arch="narrow", seed=1)
    laboratory._git("update-ref", "refs/exps/exec/EXEC_HEAD", older)  # DVC's own
    found = list_experiments()
    assert [(e.name, e.commit, e.baseline) for e in found] == [
        ("narrow-epochs-s1", newer, git("rev-parse", "HEAD")),
        ("wide-epochs-s1", older, git("rev-parse", "HEAD")),
    ]
    assert (found[0].settings.arch, found[0].settings.seed) == ("narrow", 1)
    assert found[0].text("no/such/file") is None


@pytest.mark.parametrize("name", ["a\u00a0b", "a\u2028b", "a\u0085b", "a'b", 'a"b', "a$(b)"])
def test_an_odd_name_stops_nothing(laboratory: Laboratory, name: str) -> None:
    odd, newer = laboratory.add(name, arch="wide"), laboratory.add("narrow-epochs-s1", arch="narrow")
    assert [(e.name, e.commit) for e in list_experiments()] == [("narrow-epochs-s1", newer), (name, odd)]


def test_an_experiment_whose_commit_is_gone_is_left_out(
    laboratory: Laboratory, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = laboratory.add("wide-epochs-s1", arch="wide")
    there = laboratory.add("narrow-epochs-s1", arch="narrow")
    (laboratory.folder / ".git" / "objects" / gone[:2] / gone[2:]).unlink()
    assert [e.commit for e in list_experiments()] == [there]
    assert re.fullmatch(
        rf"worldwidth: refs/exps/.*/wide-epochs-s1: left out, for its commit {gone[:12]} is not there; .*\n",
        capsys.readouterr().err,
    )


def test_an_unknown_or_removed_experiment_is_said_with_the_nearest(laboratory: Laboratory) -> None:
    laboratory.add("wide-epochs-s1")
    with pytest.raises(
        WorldwidthError, match=r"'wide-epoch-s1': not found, or removed; .*did you mean 'wide-epochs-s1'"
    ):
        find_experiments(["wide-epoch-s1"])


def test_params_of_another_version_are_one_line(laboratory: Laboratory) -> None:
    laboratory.add("wide-epochs-s1", budgets="epochs")
    (found,) = list_experiments()
    with pytest.raises(
        WorldwidthError, match=r"wide-epochs-s1: its params.yaml is of another version \(budgets: unknown"
    ):
        _ = found.settings


def pair(laboratory: Laboratory, first: dict[str, Any], second: dict[str, Any]) -> list[Experiment]:
    laboratory.add("narrow-epochs-s1", **first)
    laboratory.add("wide-epochs-s1", **second)
    return find_experiments(["narrow-epochs-s1", "wide-epochs-s1"])


def changed_world(**changes: Any) -> dict[str, Any]:
    scale = PARAMS["scales"]["laptop"]
    return {**PARAMS["scales"], "laptop": {**scale, "world": {**scale["world"], **changes}}}


def changed_width(arch: str) -> dict[str, Any]:
    laptop = PARAMS["scales"]["laptop"]
    width = {**laptop["archs"][arch], "epochs": 1}
    return {**PARAMS["scales"], "laptop": {**laptop, "archs": {**laptop["archs"], arch: width}}}


def test_arch_seed_budget_and_what_only_sums_up_may_differ(laboratory: Laboratory) -> None:
    laptop = PARAMS["scales"]["laptop"]
    others = {
        **PARAMS["scales"],
        "laptop": {**laptop, "statistics": {"resamples": 300}, "execution": {"models_per_job": 9}},
    }
    second: dict[str, Any] = {"arch": "wide", "seed": 9, "budget": "flops", "scales": others}
    made = lock(**second)
    for name in ("summarize", "check", "budget"):
        made["stages"][name]["deps"][0]["md5"] = "another"
    check_comparable(pair(laboratory, {"arch": "narrow", "lock": lock(arch="narrow")}, {**second, "lock": made}))


def test_an_edit_that_no_stage_reads_leaves_runs_comparable(laboratory: Laboratory) -> None:
    """A width that neither run is of, how a cluster is asked, and what a former stage has left in dvc.lock."""
    second: dict[str, Any] = {"arch": "wide", "scales": changed_width("wider"), "cluster": EDITED_CLUSTER}
    made = lock(arch="wide", scales=second["scales"])
    former = {"deps": [{"path": "src/worldwidth/training.py", "md5": "c0"}]}
    made["stages"]["schedule"] = made["stages"]["base"] | former
    check_comparable(pair(laboratory, {"arch": "narrow", "lock": lock(arch="narrow")}, {**second, "lock": made}))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"scale": "smoke"}, "scale 'laptop' in place of 'smoke'"),
        ({"scales": changed_world(seed=7)}, "scales.laptop.world.seed 42 in place of 7"),
        ({"scales": changed_world(cities=90)}, "scales.laptop.world.cities 96 in place of 90"),
        ({"reference": "wider"}, "reference 'wide' in place of 'wider'"),
        ({"scales": changed_width("wide")}, "scales.laptop.archs.wide.epochs "),
        ({"tasks": PARAMS["tasks"][::-1]}, f"tasks ['{PARAMS['tasks'][0]}', "),
        ({"code": "c2"}, "another src/worldwidth/training.py"),
        ({"corpus": "d2"}, "another data/corpora/distance"),
    ],
    ids=str,
)
def test_what_cannot_be_compared_is_refused_with_the_reason(
    laboratory: Laboratory, change: dict[str, Any], said: str
) -> None:
    params = {key: value for key, value in change.items() if key not in ("code", "corpus")}
    experiments = pair(laboratory, {"lock": lock()}, {"lock": lock(**change), **params})
    line = "narrow-epochs-s1 and wide-epochs-s1 cannot be compared: the first ran with "
    with pytest.raises(WorldwidthError, match=line) as refused:
        check_comparable(experiments)
    assert f"{line}{said}" in str(refused.value)


def test_the_sweep_s_experiments_of_the_scale_are_taken(laboratory: Laboratory) -> None:
    laboratory.add("wide-epochs-s1", scale="smoke", seed=3)
    newer = laboratory.add("wide-epochs-s1", scale="smoke", seed=1)
    laboratory.add("narrow-epochs-s1", scale="laptop")
    laboratory.add("lively-newt", scale="smoke")
    assert [(e.name, e.commit) for e in of_sweep(at_smoke())] == [("wide-epochs-s1", newer)]


def test_without_experiments_it_says_what_to_do(laboratory: Laboratory) -> None:
    with pytest.raises(WorldwidthError, match="no experiments of scale smoke: run `make widths` first"):
        run_compare(at_smoke(), [], [])
    laboratory.add("narrow-epochs-s1", scale="laptop")
    with pytest.raises(WorldwidthError, match=r"no experiments of scale smoke \(there are some of laptop\)"):
        run_compare(at_smoke(), [], [])


def test_two_runs_of_one_kind_are_refused(laboratory: Laboratory) -> None:
    laboratory.add("one", seed=1)
    laboratory.add("two", seed=1)
    with pytest.raises(
        WorldwidthError, match="one and two: both are arch wide, budget epochs, seed 1; name one of them"
    ):
        run_compare(at_smoke(), ["one", "two"], [])


def test_a_pair_of_an_unknown_width_is_refused(laboratory: Laboratory) -> None:
    laboratory.add("one", arch="wide")
    with pytest.raises(
        WorldwidthError, match="arch 'wider': not among the experiments; there: wide; did you mean 'wide'"
    ):
        run_compare(at_smoke(), ["one"], [("wide", "wider")])


def test_scores_that_are_not_in_the_cache_are_said(laboratory: Laboratory, tmp_path: Path) -> None:
    laboratory.add("wide-epochs-s1", lock=lock())
    with pytest.raises(
        WorldwidthError, match=r"wide-epochs-s1: the base model's scores are not in DVC's cache .*`dvc exp pull`"
    ):
        read_run(list_experiments()[0], tmp_path)


def edited(name: str, old: str, new: str) -> dict[str, str]:
    tables = sound_tables()
    assert old in tables[name]
    return {**tables, name: tables[name].replace(old, new, 1)}


DAMAGED = {
    "a table gone": ({}, "has no results/evaluations.csv"),
    "a column gone": (edited(EVALUATIONS, "population", "folk"), "no column 'population'; found: model, task, folk"),
    "text for a number": (edited(CURVES, "600", "many"), "row 2: flops: found 'many'; it must be a whole number"),
    "NaN for a number": (edited(CURVES, "1.5", "nan"), "row 2: loss: found 'nan'; it must be a number"),
    "an empty field": (edited(CURVES, "600", ""), "row 2: flops: found an empty field; it must be a whole number"),
    "no tokens": (edited(CURVES, "100", "0"), "row 2: tokens: found '0'; it must be a whole number of at least 1"),
    "a row twice": (edited(EVALUATIONS, "atlantis", "world"), "has not one entry of base distance world"),
    "a model gone": (edited(CURVES, "base", "bass"), "has not one entry of base"),
    "cut off": (edited(CURVES, "ftwb1-7,9,100,600,1.5,\n", "ftwb1-7,9"), "its results/training.csv"),
    "no table": ({**sound_tables(), CURVES: 'a,b\n"1'}, "its results/training.csv: no table"),
}


@pytest.mark.parametrize(("files", "said"), DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_table_is_named(laboratory: Laboratory, files: dict[str, str], said: str, tmp_path: Path) -> None:
    laboratory.add("wide-epochs-s1", lock(), files)
    with pytest.raises(WorldwidthError, match=r"^wide-epochs-s1: .*`make widths` makes it again$") as refused:
        read_run(list_experiments()[0], tmp_path)
    assert said in str(refused.value)


def with_scores(digest: str) -> dict[str, Any]:
    made = lock()
    made["stages"]["evaluate@base"]["outs"] = [{"path": "results/scores/base.npz", "md5": digest}]
    return made


@pytest.mark.parametrize(
    "changes",
    [{"distance.world": value} for value in (np.full(39, 0.5), np.full((40, 1), 0.5), np.full(40, np.nan))]
    + [{"distance.world": np.full(40, "0.5")}],
    ids=["length", "shape", "nan", "text"],
)
def test_scores_of_another_kind_are_named(laboratory: Laboratory, changes: dict[str, Any], tmp_path: Path) -> None:
    laboratory.add("wide-epochs-s1", with_scores(save_scores(tmp_path, **changes)))
    with pytest.raises(WorldwidthError, match=r"^wide-epochs-s1: its results/scores/base.npz, .* is damaged; "):
        read_run(list_experiments()[0], tmp_path)


def test_a_damaged_experiment_is_left_out(
    laboratory: Laboratory, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worldwidth.commands.compare.draw_comparison_figures", lambda *_: [])
    monkeypatch.setattr("worldwidth.commands.compare.write_report", lambda *_: None)
    dvc_main(["init", "-q"])
    cache = laboratory.folder / ".dvc" / "cache" / "files" / "md5"
    cache.mkdir(parents=True)
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
    assert "compared 1 experiments" in captured.out
    starts = [line.split(": its ")[0] for line in captured.err.splitlines() if line.startswith("worldwidth: left out")]
    assert starts == [f"worldwidth: left out: wide-epochs-s{seed}" for seed in (3, 2, 4)]


def test_an_experiment_of_another_scale_is_not_overwritten(laboratory: Laboratory) -> None:
    laboratory.add("wide-epochs-s1", scale="laptop", seed=1)
    with pytest.raises(
        WorldwidthError, match="'wide-epochs-s1': there is one of scale laptop, not smoke; keep it under"
    ):
        present_experiment(at_smoke(), Variant("wide", "epochs", 1), git("rev-parse", "HEAD"))


FILES = {
    "src/worldwidth/training.py": "train", "src/worldwidth/results.py": "train", "lists/own.csv": "Berlin",
    "stages/check.py": "check", "stages/budget.py": "check",
}  # fmt: skip
VALUES: dict[str, Any] = {"arch": "narrow", "seed": 3, "budget": "tokens"}
VARIANT = Variant("narrow", "tokens", 3)


@pytest.fixture
def made(laboratory: Laboratory) -> dict[str, Any]:
    """The dvc.lock of an experiment of VARIANT, of the code and the list of cities that the tree holds."""
    for path, text in FILES.items():
        (laboratory.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (laboratory.folder / path).write_text(text)
    found = lock(**VALUES, code=md5_of("train"), own_list=md5_of("Berlin"))
    for name in ("check", "budget"):
        found["stages"][name]["deps"][0]["md5"] = md5_of("check")
    laboratory.add(VARIANT.name, found, **VALUES)
    laboratory.params()
    return found


def is_present(variant: Variant = VARIANT) -> bool:
    return present_experiment(load(Path("params.yaml")), variant, git("rev-parse", "HEAD")) is not None


def test_an_experiment_is_present_whatever_no_stage_of_it_reads(laboratory: Laboratory, made: dict[str, Any]) -> None:
    assert is_present()
    laboratory.params(scales=changed_width("wider"), cluster=EDITED_CLUSTER)
    assert is_present()
    assert not is_present(replace(VARIANT, seed=4))


@pytest.mark.parametrize(
    ("path", "params"),
    [
        *((path, {}) for path in FILES),
        ("", {"scales": changed_world(seed=7)}),
        ("", {"scales": changed_width("narrow")}),
        ("", {"scales": changed_width("wide")}),  # the reference
        ("", {"reference": "wider"}),
    ],
    ids=str,
)
def test_an_experiment_that_ran_with_something_else_is_made_again(
    laboratory: Laboratory, made: dict[str, Any], path: str, params: dict[str, Any]
) -> None:
    laboratory.params(**params)
    if path:
        (laboratory.folder / path).write_text("edited")
    assert not is_present()


def test_an_experiment_that_lacks_a_stage_is_made_again(laboratory: Laboratory, made: dict[str, Any]) -> None:
    del made["stages"]["plots"]
    laboratory.add(VARIANT.name, made, **VALUES)
    laboratory.params()
    assert [experiment.lock.keys() == made["stages"].keys() for experiment in list_experiments()] == [True]
    assert not is_present()
