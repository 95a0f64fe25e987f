"""`worldwidth widths` and `compare` through the real DVC, on a study of 18 stages: `pytest tests/test_widths.py`.

One repository is swept once; the tests then go on with it, in the order of this file.
"""

import os
import re
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from in_process import dvc, ok
from repository import PROJECT, Repository
from small_study import STAGES, small_study
from worldwidth.core.errors import WorldwidthError
from worldwidth.dvcio.config import set_local
from worldwidth.settings.load import load
from worldwidth.settings.schema import Settings
from worldwidth.sweep import widths
from worldwidth.sweep.variants import Variant, sweep
from worldwidth.sweep.widths import run_widths

pytestmark = pytest.mark.pipeline

TREE = Path(".dvc") / "tmp" / "worldwidth" / "widths"


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Repository, str]:
    """The small study after a sweep of two widths, and what the sweep printed."""
    made = small_study(tmp_path_factory.mktemp("sweep"))
    return made, made.ok("worldwidth", "widths", "--archs", "narrow", "wide", "--seeds", "1", "--jobs", "2")


@pytest.fixture
def repository(swept: tuple[Repository, str]) -> Repository:
    return swept[0]


def experiments(repository: Repository) -> set[str]:
    return set(repository.git("for-each-ref", "--format=%(refname:lstrip=4)", "refs/exps").split())


def params_of(repository: Repository, name: str) -> dict[str, object]:
    (commit,) = repository.git("for-each-ref", "--format=%(objectname)", f"refs/exps/*/*/{name}").split()
    values = yaml.safe_load(repository.git("show", f"{commit}:params.yaml"))
    assert isinstance(values, dict)
    return values


def test_a_sweep_makes_named_experiments_and_leaves_the_tree_alone(swept: tuple[Repository, str]) -> None:
    repository, output = swept
    assert experiments(repository) == {"narrow-epochs-s1", "wide-epochs-s1"}
    assert "2 of 2 experiments are done" in output
    assert repository.git("status", "--porcelain") == ""
    for arch in ("narrow", "wide"):
        values = params_of(repository, f"{arch}-epochs-s1")
        assert (values["arch"], values["seed"], values["budget"]) == (arch, 1, "epochs")


def test_what_two_runs_share_is_made_once(swept: tuple[Repository, str]) -> None:
    assert swept[1].count("cities: 60 real ones") == 1
    assert swept[1].count("corpus of distance") == 1
    assert re.findall(r"(\d+) of \d+ stages to do", swept[1]) == [str(STAGES), str(STAGES - 4)]


def test_what_exists_is_skipped(repository: Repository) -> None:
    output = ok(repository, "widths", "--archs", "narrow", "wide", "--seeds", "1")
    assert output.splitlines()[:2] == ["narrow-epochs-s1: already done", "wide-epochs-s1: already done"]
    assert "[1 of" not in output


def test_dvc_s_own_tools_take_the_names(repository: Repository) -> None:
    assert set(dvc(repository, "exp", "list", "--name-only").split()) == experiments(repository)
    assert "pretraining.tokens" in dvc(repository, "metrics", "diff", "narrow-epochs-s1", "wide-epochs-s1")
    difference = dvc(repository, "exp", "diff", "narrow-epochs-s1", "wide-epochs-s1")
    assert re.search(r"arch\s+narrow\s+wide", difference)
    page = dvc(repository, "plots", "diff", "narrow-epochs-s1", "wide-epochs-s1", "-o", "page")
    assert "index.html" in page
    shown = repository.read("page/index.html")
    assert "narrow-epochs-s1" in shown
    assert "wide-epochs-s1" in shown


def test_the_table_of_experiments_fits_120_columns(repository: Repository) -> None:
    (command,) = re.findall(r"^\tdvc exp show .*$", repository.read("Makefile"), re.MULTILINE)
    table = repository.ok("env", "COLUMNS=120", "bash", "-c", command.replace("$$", "$"))
    assert max(len(line) for line in table.splitlines()) <= 120
    assert "…" not in table  # nothing was cut to fit
    for word in ("narrow-epochs-s1", "wide-epochs-s1", "ftwb1.trained", "ftwb1.transfer", "ftwb2.trained", "arch"):
        assert word in table, table


def files_of_the_comparison(repository: Repository) -> dict[str, bytes]:
    folders = (repository.folder / "results" / "comparison", repository.folder / "report")
    return {path.name: path.read_bytes() for folder in folders for path in folder.iterdir()}


def test_they_are_compared(repository: Repository) -> None:
    output = ok(repository, "compare")
    assert "compared 2 experiments" in output
    found = files_of_the_comparison(repository)
    assert {"comparison.md", "runs.csv", "widths.csv", "differences.csv", "scores.png", "index.html"} <= found.keys()
    assert found["comparison.md"].decode() in output
    assert b"too few seeds to say (n = 1)" in found["differences.csv"]
    assert b"narrow-epochs-s1" in found["index.html"]
    ok(repository, "compare", "wide-epochs-s1", "narrow-epochs-s1")
    assert files_of_the_comparison(repository) == found
    repository.git("clean", "-qfd", "results", "report", "page")


def test_an_arm_that_comes_to_the_same_steps_trains_nothing(repository: Repository) -> None:
    """The reference width gets its own FLOPs: the base model of the other arm is its base model."""
    output = repository.ok("worldwidth", "widths", "--archs", "wide", "--seeds", "1", "--budgets", "flops")
    assert "tokens/s" not in output
    assert "wide-flops-s1: saved" in output
    assert "compared 3 experiments" in ok(repository, "compare")
    repository.git("clean", "-qfd", "results", "report")


def test_uncommitted_changes_are_part_of_the_runs(repository: Repository) -> None:
    repository.edit("params.yaml", "statistics: {resamples: 200}", "statistics: {resamples: 201}")
    output = repository.ok("worldwidth", "widths", "--archs", "wide", "--seeds", "1")
    assert "already done" not in output
    assert "tokens/s" not in output
    assert "resamples: 201" in repository.read(str(TREE / "params.yaml"))
    assert repository.git("status", "--porcelain").split() == ["M", "params.yaml"]
    repository.git("checkout", "-q", "params.yaml")


def wait_for_new(process: subprocess.Popen[str], repository: Repository, files: str) -> None:
    """Until the sweep's tree has a new file of the pattern ``files``."""
    start = time.time()
    while not any(path.stat().st_mtime > start for path in (repository.folder / TREE).glob(files)):
        assert process.poll() is None
        assert time.time() < start + 300, f"{files} never came"
        time.sleep(0.05)


def test_a_killed_sweep_repeats_nothing(repository: Repository) -> None:
    """First with all that it started; then by `kill -9` of the command alone, whose run is an orphan that goes on."""
    words = ("worldwidth", "widths", "--archs", "narrow", "--seeds", "2")
    first = repository.start(*words, output=subprocess.DEVNULL)
    wait_for_new(first, repository, "models/ftwb*/model.safetensors")
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    assert "narrow-epochs-s2" not in experiments(repository)
    log = repository.folder.with_name("second.log")
    with log.open("w") as file:
        second = repository.start(*words, output=file.fileno())
        wait_for_new(second, repository, "results/evaluations/ftwb*.json")
        second.kill()
        second.wait()
    third = repository.ok(*words)
    assert "base: step" not in log.read_text()
    assert "ftwb1-5" in log.read_text()
    assert "what is left of an interrupted sweep is still at work: waiting for it" in third
    assert "tokens/s" not in third
    assert "narrow-epochs-s2: saved" in third
    assert "narrow-epochs-s2" in experiments(repository)


def test_a_git_alias_in_a_linked_worktree_leaves_it_alone(repository: Repository) -> None:
    """There git sets GIT_DIR, as it does in hooks and for `git rebase -x`."""
    other = Repository.at(repository.folder.with_name("linked"))
    repository.git("worktree", "add", "-q", "-b", "mine", str(other.folder))
    set_local(other.folder, "cache", "dir", str(repository.folder / ".dvc" / "cache"))
    other.edit("params.yaml", "statistics: {resamples: 200}", "statistics: {resamples: 202}")
    other.edit("README.md", "\n", "\n\n")
    other.git("add", "README.md")
    other.edit("README.md", "\n\n", "\n\n\n")
    before = other.git("status", "--porcelain"), other.git("ls-files", "--stage")
    output = other.git("-c", "alias.widths=!worldwidth widths --archs narrow --seeds 1", "widths")
    assert "narrow-epochs-s1: saved" in output
    assert "tokens/s" not in output
    assert (other.git("status", "--porcelain"), other.git("ls-files", "--stage")) == before
    assert other.git("symbolic-ref", "HEAD").strip() == "refs/heads/mine"
    assert repository.git("config", "core.bare").strip() == "false"


def test_a_failure_does_not_stop_the_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[str] = []

    def run(tree: Path, source: str, variant: Variant, jobs: int | None) -> str:
        ran.append(variant.name)
        return "base: the loss is nan at step 3" if variant.arch == "base" else ""

    monkeypatch.setattr(widths, "check_rendered", lambda settings: None)
    monkeypatch.setattr(widths, "source_tree", lambda: "0" * 40)
    monkeypatch.setattr(widths, "present_experiment", lambda settings, variant, source: variant.arch == "narrow")
    monkeypatch.setattr(widths, "prepare_tree", lambda settings, source: Path())
    monkeypatch.setattr(widths, "run_variant", run)
    with pytest.raises(WorldwidthError) as failed:
        run_widths(load(PROJECT / "params.yaml"), None, [1], None, None)
    assert ran == ["base-epochs-s1", "wide-epochs-s1", "wider-epochs-s1"]
    assert str(failed.value).startswith("1 failed: base-epochs-s1 (base: the loss is nan at step 3). The same command")
    assert "3 of 4 experiments are done" in capsys.readouterr().out


def at_laptop() -> Settings:
    return load(PROJECT / "params.yaml")


def test_the_order_leaves_whole_comparisons_when_cut_short() -> None:
    found = sweep(at_laptop(), ["narrow", "wide"], [1, 2], ["epochs", "flops"])
    assert [variant.name for variant in found[:4]] == [
        "narrow-epochs-s1", "wide-epochs-s1", "narrow-flops-s1", "wide-flops-s1",
    ]  # fmt: skip
    assert len(found) == 8
    assert len(sweep(at_laptop(), ["narrow", "narrow"], [1, 1], ["epochs"])) == 1


def test_unknown_names_are_refused_before_anything_runs() -> None:
    with pytest.raises(
        WorldwidthError, match="arch 'narow': allowed: narrow, base, wide, wider; did you mean 'narrow'"
    ):
        sweep(at_laptop(), ["narow"], [1], ["epochs"])
    with pytest.raises(WorldwidthError, match="budget 'flop': allowed: epochs, tokens, flops; did you mean 'flops'"):
        sweep(at_laptop(), ["narrow"], [1], ["flop"])  # type: ignore[list-item]


def test_a_budget_that_leaves_no_steps_is_refused_before_anything_runs() -> None:
    settings = replace(at_laptop(), reference="narrow")  # narrow's FLOPs are a few steps of a wide model
    scale = settings.selected
    short = replace(scale, archs={**scale.archs, "narrow": replace(scale.archs["narrow"], epochs=1)})
    settings = replace(settings, scales={**settings.scales, "laptop": short})
    with pytest.raises(
        WorldwidthError, match=r"wider-flops-s1: scales\.laptop\.pretraining\.warmup_steps: found 50; it must"
    ):
        sweep(settings, ["narrow", "wider"], [1], ["flops"])
    assert len(sweep(settings, ["narrow", "wider"], [1], ["tokens"])) == 2
