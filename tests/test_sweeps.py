"""`worldwidth sweep` through the real DVC: archs, rates and draws at smoke scale. `pytest tests/test_sweeps.py`.

One repository is swept; the tests then go on with it, in the order of this file.
"""

import subprocess
import time
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest
import yaml

from in_process import ok
from repository import Repository
from small_study import small_study

pytestmark = pytest.mark.pipeline

LOGS = Path(".dvc") / "tmp" / "worldwidth" / "sweep" / "logs"
SWEEP = ("sweep", "--vary", "arch=narrow,wide", "--vary", "finetuning.learning_rate=1e-2,4e-3", "--only", "ftwb1-4")
TWICE = (*SWEEP, "--replicates", "2")
NAMES = {
    f"{arch}-epochs-{draw}-lr{rate}"
    for arch in ("narrow", "wide")
    for draw in ("s1", "s2-a43")
    for rate in ("1e-2", "4e-3")
}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return small_study(tmp_path_factory.mktemp("sweeps"))


def experiments(repository: Repository) -> dict[str, str]:
    """Name -> commit."""
    lines = repository.git("for-each-ref", "--format=%(refname:lstrip=4) %(objectname)", "refs/exps").splitlines()
    return dict(line.split() for line in lines)


def file_of(repository: Repository, name: str, path: str) -> Any:
    return yaml.safe_load(repository.git("show", f"{experiments(repository)[name]}:{path}"))


def hash_of(repository: Repository, name: str, path: str) -> str:
    """That of an out, from an experiment's dvc.lock."""
    stages = file_of(repository, name, "dvc.lock")["stages"]
    (found,) = {out["md5"] for stage in stages.values() for out in stage["outs"] if out["path"] == path}
    return str(found)


def logs(repository: Repository, pattern: str) -> set[str]:
    """Names of the jobs that the last sweep has started."""
    return {path.name.removesuffix(".log") for path in (repository.folder / LOGS).glob(f"{pattern}.log")}


def trained_bases(repository: Repository) -> list[str]:
    """Jobs of the last sweep that trained a base model: others take it from DVC's cache, once the recipe is made."""
    found = (repository.folder / LOGS).glob("*.base.log")
    return [log.name for log in found if "tokens/s" in log.read_text()]


def test_a_killed_sweep_goes_on_and_shares_its_base_models(repository: Repository) -> None:
    first = repository.start("worldwidth", *TWICE, "--jobs", "2", output=subprocess.DEVNULL)
    end = time.time() + 300
    while not logs(repository, "*.ftwb1-4"):
        assert first.poll() is None
        assert time.time() < end
        time.sleep(0.05)
    for process in [*psutil.Process(first.pid).children(recursive=True), psutil.Process(first.pid)]:
        process.kill()
    first.wait()
    before = logs(repository, "*.base")
    assert before
    assert not NAMES & experiments(repository).keys()
    output = repository.ok("worldwidth", *TWICE, "--jobs", "2")
    assert trained_bases(repository)
    assert "8 of 8 experiments are done" in output
    assert experiments(repository).keys() == NAMES
    bases = {f"{arch}-epochs-{draw}-lr1e-2.base" for arch in ("narrow", "wide") for draw in ("s1", "s2-a43")}
    assert before | logs(repository, "*.base") == bases  # of the first rate: the other takes it
    assert repository.git("status", "--porcelain") == ""


def test_each_experiment_is_the_study_that_its_name_says(repository: Repository) -> None:
    for name in NAMES:
        values = file_of(repository, name, "params.yaml")
        smoke = values["scales"]["smoke"]
        rate, draw = smoke["finetuning"]["learning_rate"], smoke["world"]["atlantis"]["seed"]
        assert name.startswith(values["arch"])
        assert (rate, values["seed"], draw) == (
            4e-3 if "4e-3" in name else 1e-2,
            *((2, 43) if "a43" in name else (1, 42)),
        )
        assert values["finetunes"] == {"ftwb1-4": ["compass"]}
        assert list(file_of(repository, name, "dvc.yaml")["stages"]["ftwb1"]["foreach"]) == ["4"]
        assert file_of(repository, name, "dvc.lock")["stages"].keys() >= {"base", "ftwb1@4", "evaluate@ftwb1-4"}
        figures = repository.git("ls-tree", "--name-only", f"{experiments(repository)[name]}:plots").split()
        assert "ftwb1.png" in figures
        assert not {"ftwb2.png", "difference.png"} & set(figures)
    models = {name: hash_of(repository, name, "models/ftwb1-4") for name in NAMES}
    assert len(set(models.values())) == len(NAMES)


def test_all_of_it_is_skipped_then(repository: Repository) -> None:
    before = experiments(repository)
    output = ok(repository, *TWICE)
    assert {line.removesuffix(": already done") for line in output.splitlines() if "already" in line} == NAMES
    assert "stages to do" not in output
    assert experiments(repository) == before


def test_a_base_model_serves_several_draws_of_atlantis(repository: Repository) -> None:
    words = ("--vary", "arch=narrow", "--vary", "world.atlantis.seed=42,7", "--only", "ftwb1-4")
    assert "2 of 2 experiments are done" in ok(repository, "sweep", *words)
    own, other = "narrow-epochs-s1", "narrow-epochs-s1-a7"
    assert {own, other} <= experiments(repository).keys()
    assert not logs(repository, "*.base")
    assert logs(repository, "*.ftwb1-4") == {f"{other}.ftwb1-4"}  # that of the first is there, at the rate 1e-2
    assert logs(repository, "*.atlantis") or logs(repository, f"{other}.*")
    for path in ("models/base", "data/cities.csv", "data/corpora/compass"):
        assert hash_of(repository, own, path) == hash_of(repository, other, path)
    for path in ("data/atlantis", "models/ftwb1-4"):
        assert hash_of(repository, own, path) != hash_of(repository, other, path)


def test_two_sweeps_that_differ_in_a_rate_live_side_by_side(repository: Repository) -> None:
    """The second is a line of params.yaml, in git; the first is skipped all the same."""
    before = experiments(repository)
    line = "  slow: {vary: {arch: [narrow], finetuning.learning_rate: [1.0e-4]}, only: [ftwb1-4]}\n"
    repository.edit("params.yaml", "  widths:           #", f"{line}  widths:           #")
    repository.commit("a second sweep")
    assert "1 of 1 experiments are done" in ok(repository, "sweep", "slow")
    after = experiments(repository)
    assert after.keys() - before.keys() == {"narrow-epochs-s1-lr1e-4"}
    assert after.items() >= before.items()
    assert not trained_bases(repository)
    assert "stages to do" not in ok(repository, *TWICE)


def test_what_would_replace_another_run_is_refused_unless_forced(repository: Repository) -> None:
    before = experiments(repository)
    words = ("sweep", "--vary", "arch=narrow", "--only", "ftwb1-5")
    refused = repository.run("worldwidth", *words)
    assert refused.returncode == 2
    assert refused.stderr.startswith("worldwidth: experiment 'narrow-epochs-s1': there is one that ran with finetunes.")
    assert refused.stderr.count("\n") == 1
    assert experiments(repository) == before
    assert "narrow-epochs-s1-inside: saved" in ok(repository, *words, "--suffix", "inside")
    assert experiments(repository).items() >= before.items()
    assert "narrow-epochs-s1: saved" in ok(repository, *words, "--force")
    names = repository.git("for-each-ref", "--format=%(refname:lstrip=4)", "refs/exps").split()
    assert names.count("narrow-epochs-s1") == 1  # though the new one started from another commit
    assert experiments(repository)["narrow-epochs-s1"] != before["narrow-epochs-s1"]
    assert list(file_of(repository, "narrow-epochs-s1", "params.yaml")["finetunes"]) == ["ftwb1-5"]


def test_variants_that_train_other_fine_tunes_use_one_tree_after_another(repository: Repository) -> None:
    """The whole study in a tree where a part of it was."""
    output = ok(repository, "sweep", "--vary", "arch=narrow", "--jobs", "1", "--suffix", "whole")
    assert "narrow-epochs-s1-whole: saved" in output
    assert not trained_bases(repository)
    figures = repository.git("ls-tree", "--name-only", f"{experiments(repository)['narrow-epochs-s1-whole']}:plots")
    assert {"ftwb1.png", "ftwb2.png", "difference.png"} <= set(figures.split())
