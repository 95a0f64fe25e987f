"""`worldwidth doctor` as a whole, and on environment, disk, git, params and what kills leave, before anything has run.

pytest tests/test_doctor.py
"""

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from examined import examined_copy, faults, fix, found, new_project, shell
from repository import Repository
from short_runs import no_checkpoint, run_of
from worldwidth.doctor import environment, examination
from worldwidth.doctor.content import check_content
from worldwidth.doctor.disk import check_folders, check_links, check_offline_plots, check_space
from worldwidth.doctor.dvc_state import (
    check_dvc,
    check_experiments,
    check_locks,
    check_run_cache,
    check_temporary_files,
)
from worldwidth.doctor.environment import (
    check_environment,
    check_hardware,
    check_own_package,
    check_packages,
    check_programs,
    check_python,
)
from worldwidth.doctor.finding import Check, Finding, State
from worldwidth.doctor.repository import (
    check_git,
    check_ignored,
    check_lock_file,
    check_params,
    check_pipeline,
    check_uncommitted,
)
from worldwidth.doctor.training_states import check_saved_states
from worldwidth.model.decoder import Decoder
from worldwidth.training.mixture import Mixture
from worldwidth.training.resume import SavedRun, states_folder
from worldwidth.training.run import Training

pytestmark = [pytest.mark.pipeline, pytest.mark.filterwarnings("ignore")]  # DVC's own dependencies warn


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return new_project(tmp_path_factory.mktemp("project"))


@pytest.fixture
def repository(project: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    return examined_copy(project, tmp_path, monkeypatch)


def test_where_nothing_is_installed_every_check_says_so(repository: Repository, tmp_path: Path) -> None:
    bare = tmp_path / ".git" / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True)
    done = subprocess.run(
        [str(bare / "bin" / "python"), "-m", "worldwidth.doctor", "--json"],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": "src"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr == ""
    rows = {row["checked"]: row for row in json.loads(done.stdout)["findings"]}
    assert rows["`dvc`"]["found"] == "not on PATH: stages cannot run"
    for checked in (
        "packages",
        "hardware",
        "DVC",
        "params.yaml",
        "dvc.yaml",
        "dvc.lock",
        "cache links",
        "saved states",
    ):
        assert rows[checked]["state"] == "problem", checked
        assert rows[checked]["found"].startswith("not checked: No module named "), checked
        assert rows[checked]["command"] == "rm -f .venv/.ready && make env"
    for checked in ("git", "folders", "DVC's locks", "temporary files"):
        assert rows[checked]["state"] == "ok", checked


def test_make_doctor_shows_all_that_is_wrong_at_once(repository: Repository) -> None:
    """Several things at a time: none hides another, and make's own exit code says that there is a problem."""
    repository.edit("params.yaml", "seed: 1 ", "seed: yes ")
    Path("dvc.lock").write_text("<<<<<<< HEAD\n")
    shutil.rmtree(".git")
    shutil.rmtree("models")
    Path("models").symlink_to("nowhere")
    Path(".dvc/config").write_text("[cache\n")
    done = repository.run("make", "doctor")
    assert done.returncode == 2
    assert "Traceback" not in done.stdout + done.stderr
    assert all(len(line) <= 120 for line in done.stdout.splitlines())
    for said in (
        "problem  params.yaml          seed: found ",
        "problem  dvc.lock             holds conflict markers",
        "problem  git                  no repository that can be read: ",
        "problem  models               a link to nowhere, which is not there",
        "problem  DVC                  ",
        "warning  dvc.yaml             not checked: params.yaml: seed: found ",
        "warning  cache links          not checked: DVC's config cannot be read: ",
        "warning  content              not checked: dvc.lock: holds conflict markers",
        "           $ rm models\n",
        "problems; fix them from the top, for one may be the cause of another, then ask again\n",
    ):
        assert said in done.stdout, said


def test_what_is_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Long commands are cut at spaces outside quotes, and run as they stand."""
    words = [f"'{number} {'a' * 30}'" for number in range(8)]

    def check() -> Iterator[Finding]:
        yield Finding("one", "warning", "found " * 30, f"echo {' '.join(words)}")

    monkeypatch.setattr(examination, "CHECKS", {"area": [("one", check, ""), ("two", lambda: iter(()), "all right")]})
    examination.run_doctor(as_json=False)
    said = capsys.readouterr().out
    assert said.endswith("\n2 checks: 1 ok, 1 warning, 0 problems; nothing here stops a run\n")
    assert "  ok       two                  all right\n" in said
    assert all(len(line) <= 120 for line in said.splitlines())
    command = said[said.index("$ ") + 2 : said.index("  ok ")]
    assert "\\\n" in command
    assert subprocess.check_output(["bash", "-c", command], text=True).strip() == " ".join(words).replace("'", "")
    monkeypatch.setattr(examination, "CHECKS", {"area": [("one", lambda: iter([1 / 0]), "")]})
    with pytest.raises(SystemExit) as ended:
        examination.run_doctor(as_json=True)
    assert ended.value.code == 2
    (row,) = json.loads(capsys.readouterr().out)["findings"]
    assert (row["state"], row["found"]) == ("problem", "not checked: ZeroDivisionError: division by zero")


# --- environment


def test_another_python_on_the_path_is_a_problem(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    assert faults(check_programs) == []
    other = repository.folder / "other"
    other.mkdir()
    (other / "python").symlink_to(sys.executable)
    monkeypatch.setenv("PATH", f"{other}{os.pathsep}{os.environ['PATH']}")
    finding = found(check_programs, "`python`")
    assert finding.state == "problem"
    assert f"the one on PATH is {other}/python" in finding.found
    where = shell(repository, f"{finding.command} && command -v python").strip()
    assert Path(where).parent.resolve() == Path(sys.executable).parent.resolve()
    monkeypatch.setenv("PATH", str(other))
    assert found(check_programs, "`make`").state == "warning"
    assert found(check_programs, "`git`").state == found(check_programs, "`dvc`").state == "problem"
    assert [finding.state for finding in faults(check_git)] == ["problem"]


def test_an_environment_older_than_its_source(repository: Repository) -> None:
    assert faults(check_environment) == []
    os.utime("constraints.txt", (time.time() + 9, time.time() + 9))
    finding = found(check_environment, "environment")
    assert (finding.state, finding.command) == ("warning", "make env")
    assert finding.found == ".venv is older than constraints.txt"
    Path(".venv/.ready").unlink()
    assert "`make env` has not ended here" in found(check_environment, "environment").found


def test_whose_code_runs(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs here is the code of the project that is tested; then as `make doctor` has it.

    setuptools leaves a description of its own in src/, which is found first.
    """
    assert found(check_own_package, "worldwidth").found.startswith("the code that runs is that of ")
    monkeypatch.setattr(environment, "__file__", str(Path("src/worldwidth/doctor/environment.py").absolute()))
    monkeypatch.setattr(sys, "path", [str(Path(name).absolute()) for name in ("src", "site")])
    assert found(check_own_package, "worldwidth").found == "not installed in this environment"
    described = {"src/worldwidth.egg-info/PKG-INFO": "", "site/worldwidth-0.1.0.dist-info/METADATA": ""}
    origin = Path("site/worldwidth-0.1.0.dist-info/direct_url.json")
    for name in described:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text("Metadata-Version: 2.1\nName: worldwidth\nVersion: 0.1.0\n")
    origin.write_text('{"url": "file:///elsewhere"}')
    assert found(check_own_package, "worldwidth").state == "warning"
    origin.write_text(json.dumps({"url": f"file://{Path.cwd()}"}))
    assert faults(check_own_package) == []
    shutil.rmtree("src")
    finding = found(check_own_package, "worldwidth")
    assert (finding.state, finding.command) == ("problem", "git checkout HEAD -- src")


def test_versions_are_compared(repository: Repository) -> None:
    assert faults(check_packages) == faults(check_python) == []
    repository.edit("pyproject.toml", '"numpy>=2.0"', '"numpy>=99", "notthere>=1"')
    repository.edit("pyproject.toml", 'requires-python = ">=3.11"', 'requires-python = ">=4"')
    repository.edit("constraints.txt", "\nnumpy==", "\nnumpy==1")
    finding = found(check_packages, "packages")
    assert finding.state == "problem"
    assert "is not >=99" in finding.found
    assert "notthere is not installed" in finding.found
    assert found(check_packages, "pinned versions").state == "warning"
    assert "numpy " in found(check_packages, "pinned versions").found
    assert found(check_python, "Python").state == "problem"


def test_hardware_that_is_not_there(repository: Repository) -> None:
    cores = len(os.sched_getaffinity(0))
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(re.sub(r"threads: \d+", f"threads: {cores}", text))
    assert faults(check_hardware) == []
    Path("params.yaml").write_text(re.sub(r"threads: \d+", f"threads: {cores + 1}", text))
    assert f"asks for {cores + 1} threads; CPU cores here: {cores}" in found(check_hardware, "hardware").found


# --- disk, git, params.yaml, dvc.yaml, and what kills leave


CONFLICTS = "printf '<<<<<<< HEAD\nstages: {}\n=======\n>>>>>>> other\n' > "
BROKEN: list[tuple[str, Check, str, State, str]] = [
    ("rm -rf models && touch models", check_folders, "models", "problem", "a file where a folder belongs"),
    ("rm -rf data && ln -s nowhere data", check_folders, "data", "problem", "a link to nowhere, which is not there"),
    ("rm -rf .dvc", check_folders, ".dvc", "problem", "not found: this is no DVC project"),
    ("rm .dvc/plots/offline.html", check_offline_plots, "pages of plots", "problem", "is not there"),
    ("rm .dvc/config.local", check_offline_plots, "pages of plots", "warning", "from a public server"),
    ("rm -rf .git", check_git, "git", "problem", "not a git repository"),
    ("rm -rf .git && git init", check_git, "git", "problem", "no commit yet"),
    ("git bisect start", check_git, "bisect", "warning", "a bisect is under way"),
    ("touch note-{1..8}", check_uncommitted, "uncommitted", "warning", "note-6 and 2 more"),
    ("git rm -qr --cached stages && echo stages >> .gitignore", check_ignored, "ignored by git", "problem", "stages/"),
    ("echo 'a: [' > params.yaml", check_params, "params.yaml", "problem", "line "),
    ("rm params.yaml", check_params, "params.yaml", "problem", "not found"),
    ("echo 'stages: {}' > dvc.yaml", check_pipeline, "dvc.yaml", "problem", "not up to date with params.yaml"),
    (f"{CONFLICTS} dvc.yaml", check_pipeline, "dvc.yaml", "problem", "holds conflict markers"),
    ("echo [cache > .dvc/config", check_dvc, "DVC", "problem", ".dvc/config cannot be read"),
    ("echo [cache > .dvc/config.local", check_dvc, "DVC", "problem", ".dvc/config.local cannot be read"),
    ("mkdir .dvc/tmp && echo '{' > .dvc/tmp/rwlock", check_locks, "DVC's locks", "problem", "rwlock is damaged"),
    ("mkdir -p .dvc/cache/runs/{0/1,2/3}", check_run_cache, "run cache", "problem", "2 entries without a file"),
    ("mkdir -p models/.base.tmp/.x.tmp", check_temporary_files, "temporary files", "warning", ": models/.base.tmp"),
    ("mkdir -p .dvc/tmp/exps/standalone/{tmpabc,run/0}", check_experiments, "experiments", "warning", "2 leftovers"),
]  # fmt: skip


@pytest.mark.parametrize(("damage", "check", "checked", "state", "said"), BROKEN, ids=[row[0] for row in BROKEN])
def test_what_is_broken_is_found_and_the_command_fixes_it(
    repository: Repository,
    damage: str,
    check: Check,
    checked: str,
    state: State,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert faults(check) == []
    shell(repository, damage)
    finding = found(check, checked)
    assert finding.state == state
    assert said in finding.found
    monkeypatch.setenv("EDITOR", "git checkout HEAD --")
    fix(repository, finding, check)


def test_a_disk_that_is_too_small(repository: Repository) -> None:
    assert faults(check_space) == []
    head, smoke = Path("params.yaml").read_text().split("  smoke:")
    for old, new in (
        ("hidden_size: 32, intermediate_size: 128", "hidden_size: 16384, intermediate_size: 65536"),
        ("num_hidden_layers: 2", "num_hidden_layers: 96"),
        ("checkpoints: 2", "checkpoints: 1000"),
    ):
        smoke = smoke.replace(old, new, 1)
    Path("params.yaml").write_text(f"{head}  smoke:{smoke}")
    finding = found(check_space, "free space")
    assert finding.state == "problem"
    assert finding.found.endswith(" needed for a run at scale smoke")
    assert finding.command.startswith("dvc gc ")


def test_a_cache_on_another_file_system(repository: Repository) -> None:
    elsewhere = Path("/dev/shm")
    if not elsewhere.is_dir() or elsewhere.stat().st_dev == repository.folder.stat().st_dev:
        pytest.skip("there is only one file system here")
    assert faults(check_links) == []
    repository.ok("dvc", "config", "--local", "cache.dir", str(elsewhere / "no cache here yet"))
    finding = found(check_links, "cache links")
    assert finding.state == "warning"
    assert ", not there yet, is on another file system; of reflink, hardlink, copy only copy works" in finding.found
    shell(repository, finding.command.split(" && ")[0])
    assert "symlink works" in found(check_links, "cache links").found
    assert not (elsewhere / "no cache here yet").exists()


def test_a_repository_of_another_user(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    finding = found(check_git, "git")
    assert (finding.state, finding.found[:25]) == ("problem", "git refuses to work here:")
    fix(repository, finding, check_git)


def test_a_merge_with_conflicts(repository: Repository) -> None:
    main = repository.git("branch", "--show-current").strip()
    for branch, seed in (("one", 8), ("two", 9)):
        repository.git("checkout", "-q", "-b", branch, main)
        repository.edit("params.yaml", "seed: 1 ", f"seed: {seed} ")
        Path("dvc.lock").write_text(f"schema: '2.0'  # {seed}\n")
        repository.commit(branch)
    assert repository.run("git", "merge", "one").returncode == 1
    assert found(check_params, "params.yaml").found.startswith("holds conflict markers")
    assert found(check_lock_file, "dvc.lock").found == "holds conflict markers"
    assert [finding.state for finding in faults(check_content)] == ["warning"]
    finding = found(check_git, "merge")
    assert finding.state == "warning"
    fix(repository, finding, check_git)
    assert faults(check_params) == []


def test_what_needs_params_yaml_says_so(repository: Repository) -> None:
    Path("params.yaml").write_text("a: [\n")
    Path("dvc.lock").write_text("stages: {check: {cmd: python stages/check.py}}\n")
    for check in (check_pipeline, check_lock_file, check_hardware):
        (finding,) = faults(check)
        assert (finding.state, finding.command) == ("warning", "make doctor  # again, when that is fixed")
    assert faults(check_content) == faults(check_space) == []


def test_a_lock_that_is_held(repository: Repository) -> None:
    Path(".dvc/tmp/worldwidth").mkdir(parents=True)
    for path, said in (("lock", "another DVC command"), ("worldwidth/run.lock", "a `worldwidth run` is going on")):
        with Path(".dvc/tmp", path).open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            finding = found(check_locks, "DVC's locks")
            assert finding.state == "warning"
            assert finding.found.startswith(said)
    assert faults(check_locks) == []


def test_what_is_in_use_is_no_leftover(repository: Repository) -> None:
    worktree = Path(".dvc/tmp/exps/standalone/tmpabc")
    for folder in (Path("models/.base.tmp"), worktree):
        folder.mkdir(parents=True)
    with Path(".dvc/tmp/lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert faults(check_temporary_files) == faults(check_experiments) == []
    worker = subprocess.Popen(["sleep", "600"], cwd=worktree)
    try:
        assert faults(check_experiments) == []
    finally:
        worker.kill()
        worker.wait()
    assert [finding.state for finding in faults(check_experiments)] == ["warning"]


def test_saved_states(repository: Repository, small: Mixture, make_decoder: Callable[..., Decoder]) -> None:
    assert faults(check_saved_states) == []
    model, run = make_decoder("narrow"), run_of(small)
    with SavedRun(model, run) as saved:
        saved.save(Training(model, run, no_checkpoint, None), seconds=1.0)
        assert found(check_saved_states, "state of base").found == "a process is training from it now"
    assert found(check_saved_states, "state of base").found.startswith(
        f"the next run goes on from it: step 0 of {run.steps}"
    )
    (folder,) = states_folder().iterdir()
    state = folder / "state.safetensors"
    os.utime(state, (time.time() - 20 * 86_400,) * 2)
    finding = found(check_saved_states, "state of base")
    assert (finding.state, finding.found[:12]) == ("warning", "20 days old;")
    state.write_bytes(state.read_bytes()[:-9])
    Path(".dvc/tmp/worldwidth/diverged/base").mkdir(parents=True)
    assert found(check_saved_states, "diverged runs").state == "warning"
    assert found(check_saved_states, "state of base").found.startswith("of no use: ")
    for finding in faults(check_saved_states):
        shell(repository, finding.command)
    assert faults(check_saved_states) == []
