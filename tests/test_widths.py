"""`worldwidth widths` and `compare` through the real DVC, on a study of 19 stages: `pytest tests/test_widths.py`.

One repository is swept once; the tests then go on with it, in the order of this file.
"""

import re
import signal
import subprocess
import time
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest
import yaml

from in_process import dvc, ok
from repository import Repository, read_yaml_file
from small_study import FINETUNES, STAGES, finished_study, small_study
from worldwidth.dvcio.config import set_local
from worldwidth.engine.watch import not_done
from worldwidth.sweep.graph import VariantJob
from worldwidth.sweep.jobs import failed_variants
from worldwidth.sweep.variants import Variant
from worldwidth.sweep.worktree import set_tree

pytestmark = pytest.mark.pipeline

SWEEP = Path(".dvc") / "tmp" / "worldwidth" / "sweep"


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


def file_of(repository: Repository, name: str, path: str) -> str:
    """A file of an experiment."""
    (commit,) = repository.git("for-each-ref", "--format=%(objectname)", f"refs/exps/*/*/{name}").split()
    return repository.git("show", f"{commit}:{path}")


def params_of(repository: Repository, name: str) -> dict[str, object]:
    values = yaml.safe_load(file_of(repository, name, "params.yaml"))
    assert isinstance(values, dict)
    return values


def printed(repository: Repository) -> str:
    """What the jobs of the last sweep have printed."""
    return "".join(log.read_text() for log in sorted((repository.folder / SWEEP / "logs").glob("*.log")))


def trained(repository: Repository) -> set[str]:
    """The models whose last step the jobs of the last sweep took."""
    return {name for name, _ in re.findall(r"^(\S+): step (\d+) of \2,", printed(repository), re.M)}


def test_a_sweep_makes_named_experiments_and_leaves_the_tree_alone(swept: tuple[Repository, str]) -> None:
    repository, output = swept
    assert experiments(repository) == {"narrow-epochs-s1", "wide-epochs-s1"}
    assert "2 of 2 experiments are done" in output
    assert repository.git("status", "--porcelain") == ""
    for arch in ("narrow", "wide"):
        values = params_of(repository, f"{arch}-epochs-s1")
        assert (values["arch"], values["seed"], values["budget"]) == (arch, 1, "epochs")


def test_what_two_runs_share_is_made_once(swept: tuple[Repository, str]) -> None:
    repository, output = swept
    assert f"{2 * STAGES - 5} stages to do in 16 jobs, 2 at a time" in output
    line = rf"(?m)^\[\d+/{2 * STAGES - 5}\] (?:narrow|wide)-epochs-s1 \S+: "
    assert (
        len(re.findall(rf"{line}started$", output)) == len(re.findall(rf"{line}done in .+$", output)) == 2 * STAGES - 5
    )
    assert len(re.findall(r"(?m)\] (?:narrow|wide)-epochs-s1: saved$", output)) == 2
    text = printed(repository)
    assert text.count("cities: 60 real ones") == 1
    assert text.count("corpus of distance") == 1
    assert text.count("atlantis: 20 cities") == 1
    assert text.count("recipe: ") == 2
    assert text.count("exact answers in") == 2 * (len(FINETUNES) + 1)


def test_an_experiment_is_what_a_serial_run_leaves(
    swept: tuple[Repository, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Models and scores by their hashes, tables and figures by their bytes."""
    serial = finished_study(tmp_path_factory.getbasetemp())
    assert yaml.safe_load(file_of(swept[0], "wide-epochs-s1", "dvc.lock")) == read_yaml_file(serial.folder / "dvc.lock")
    (commit,) = swept[0].git("for-each-ref", "--format=%(objectname)", "refs/exps/*/*/wide-epochs-s1").split()
    names = ("ls-tree", "-r", "--format=%(objectname) %(path)")
    mine, theirs = (one.git(*names, of, "results", "plots") for one, of in ((swept[0], commit), (serial, "HEAD")))
    assert [line for line in mine.splitlines() if ".gitignore" not in line] == [
        line for line in theirs.splitlines() if ".gitignore" not in line
    ]
    assert "plots/ftwb1.png" in mine


def test_what_exists_is_skipped(repository: Repository) -> None:
    output = ok(repository, "widths", "--archs", "narrow", "wide", "--seeds", "1")
    assert output.splitlines()[:2] == ["narrow-epochs-s1: already done", "wide-epochs-s1: already done"]
    assert "stages to do" not in output


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
    folders = (repository.folder / "results" / "comparison" / "smoke", repository.folder / "report" / "smoke")
    return {path.name: path.read_bytes() for folder in folders for path in folder.iterdir()}


def test_they_are_compared(repository: Repository) -> None:
    output = ok(repository, "compare")
    assert "compared 2 experiments" in output
    found = files_of_the_comparison(repository)
    assert {"comparison.md", "runs.csv", "means.csv", "differences.csv", "scores.png", "index.html"} <= found.keys()
    assert found["comparison.md"].decode() in output
    assert b"too few seeds to say (n = 1)" in found["differences.csv"]
    assert b"narrow-epochs-s1" in found["index.html"]
    ok(repository, "compare", "wide-epochs-s1", "narrow-epochs-s1")
    assert files_of_the_comparison(repository) == found
    repository.git("clean", "-qfd", "results", "report", "page")


def test_an_arm_that_comes_to_the_same_steps_trains_nothing(repository: Repository) -> None:
    """The reference width gets its own FLOPs: the base model of the other arm is its base model."""
    output = repository.ok("worldwidth", "widths", "--archs", "wide", "--seeds", "1", "--budgets", "flops")
    assert "tokens/s" not in printed(repository)
    assert "wide-flops-s1: saved" in output
    assert "compared 3 experiments" in ok(repository, "compare")
    repository.git("clean", "-qfd", "results", "report")


def test_uncommitted_changes_are_part_of_the_runs(repository: Repository) -> None:
    repository.edit("params.yaml", "multitask_lines: 100}", "multitask_lines: 99}")
    words = ("worldwidth", "widths", "--archs", "narrow", "wide", "--seeds", "1")
    before = experiments(repository), file_of(repository, "wide-epochs-s1", "params.yaml")
    refused = repository.run(*words)
    assert refused.returncode == 2
    assert refused.stdout == ""
    assert re.fullmatch(
        r"worldwidth: experiment 'narrow-epochs-s1': there is one that ran with evaluation\.multitask_lines 100 in "
        r"place of 99; --force replaces it, .*\n",
        refused.stderr,
    )
    assert (experiments(repository), file_of(repository, "wide-epochs-s1", "params.yaml")) == before
    output = repository.ok("worldwidth", "widths", "--archs", "wide", "--seeds", "1", "--force")
    assert "already done" not in output
    assert "tokens/s" not in printed(repository)
    assert "multitask_lines: 99" in file_of(repository, "wide-epochs-s1", "params.yaml")
    assert repository.git("status", "--porcelain").split() == ["M", "params.yaml"]
    repository.git("checkout", "-q", "params.yaml")


def wait_for_new(process: subprocess.Popen[str], repository: Repository, files: str) -> None:
    """Until the sweep has a new file of the pattern ``files``, in a tree or among the logs."""
    start = time.time()
    while not any(path.stat().st_mtime > start for path in (repository.folder / SWEEP).glob(files)):
        assert process.poll() is None
        assert time.time() < start + 300, f"{files} never came"
        time.sleep(0.05)


def test_a_killed_sweep_repeats_nothing(repository: Repository) -> None:
    """First with all that it started; then by `kill -9` of the command alone, whose jobs end by themselves."""
    words = ("worldwidth", "widths", "--archs", "narrow", "--seeds", "2", "--jobs", "2")
    first = repository.start(*words, output=subprocess.DEVNULL)
    wait_for_new(first, repository, "[12]/models/ftwb*/model.safetensors")
    for process in [*psutil.Process(first.pid).children(recursive=True), psutil.Process(first.pid)]:
        process.kill()
    first.wait()
    assert "narrow-epochs-s2" not in experiments(repository)
    second = repository.start(*words, output=subprocess.DEVNULL)
    wait_for_new(second, repository, "[12]/results/evaluations/ftwb*.json")
    jobs = psutil.Process(second.pid).children()
    second.kill()
    second.wait()
    gone, alive = psutil.wait_procs(jobs, timeout=30)
    assert gone
    assert not alive
    before = trained(repository)
    assert before
    assert "base" not in before
    third = repository.ok(*words)
    assert not {"base", *before} & trained(repository)
    assert "narrow-epochs-s2: saved" in third
    assert "narrow-epochs-s2" in experiments(repository)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT], ids=lambda number: number.name)
def test_a_request_to_stop_reaches_all_jobs(number: signal.Signals, repository: Repository) -> None:
    process = repository.start("worldwidth", "widths", "--archs", "narrow", "wide", "--seeds", "3", "--jobs", "2")
    wait_for_new(process, repository, "logs/*.base.log")
    jobs = psutil.Process(process.pid).children()
    process.send_signal(number)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == (130 if number == signal.SIGINT else 75), output
    assert output.splitlines()[-1].startswith("worldwidth: stopped; what is finished is recorded, and a training under")
    assert not any(job.is_running() for job in jobs)
    assert not {"narrow-epochs-s3", "wide-epochs-s3"} & experiments(repository)


def test_a_failure_stops_only_what_depends_on_it(repository: Repository) -> None:
    """One evaluation of one of two variants fails as long as a file is there."""
    repository.edit(
        "stages/evaluate.py",
        "def main(settings: Settings, name: str) -> None:\n",
        "def main(settings: Settings, name: str) -> None:\n"
        "    from worldwidth.core.errors import WorldwidthError\n"
        "    from worldwidth.settings.paths import scratch_folder\n"
        "    if name == 'ftwb1-4' and settings.arch == 'wide' and (scratch_folder() / 'broken').exists():\n"
        "        raise WorldwidthError('evaluate: it is broken')\n",
    )
    repository.ok("worldwidth", "render")
    broken = repository.folder / SWEEP.parent / "broken"
    broken.touch()
    words = ("worldwidth", "widths", "--archs", "narrow", "wide", "--seeds", "3", "--jobs", "2")
    failed = repository.run(*words)
    broken.unlink()
    assert failed.returncode == 2
    lines = failed.stderr.splitlines()
    assert lines[0] == "worldwidth: wide-epochs-s3: evaluate: it is broken"
    failed_job = r"worldwidth: job wide-epochs-s3\.\S+: failed; what it printed: .*/wide-epochs-s3\.\S+\.log"
    assert re.fullmatch(failed_job, lines[1])
    assert lines[2:] == [
        "worldwidth: 1 failed: wide-epochs-s3 (evaluate: it is broken). The same command runs only what is not done yet"
    ]
    assert "1 of 2 experiments are done" in failed.stdout
    assert {"narrow-epochs-s3"} == experiments(repository) & {"narrow-epochs-s3", "wide-epochs-s3"}
    again = repository.ok(*words)
    assert "narrow-epochs-s3: already done" in again
    assert "4 stages to do in 3 jobs" in again
    assert "wide-epochs-s3: saved" in again
    repository.git("checkout", "-q", ".")


def test_a_job_of_another_variant_needs_no_lock_file(repository: Repository) -> None:
    """Its own `check` has still to run, and what others have made is in the run cache all the same."""
    assert not (repository.folder / "dvc.lock").exists()
    repository.edit("params.yaml", "arch: wide", "arch: base")
    repository.ok("worldwidth", "render")
    repository.ok("worldwidth", "work", "check", "recipe", "added")
    assert "check" in read_yaml_file(repository.folder / "dvc.lock")["stages"]
    (repository.folder / "dvc.lock").unlink()
    repository.git("checkout", "-q", ".")


def test_what_another_variant_left_is_not_taken_for_this_ones(tmp_path: Path) -> None:
    """dvc.lock, which is committed, may hold this one's."""
    (tmp_path / "dvc.lock").write_text("schema: '2.0'\nstages:\n")
    set_tree(tmp_path, {Path("params.yaml"): "arch: wide\n"})
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"params.yaml": "arch: wide\n"}


def test_a_git_alias_in_a_linked_worktree_leaves_it_alone(repository: Repository) -> None:
    """There git sets GIT_DIR, as it does in hooks and for `git rebase -x`."""
    other = Repository.at(repository.folder.with_name("linked"))
    repository.git("worktree", "add", "-q", "-b", "mine", str(other.folder))
    set_local(other.folder, "cache", "dir", str(repository.folder / ".dvc" / "cache"))
    other.edit("params.yaml", "multitask_lines: 100}", "multitask_lines: 98}")
    other.edit("README.md", "\n", "\n\n")
    other.git("add", "README.md")
    other.edit("README.md", "\n\n", "\n\n\n")
    before = other.git("status", "--porcelain"), other.git("ls-files", "--stage")
    output = other.git("-c", "alias.widths=!worldwidth widths --archs narrow --seeds 1 --force", "widths")
    assert "narrow-epochs-s1: saved" in output
    assert "tokens/s" not in printed(other)
    assert (other.git("status", "--porcelain"), other.git("ls-files", "--stage")) == before
    assert other.git("symbolic-ref", "HEAD").strip() == "refs/heads/mine"
    assert repository.git("config", "core.bare").strip() == "false"


def test_a_variant_fails_for_a_job_of_another_one() -> None:
    """What both share is a job of the first; the second waits for it."""
    one, other = Variant("narrow-epochs-s1", ()), Variant("narrow-tokens-s1", ())
    jobs = [
        VariantJob("one.base", "base", ("base",), (), one, ("key",), ()),
        VariantJob("one.experiment", "summary", (), ("one.base",), one, (), ()),
        VariantJob("other.experiment", "summary", (), ("one.base",), other, (), ()),
    ]
    reason = "base: the loss is nan at step 3"
    reasons = not_done({"one.base": reason}, jobs, [job.name for job in jobs])
    assert failed_variants(jobs, reasons) == {"narrow-epochs-s1": reason, "narrow-tokens-s1": reason}
    assert failed_variants(jobs, not_done({}, jobs, [])) == {}
