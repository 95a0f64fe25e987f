"""The pipeline through the real DVC at smoke scale: `pytest tests/test_pipeline.py`."""

import json
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from repository import Repository, stages_restored, stages_run
from small_study import STAGES, copy_of, finished_study
from worldwidth.core.imports import NOT_PLUMBING, PLUMBING

pytestmark = pytest.mark.pipeline

CORPORA = {"corpus@distance", "corpus@compass", "corpus@inside"}
FINETUNES = {"ftwb1@1", "ftwb1@4", "ftwb1@5", "ftwb2@15"}
EVALUATIONS = {"evaluate@base", *(f"evaluate@{stage.replace('@', '-')}" for stage in FINETUNES)}
MAPS = {stage.replace("evaluate", "represent") for stage in EVALUATIONS}


@pytest.fixture
def repository(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Repository:
    """A copy of the finished small study, to be changed."""
    return copy_of(finished_study(tmp_path_factory.getbasetemp()), tmp_path / "study")


def test_the_whole_study_of_params_yaml(tmp_path: Path) -> None:
    """All seven tasks and 23 models: every file is there, what belongs in git is in git, nothing is left to do."""
    made = Repository(tmp_path)
    made.ok("worldwidth", "run")
    made.commit("the smoke study")
    assert len(list((tmp_path / "models").iterdir())) == 23 + 1  # and .gitignore
    for model in ("base", "plug7-1", "ftwb0-0", "ftwb1-7", "ftwb2-12"):
        assert {p.name for p in (tmp_path / "models" / model).iterdir()} == {
            "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "steps",
        }  # fmt: skip
        assert (tmp_path / "models" / model / "steps" / "0" / "model.safetensors").is_file()
    for name in ("plug1", "ftwb1", "ftwb2", "difference", "training", "world", "known", "maps", "probes"):
        assert (tmp_path / "plots" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    tracked = made.git("ls-files").split()
    assert {"results/summary.json", "results/matrices.csv", "plots/ftwb1.png", "dvc.lock"} <= set(tracked)
    assert not [name for name in tracked if name.startswith(("models/", "data/")) and not name.endswith(".gitignore")]
    assert not list(tmp_path.rglob("*.tmp"))
    assert made.changed_stages() == set()


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
    comment(repository.folder / "src/worldwidth/training/loop.py")
    assert "ran with another src/worldwidth/training/loop.py" in repository.run("worldwidth", "check", "--lock").stderr


@pytest.mark.parametrize("content", ["", "stages:\n", "stages:\n  check:\n", "a word\n"])
def test_a_lock_that_dvc_did_not_write_is_one_line(repository: Repository, content: str) -> None:
    (repository.folder / "dvc.lock").write_text(content)
    refused = repository.run("worldwidth", "check", "--lock")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert refused.stderr.startswith("worldwidth: dvc.lock: ")


# what an edit touches


def comment(path: Path) -> None:
    path.write_text(path.read_text() + "# a comment\n")


def test_a_comment_in_plumbing_changes_no_stage(repository: Repository) -> None:
    """In every file of every plumbing package at once."""
    source = repository.folder / "src" / "worldwidth"
    kept = {source.joinpath(*name.split(".")).with_suffix(".py") for name in NOT_PLUMBING}
    files = {path for path in source.rglob("*.py") if path.relative_to(source).parts[0].removesuffix(".py") in PLUMBING}
    assert len(files - kept) > 50
    for path in files - kept:
        comment(path)
    assert repository.changed_stages() == set()


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("settings/compute.py", {"atlantis", "recipe", "base"} | CORPORA | FINETUNES | EVALUATIONS | MAPS),
        ("tasks/compass.py", {"corpus@compass", "atlantis", "summarize"} | EVALUATIONS | MAPS),
        ("data/make_cities.py", {"cities", "atlantis"}),
        ("data/queries.py", {"atlantis"} | CORPORA),
        ("model/decoder.py", {"base"} | FINETUNES | EVALUATIONS),
        ("training/loop.py", {"base"} | FINETUNES),
        ("training/pretrain.py", {"base"}),
        ("evaluation/evaluate.py", EVALUATIONS),
        ("evaluation/tables.py", {"summarize", "plots", "representations"}),
        ("representation/probe.py", MAPS),
        ("representation/tables.py", {"representations"}),
        ("plots/heatmap.py", {"plots", "representations"}),
        ("plots/comparison.py", set()),
        ("report/page.py", set()),
    ],
)
def test_a_comment_elsewhere_changes_the_stages_that_use_the_file(
    repository: Repository, file: str, expected: set[str]
) -> None:
    comment(repository.folder / "src" / "worldwidth" / file)
    assert repository.changed_stages() == expected


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("hidden_size: 8\n", "hidden_size: 16\n", set()),
        ("num_hidden_layers: 8\n", "num_hidden_layers: 7\n", set()),
        ("partition: ''", "partition: short", set()),
        ("resume_seconds: 10\n", "resume_seconds: 11\n", set()),
        ("      seed: 7\n", "      seed: 8\n", set()),
        ("    replicates: 1\n", "    replicates: 2\n", set()),
        ("std: 3.0, seed: 42}", "std: 3.0, seed: 43}", {"atlantis"}),
        ("reference: wide ", "reference: base ", {"check", "recipe"}),
        ("# the dial", "# THE dial", set()),
        ("statistics: {resamples: 200}", "statistics: {resamples: 201}", {"summarize"}),
    ],
    ids=[
        *("another arch", "a depth", "cluster", "execution", "tuning", "sweeps", "atlantis", "reference"),
        *("a comment", "statistics"),
    ],
)
def test_a_setting_changes_the_stages_that_read_it(
    repository: Repository, old: str, new: str, expected: set[str]
) -> None:
    repository.edit("params.yaml", old, new)
    assert repository.changed_stages() == expected


def test_the_reference_of_no_budget_is_run_no_further_than_the_recipe(repository: Repository) -> None:
    repository.edit("params.yaml", "reference: wide ", "reference: base ")
    assert stages_run(repository.ok("dvc", "repro")) == ["check", "recipe"]


def test_another_draw_of_atlantis_keeps_the_base_model(repository: Repository) -> None:
    repository.edit("params.yaml", "std: 3.0, seed: 42}", "std: 3.0, seed: 43}")
    ran = stages_run(repository.ok("dvc", "repro"))
    assert set(ran) == {"atlantis", "added", "summarize", "plots", "representations"} | FINETUNES | EVALUATIONS | MAPS


def test_a_comment_in_a_task_is_run_no_further_than_its_lines(repository: Repository) -> None:
    file = "src/worldwidth/tasks/compass.py"
    comment(repository.folder / file)
    plan = {s["stage"]: s for s in json.loads(repository.ok("worldwidth", "plan", "--json"))["stages"]}
    assert (plan["corpus@compass"]["state"], plan["corpus@compass"]["reason"]) == ("will run", file)
    assert (plan["base"]["state"], plan["base"]["reason"]) == ("after", "added, corpus@compass")
    assert set(stages_run(repository.ok("dvc", "repro", "base"))) == {"atlantis", "corpus@compass"}


# what is refused, and what a reader may do


def test_the_plan_of_a_fresh_clone(repository: Repository, tmp_path: Path) -> None:
    """Tables and figures are there, corpora and models are not, and the cache is empty."""
    clone = shlex.quote(f"{tmp_path}/clone")
    shell = f"git clone -q . {clone} && cd {clone} && env -u PYTHONWARNINGS worldwidth plan --json"
    states = [stage["state"] for stage in json.loads(repository.ok("bash", "-c", shell))["stages"]]
    assert len(states) == STAGES
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
    assert (
        "arch: found 'widest'; allowed: narrow, base, wide, wider, deep, shallow; did you mean 'wide'?"
        in refused.stderr
    )
    assert "Traceback" not in refused.stderr


def test_a_stale_dvc_yaml_stops_the_run(repository: Repository) -> None:
    last = "  ftwb2-15:\n  - compass\n  - distance\n"
    repository.edit("params.yaml", last, f"{last}  ftwb2-3: [inside, compass]\n")
    refused = repository.run("dvc", "repro")
    assert stages_run(refused.stdout + refused.stderr) == ["check"]
    assert "dvc.yaml does not match params.yaml" in refused.stderr
    assert "make render" in refused.stderr
    repository.ok("worldwidth", "render")
    plan = json.loads(repository.ok("worldwidth", "plan", "--json"))
    states = {stage["stage"]: stage["state"] for stage in plan["stages"]}
    assert states["ftwb2@3"] == "will run"
    assert states["evaluate@ftwb2-3"] == states["summarize"] == "will run"
    assert states["plots"] == states["represent@ftwb2-3"] == "will run"
    assert states["base"] == states["evaluate@base"] == "up to date"


def test_a_missing_base_model_is_one_line(repository: Repository) -> None:
    shutil.rmtree(repository.folder / "models" / "base")
    refused = repository.run("env", "PYTHONPATH=src", sys.executable, "stages/finetune.py", "ftwb1-1")
    assert refused.returncode == 2
    assert refused.stderr == "worldwidth: models/base/config.json: not found; run `dvc repro base`\n"


def test_partial_plots_leave_the_results_alone(repository: Repository) -> None:
    (repository.folder / "results" / "evaluations" / "ftwb1-4.json").unlink()
    assert "missing: ftwb1-4" in repository.ok("worldwidth", "plots", "--partial")
    assert (repository.folder / "partial" / "ftwb1.png").is_file()
    assert not repository.git("status", "--porcelain")


# experiments


def test_widths_as_experiments(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    """Another width makes no data again, and the first one comes out of the run cache; both stand side by side."""
    repository = copy_of(finished_study(tmp_path_factory.getbasetemp(), ("ftwb1-1",)), tmp_path)
    refused = repository.run("dvc", "exp", "run", "-S", "arch=huge")
    assert "arch: found 'huge'; allowed: narrow, base" in refused.stderr
    assert "`git checkout params.yaml` takes it back" in refused.stderr
    repository.git("checkout", "-q", "params.yaml")
    ran = stages_run(repository.ok("dvc", "exp", "run", "-S", "arch=narrow", "-n", "narrow"))
    assert repository.git("diff", "--numstat", "params.yaml").split() == ["1", "1", "params.yaml"]
    of_models = {f"{kind}@{model}" for kind in ("evaluate", "represent") for model in ("base", "ftwb1-1")}
    assert (
        set(ran) == {"check", "recipe", "added", "base", "ftwb1@1", "summarize", "plots", "representations"} | of_models
    )
    back = repository.ok("dvc", "exp", "run", "-S", "arch=wide", "-n", "again")
    assert stages_run(back) == []
    assert set(stages_restored(back)) == set(ran)

    table = repository.ok("dvc", "exp", "show", "--csv", "--only-changed")
    assert {"narrow", "again"} <= set(table.replace("\n", ",").split(","))
    metrics = json.loads(repository.ok("dvc", "metrics", "diff", "narrow", "again", "--json"))
    parameters = metrics["results/summary.json"]["parameters"]
    assert parameters["old"] < parameters["new"]

    repository.ok("dvc", "plots", "diff", "narrow", "again", "-o", "viz")
    page = repository.read("viz/index.html")
    for heading in ("Scores on Atlantis", "Share of exact answers", "Training loss"):
        assert heading in page
    assert len(list((repository.folder / "viz" / "static").glob("*ftwb1.png"))) == 2

    repository.git("checkout", "-q", ".")
    if str(repository.folder).isascii():  # DVC writes the config of a temporary folder in ASCII only
        temporary = repository.ok("dvc", "exp", "run", "--temp", "-S", "arch=narrow", "-n", "narrow-again")
        assert stages_run(temporary) == []
    assert not repository.git("status", "--porcelain", "--untracked-files=no")
