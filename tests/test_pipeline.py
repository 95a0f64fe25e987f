"""The pipeline through the real DVC at smoke scale: `pytest tests/test_pipeline.py`. Minutes, not seconds.

One repository is made and run once; the tests then change it one after another, in the order of this file.
"""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from repository import Repository, stages_restored, stages_run

DATA_STAGES = {"cities", "corpus@distance", "corpus@crossing"}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """The study at smoke scale, run once and committed."""
    made = Repository(tmp_path_factory.mktemp("study"))
    assert len(stages_run(made.ok("dvc", "repro"))) == 40
    made.commit("the smoke study")
    return made


@pytest.fixture(autouse=True)
def as_committed(repository: Repository) -> Iterator[None]:
    """Undo what a test changed, so that a failure does not spread to the tests after it."""
    yield
    repository.git("checkout", "-q", ".")
    if repository.changed_stages():
        repository.ok("dvc", "checkout")


def test_everything_is_there(repository: Repository) -> None:
    folder = repository.folder
    assert len(list((folder / "models").iterdir())) == 14 + 1  # and .gitignore
    for model in ("base", "ftwb1-7", "ftwb2-12"):
        assert {p.name for p in (folder / "models" / model).iterdir()} == {
            "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "steps",
        }  # fmt: skip
        assert (folder / "models" / model / "steps" / "0" / "model.safetensors").is_file()
    for name in ("ftwb1", "ftwb2", "difference", "overview", "training", "world"):
        assert (folder / "plots" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    tracked = repository.git("ls-files").split()
    assert {"results/summary.json", "results/matrices.csv", "plots/ftwb1.png", "dvc.lock"} <= set(tracked)
    assert not [name for name in tracked if name.startswith(("models/", "data/")) and not name.endswith(".gitignore")]
    assert not list(folder.rglob("*.tmp"))


def test_a_second_run_does_nothing(repository: Repository) -> None:
    assert "up to date" in repository.ok("dvc", "repro")
    assert not repository.git("status", "--porcelain")
    assert "0 stages will run" in repository.ok("worldwidth", "plan")


def test_the_lock_belongs_to_the_tree(repository: Repository) -> None:
    repository.ok("worldwidth", "check", "--lock")
    repository.edit("results/matrices.csv", "ftwb1", "ftwb9")
    refused = repository.run("worldwidth", "check", "--lock")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "results/matrices.csv is not what stage summarize wrote" in refused.stderr
    repository.git("checkout", "results/matrices.csv")
    repository.edit("src/worldwidth/training.py", "import csv", "import csv  # changed")
    assert "ran with another src/worldwidth/training.py" in repository.run("worldwidth", "check", "--lock").stderr


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        ("params.yaml", "narrow: {hidden_size: 8, ", "narrow: {hidden_size: 16, ", set()),
        ("params.yaml", "# the dial", "# THE dial", set()),
        ("src/worldwidth/errors.py", "import difflib", "import difflib  # changed", set()),
        ("src/worldwidth/figures.py", "import matplotlib\n", "import matplotlib  # changed\n", {"plots"}),
        ("src/worldwidth/tasks/angle.py", "import numpy as np", "import numpy as np  # changed", {"corpus@angle"}),
        ("params.yaml", "statistics: {resamples: 200}", "statistics: {resamples: 201}", {"summarize"}),
    ],
    ids=["other arch", "comment", "plumbing", "figures", "task", "statistics"],
)
def test_what_an_edit_touches(repository: Repository, file: str, old: str, new: str, expected: set[str]) -> None:
    repository.edit(file, old, new)
    changed = repository.changed_stages()
    if "corpus@angle" in expected:  # evaluations judge answers with the task's module
        evaluations = {stage for stage in changed if stage.startswith("evaluate@")}
        assert len(evaluations) == 14
        changed -= evaluations
        changed -= {"summarize"}
    assert changed == expected


def test_an_edited_comment_in_a_task_stops_at_its_corpus(repository: Repository) -> None:
    repository.edit("src/worldwidth/tasks/angle.py", "import numpy as np", "import numpy as np  # changed")
    plan = {s["stage"]: s for s in json.loads(repository.ok("worldwidth", "plan", "--json"))["stages"]}
    assert plan["corpus@angle"]["state"] == "will run"
    assert plan["corpus@angle"]["reason"] == "src/worldwidth/tasks/angle.py"
    assert (plan["base"]["state"], plan["base"]["reason"]) == ("after", "corpus@angle")
    output = repository.ok("dvc", "repro", "base")
    assert stages_run(output) == ["corpus@angle"]


@pytest.mark.parametrize("content", ["", "stages:\n", "stages:\n  check:\n", "a word\n"])
def test_a_lock_that_dvc_did_not_write_is_one_line(repository: Repository, content: str) -> None:
    (repository.folder / "dvc.lock").write_text(content)
    refused = repository.run("worldwidth", "check", "--lock")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert refused.stderr.startswith("worldwidth: dvc.lock: ")


def test_the_plan_of_a_fresh_clone(repository: Repository, tmp_path: Path) -> None:
    """Tables and figures are there, corpora and models are not, and the cache is empty."""
    shell = f"git clone -q . {tmp_path}/clone && cd {tmp_path}/clone && env -u PYTHONWARNINGS worldwidth plan --json"
    states = [stage["state"] for stage in json.loads(repository.ok("bash", "-c", shell))["stages"]]
    assert len(states) == 40
    assert set(states) == {"will run", "after"}


def test_a_reader_may_stop_early(repository: Repository) -> None:
    shell = "set -o pipefail; worldwidth sample --task distance --split train -n 400 --json | head -1"
    done = repository.run("bash", "-c", shell)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["task"] == "distance"


def test_a_bad_arch_is_one_line_before_any_work(repository: Repository) -> None:
    repository.edit("params.yaml", "arch: wide ", "arch: widest ")
    refused = repository.run("dvc", "repro")
    assert refused.returncode != 0
    assert stages_run(refused.stdout + refused.stderr) == ["check"]
    assert "arch: found 'widest'; allowed: narrow, base, wide, wider; did you mean 'wide'?" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_stale_dvc_yaml_stops_the_run(repository: Repository) -> None:
    last = "  ftwb2-12: [crossing, inside]"
    repository.edit("params.yaml", last, f"{last}\n  ftwb2-3: [inside, perimeter]")
    refused = repository.run("dvc", "repro")
    assert stages_run(refused.stdout + refused.stderr) == ["check"]
    assert "dvc.yaml does not match params.yaml" in refused.stderr
    assert "make render" in refused.stderr
    repository.ok("worldwidth", "render")
    plan = json.loads(repository.ok("worldwidth", "plan", "--json"))
    states = {stage["stage"]: stage["state"] for stage in plan["stages"]}
    assert states["ftwb2@3"] == "will run"
    assert states["evaluate@ftwb2-3"] == states["summarize"] == "will run"
    assert states["plots"] == "will run"
    assert states["base"] == states["evaluate@base"] == "up to date"


def test_a_missing_base_model_is_one_line(repository: Repository) -> None:
    shutil.rmtree(repository.folder / "models" / "base")
    refused = repository.run("env", "PYTHONPATH=src", sys.executable, "stages/finetune.py", "ftwb1-1")
    assert refused.returncode == 2
    assert refused.stderr == "worldwidth: models/base/config.json: not found; run `dvc repro base`\n"


def test_partial_plots_leave_the_results_alone(repository: Repository) -> None:
    (repository.folder / "results" / "evaluations" / "ftwb1-3.json").unlink()
    output = repository.ok("worldwidth", "plots", "--partial")
    assert "missing: ftwb1-3" in output
    assert (repository.folder / "partial" / "ftwb1.png").is_file()
    assert not repository.git("status", "--porcelain")


def test_widths_as_experiments(repository: Repository) -> None:
    for arch in ("narrow", "wider"):
        output = repository.ok("dvc", "exp", "run", "-S", f"arch={arch}", "-n", arch)
        ran = stages_run(output)
        assert not DATA_STAGES & set(ran)
        assert len(ran) == 2 + 1 + 13 + 14 + 1 + 1  # check, budget, base, fine-tunes, evaluations, summarize, plots
    back = repository.ok("dvc", "exp", "run", "-S", "arch=wide", "-n", "again")
    assert stages_run(back) == []
    assert len(stages_restored(back)) == 2 + 1 + 13 + 14 + 1 + 1

    table = repository.ok("dvc", "exp", "show", "--csv", "--only-changed")
    assert {"narrow", "wider"} <= set(table.replace("\n", ",").split(","))
    metrics = json.loads(repository.ok("dvc", "metrics", "diff", "narrow", "wider", "--json"))
    parameters = metrics["results/summary.json"]["parameters"]
    assert (parameters["old"], parameters["new"]) == (4_984, 154_560)

    repository.ok("dvc", "plots", "diff", "narrow", "wider", "-o", "viz")
    page = repository.read("viz/index.html")
    for heading in ("Scores on Atlantis", "Share of exact answers", "Training loss"):
        assert heading in page
    assert len(list((repository.folder / "viz" / "static").glob("*ftwb1.png"))) == 2


def test_a_temporary_experiment_runs_its_own_code(repository: Repository) -> None:
    output = repository.ok("dvc", "exp", "run", "--temp", "-S", "arch=narrow", "-n", "narrow-again")
    assert stages_run(output) == []
    assert not repository.git("status", "--porcelain")
