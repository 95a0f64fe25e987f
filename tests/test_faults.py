"""Faults through the real DVC: what `dvc repro` says and leaves, and that the next one does the right thing.

pytest tests/test_faults.py

Single stages on a full disk, with cut-off inputs and so on are in test_faults_disk.py; damaged inputs in
test_integrity.py; Ctrl-C in test_interrupts.py.
"""

import json
import os
import re
import shutil
import time
from pathlib import Path

import pytest

from faults import change, finished_study, flip, heal, inject, run_stage
from repository import Repository, products, read_yaml_file, stages_run
from small_study import copy_of

pytestmark = pytest.mark.pipeline


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return finished_study(tmp_path_factory.getbasetemp())


@pytest.fixture
def study(finished: Repository, tmp_path: Path) -> Repository:
    """A copy of the finished study, to be harmed."""
    return copy_of(finished, tmp_path)


def forget(study: Repository, *names: str) -> None:
    """Let models be trained again: neither the tree nor DVC's caches have them."""
    shutil.rmtree(study.folder / ".dvc" / "cache" / "runs")
    for stage in read_yaml_file(study.folder / "dvc.lock")["stages"].values():
        for out in stage["outs"]:
            if out["path"] in {f"models/{name}" for name in names}:
                shutil.rmtree(study.folder / out["path"])
                (study.folder / ".dvc/cache/files/md5" / out["md5"][:2] / out["md5"][2:]).unlink()


def assert_as(study: Repository, finished: Repository) -> None:
    """All files are those of the finished study, and DVC has nothing left to do."""
    found, wanted = products(study), products(finished)
    assert found.keys() == wanted.keys()
    assert [name for name in wanted if found[name] != wanted[name]] == []
    assert study.changed_stages() == set()


def lines_of(output: str) -> list[str]:
    return [line for line in output.splitlines() if line.startswith("worldwidth: ")]


def test_damaged_files_in_the_tree_come_back_from_the_cache(study: Repository, finished: Repository) -> None:
    names = ["data/cities.csv", "data/pretraining.json", "data/corpora/inside/manifest.json"]
    names += ["models/base/model.safetensors", "models/ftwb1-1/steps/0/config.json", "results/training/base.csv"]
    names += ["results/evaluations/base.json", "results/scores/ftwb1-5.npz", "results/training/ftwb1-4.csv"]
    for name in names:
        flip(study.folder / name)
    output = study.ok("dvc", "repro")
    assert stages_run(output) == []
    assert_as(study, finished)


SLOW = """
import sys, time
from pathlib import Path

def slow(event, arguments):
    if event == "open" and "steps" in str(arguments[0]):
        Path("training_is_going_on").touch()
        time.sleep(0.1)

sys.addaudithook(slow)
"""


def test_two_repros_at_once(study: Repository, finished: Repository) -> None:
    forget(study, "ftwb1-1")
    inject(study, SLOW)
    first = study.start("dvc", "repro")
    for _ in range(600):
        if (study.folder / "training_is_going_on").exists():
            break
        assert first.poll() is None
        time.sleep(0.05)
    second = study.run("dvc", "repro")
    heal(study)
    assert first.poll() is None, "the first is still at work"
    assert second.returncode != 0
    assert "Traceback" not in second.stdout + second.stderr
    assert "is busy, it is being blocked by" in second.stderr
    output = first.communicate(timeout=120)[0]
    assert first.returncode == 0, output
    (study.folder / "training_is_going_on").unlink()
    assert_as(study, finished)


FAILING = """
import sys

done = False

def fail(event, arguments):
    global done
    if event == "open" and "models/.ftwb1-4.tmp" in str(arguments[0]) and not done:
        done = True
        raise RuntimeError("nobody has foreseen this")

sys.addaudithook(fail)
"""


@pytest.mark.parametrize("command", [("dvc", "repro"), ("worldwidth", "run", "--jobs", "1")], ids=" ".join)
def test_a_stage_that_raises(study: Repository, finished: Repository, command: tuple[str, ...]) -> None:
    """An error in the program itself: a traceback, for it is to be reported; what is finished is kept."""
    forget(study, "ftwb1-1", "ftwb1-4")
    inject(study, FAILING)
    refused = study.run(*command)
    heal(study)
    assert refused.returncode not in (0, 130)
    assert "RuntimeError: nobody has foreseen this" in refused.stderr
    assert not [name for name in products(study) if ".tmp" in name]
    left = study.changed_stages()
    assert "ftwb1@1" not in left
    assert "ftwb1@4" in left
    output = study.ok("dvc", "repro")
    assert {"ftwb1@4"} <= set(stages_run(output)) <= {"ftwb1@4", "ftwb2@15", "ftwb1@5"}
    assert_as(study, finished)


def test_a_loss_that_is_no_number(study: Repository, finished: Repository) -> None:
    old, new = "learning_rate: 1.0e-2\n", "learning_rate: 1.0e+6\n"
    study.edit("params.yaml", old, new)
    refused = study.run("dvc", "repro")
    assert refused.returncode != 0
    (line,) = lines_of(refused.stderr)
    found = re.match(r"worldwidth: (\S+): the (loss|norm of the gradient) is nan at step \d+; ", line)
    assert found
    assert "; try a lower learning_rate (" in line
    assert "Traceback" not in refused.stderr
    assert not [name for name in products(study) if ".tmp" in name or name.startswith(f"models/{found[1]}/")]
    study.edit("params.yaml", new, old)
    assert stages_run(study.ok("dvc", "repro")) == [], "all comes from the run cache"
    assert_as(study, finished)


def test_results_of_another_commit(study: Repository, finished: Repository) -> None:
    """`git checkout OTHER -- results plots`: tables and figures of a study that dvc.lock knows nothing of."""
    study.edit("results/summary.json", '"step": ', '"step": 1')
    study.edit("results/matrices.csv", "ftwb1-4", "ftwb1-3")
    change(study.folder / "plots" / "ftwb1.png", lambda _: (study.folder / "plots" / "world.png").read_bytes())
    study.commit("another study")
    study.git("checkout", "HEAD~1", "--", ".")
    assert_as(study, finished)
    study.git("checkout", "HEAD", "--", "results", "plots")
    assert study.changed_stages() == {"summarize", "plots", "representations"}
    study.ok("dvc", "repro")
    assert_as(study, finished)


def test_files_of_1980_or_2035_run_nothing(study: Repository, finished: Repository) -> None:
    for year, names in ((1980, ("data", "models")), (2035, ("results", "src", "stages"))):
        seconds = time.mktime((year, 1, 2, 3, 4, 5, 0, 0, 0))
        for name in names:
            for path in (study.folder / name).rglob("*"):
                os.utime(path, (seconds, seconds))
    assert stages_run(study.ok("dvc", "repro")) == []
    assert_as(study, finished)


JUMPING = """
import itertools, time

real, calls = time.time, itertools.count()
time.time = lambda: real() + (-1) ** next(calls) * 3e8
real_ns = time.time_ns
time.time_ns = lambda: real_ns() + (-1) ** next(calls) * 300_000_000_000_000_000
"""


def test_a_clock_that_jumps_changes_no_result(study: Repository, finished: Repository) -> None:
    inject(study, JUMPING)
    for words in ("pretrain", "finetune ftwb1-1"):
        done = run_stage(study, *words.split())
        assert (done.returncode, done.stderr) == (0, "")
    heal(study)
    assert products(study) == products(finished)
    assert 0 < json.loads(study.read("timings/base.json"))["seconds"] < 600
