"""`worldwidth doctor` as a whole, and on environment, disk, git and params, on a real small study.

pytest tests/test_doctor.py
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from examined import contents, examined_copy, faults, finished_study, found, mend, shell
from repository import Repository, products
from worldwidth.doctor.content import check_content
from worldwidth.doctor.disk import check_folders, check_links, check_offline_plots, check_space
from worldwidth.doctor.environment import check_hardware, check_packages, check_programs, check_python
from worldwidth.doctor.repository import check_git, check_lock_file, check_params, check_pipeline

pytestmark = [pytest.mark.pipeline, pytest.mark.filterwarnings("ignore")]  # DVC's own dependencies warn

WEIGHTS = Path("models/base/model.safetensors")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return finished_study(tmp_path_factory.mktemp("study"))


@pytest.fixture
def repository(study: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    return examined_copy(study, tmp_path, monkeypatch)


def test_a_sound_study_has_no_problem_and_nothing_is_changed(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "src")
    before = contents(repository.folder)
    done = repository.run("worldwidth", "doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert all(len(line) <= 120 for line in done.stdout.splitlines())
    assert done.stdout.splitlines()[-1].endswith("0 problems; nothing here stops a run")
    assert contents(repository.folder) == before
    said = json.loads(repository.ok("worldwidth", "doctor", "--json"))
    counted = [row["state"] for row in said["findings"]]
    assert [said[state] for state in ("ok", "warning", "problem")] == [
        counted.count(state) for state in ("ok", "warning", "problem")
    ]
    assert said["problem"] == 0
    assert len(counted) >= 25
    for row in said["findings"]:
        assert set(row) == {"area", "checked", "state", "found", "command"}
        assert row["found"]
        assert bool(row["command"]) == (row["state"] != "ok")
    made_of = {row["checked"]: row["found"] for row in said["findings"]}
    assert made_of["hashed anew"].startswith("26 of 26 outs are there; ")


def test_where_nothing_is_installed_every_check_says_so(
    repository: Repository, tmp_path_factory: pytest.TempPathFactory
) -> None:
    bare = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True)
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": "src"}
    done = subprocess.run(
        [str(bare / "bin" / "python"), "-m", "worldwidth.doctor", "--json"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr == ""
    rows = {row["checked"]: row for row in json.loads(done.stdout)["findings"]}
    assert "No module named 'torch'" in rows["torch"]["found"]
    assert "No module named 'dvc'" in rows["DVC"]["found"]
    assert rows["packages"]["command"] == rows["DVC"]["command"] == "rm -f .venv/.ready && make env"
    assert rows["`dvc`"]["found"] == "not on PATH: stages cannot run"
    for checked in ("params.yaml", "dvc.yaml", "dvc.lock", "content", "cache links", "saved states"):
        assert rows[checked]["state"] == "problem", checked
        assert rows[checked]["found"].endswith("is not installed")
    for checked in ("git", "folders", "temporary files"):
        assert rows[checked]["state"] == "ok"


def test_make_doctor_shows_all_that_is_wrong_at_once(repository: Repository) -> None:
    """Several things at a time: none hides another, and make's own exit code says that there is a problem."""
    repository.edit("params.yaml", "seed: 1 ", "seed: yes ")
    (repository.folder / "dvc.lock").write_text("<<<<<<< HEAD\n")
    shutil.rmtree(".git")
    shutil.rmtree("data")
    Path("data").symlink_to("nowhere")
    Path(".dvc/config").write_text("[cache\n")
    done = repository.run("make", "doctor")
    assert done.returncode == 2
    assert "Traceback" not in done.stdout + done.stderr
    for said in (
        "problem  params.yaml          seed: found ",
        "problem  dvc.lock             holds conflict markers",
        "problem  git                  this is no git repository",
        "problem  data                 a link to nowhere, which is not there",
        "problem  DVC                  ",
        "           $ rm data\n",
    ):
        assert said in done.stdout, said


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
    assert found(check_programs, "`make`").found == "not on PATH; `worldwidth run` needs it"
    assert found(check_programs, "`git`").state == found(check_programs, "`dvc`").state == "problem"
    assert found(check_git, "git").state == "problem"


def test_an_environment_older_than_its_source(repository: Repository) -> None:
    assert found(check_python, "environment").state == "ok"
    os.utime("constraints.txt", (time.time() + 9, time.time() + 9))
    finding = found(check_python, "environment")
    assert (finding.state, finding.command) == ("warning", "make env")
    assert finding.found == ".venv is older than constraints.txt"
    Path(".venv/.ready").unlink()
    assert "`make env` has not ended here" in found(check_python, "environment").found


def test_the_code_of_another_folder_is_a_problem(repository: Repository) -> None:
    """What runs here is the code of the project that is tested."""
    finding = found(check_python, "worldwidth")
    assert finding.state == "problem"
    assert finding.found.startswith("the code that runs is that of ")


def test_the_code_of_this_folder_is_not(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `make doctor` sees it: setuptools leaves a description of its own in src/, which is found first."""
    described = {"src/worldwidth.egg-info/PKG-INFO": "", "site/worldwidth-0.1.0.dist-info/METADATA": ""}
    described["site/worldwidth-0.1.0.dist-info/direct_url.json"] = json.dumps({"url": f"file://{Path.cwd()}"})
    for name, text in described.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text or "Metadata-Version: 2.1\nName: worldwidth\nVersion: 0.1.0\n")
    monkeypatch.setenv("PYTHONPATH", "src:site")
    rows = json.loads(repository.run("python", "-m", "worldwidth.doctor", "--json").stdout)["findings"]
    assert [row["found"] for row in rows if row["checked"] == "worldwidth"] == ["installed from this folder"]


def test_versions_are_compared(repository: Repository) -> None:
    assert found(check_packages, "packages").state == "ok"
    assert found(check_python, "Python").state == "ok"
    repository.edit("pyproject.toml", '"numpy>=2.0"', '"numpy>=99", "notthere>=1"')
    repository.edit("pyproject.toml", 'requires-python = ">=3.11"', 'requires-python = ">=4"')
    constraints = Path("constraints.txt").read_text().replace("\nnumpy==", "\nnumpy==1")
    Path("constraints.txt").write_text(constraints)
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


# --- disk


def blocked(repository: Repository) -> None:
    shutil.rmtree("models")
    Path("models").write_text("in the way")


def dangling(repository: Repository) -> None:
    shutil.rmtree("data")
    Path("data").symlink_to("nowhere")


@pytest.mark.parametrize(
    ("damage", "name", "said"),
    [(blocked, "models", "a file where a folder belongs"), (dangling, "data", "a link to nowhere, which is not there")],
)
def test_what_stands_in_the_way_of_a_folder(
    repository: Repository, damage: Callable[[Repository], None], name: str, said: str
) -> None:
    before = products(repository)
    assert faults(check_folders) == []
    damage(repository)
    finding = found(check_folders, name)
    assert (finding.state, finding.found) == ("problem", said)
    mend(repository, finding)
    assert faults(check_folders) == []
    assert found(check_content, "not there").state == "warning"
    mend(repository, found(check_content, "not there"))
    assert faults(check_content) == []
    assert products(repository) == before


@contextmanager
def unprivileged() -> Iterator[None]:
    """As somebody whom permissions bind, if the tests are run by root."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_folders_that_may_not_be_read_or_written(repository: Repository) -> None:
    for path in (repository.folder, *repository.folder.rglob("*")):
        os.chown(path, 65534 if os.geteuid() == 0 else -1, -1, follow_symlinks=False)
    assert faults(check_content) == faults(check_folders) == []  # and all modules are imported
    for folder, check, checked, said in (
        ("models", check_folders, "models", "not readable and writable for you"),
        ("models/base/steps", check_content, "unreadable", "models/base/steps: Permission denied"),
    ):
        os.chmod(folder, 0)
        with unprivileged():
            (finding,) = faults(check)
        assert (finding.checked, finding.state, finding.found) == (checked, "problem", said)
        mend(repository, finding)
        with unprivileged():
            assert faults(check) == []


def test_a_disk_that_is_too_small(repository: Repository) -> None:
    assert faults(check_space) == []
    params = Path("params.yaml").read_text()
    head, smoke = params.split("  smoke:")
    wide = smoke.replace("hidden_size: 32, intermediate_size: 128", "hidden_size: 16384, intermediate_size: 65536", 1)
    wide = wide.replace("num_hidden_layers: 2", "num_hidden_layers: 96", 1).replace(
        "checkpoints: 2", "checkpoints: 1000"
    )
    Path("params.yaml").write_text(f"{head}  smoke:{wide}")
    for name in ("project", "DVC's cache"):
        finding = found(check_space, name)
        assert finding.state == "problem", finding.found
        assert "a run at scale smoke writes " in finding.found
        assert finding.command.startswith("dvc gc ")


def test_a_cache_that_can_only_be_copied_from(repository: Repository) -> None:
    assert faults(check_links) == []
    repository.ok("dvc", "config", "--local", "cache.type", "copy")
    finding = found(check_links, "cache links")
    assert finding.state == "warning"
    assert "of copy only copy works" in finding.found
    mend(repository, finding)
    assert faults(check_links) == []
    assert WEIGHTS.stat().st_nlink > 1 or "reflink" in found(check_links, "cache links").found


def test_a_cache_on_another_file_system(repository: Repository) -> None:
    elsewhere = Path("/dev/shm")
    if not elsewhere.is_dir() or elsewhere.stat().st_dev == repository.folder.stat().st_dev:
        pytest.skip("there is only one file system here")
    repository.ok("dvc", "config", "--local", "cache.dir", str(elsewhere / "no cache here yet"))
    finding = found(check_links, "cache links")
    assert finding.state == "warning"
    assert (
        "is not there yet; it lies on another file system; of reflink, hardlink, copy only copy works" in finding.found
    )
    assert found(check_content, "not in the cache").state == "warning"
    shell(repository, finding.command.split(" && ")[0])
    assert "symlink works" in found(check_links, "cache links").found
    assert not (elsewhere / "no cache here yet").exists()


def test_pages_of_plots(repository: Repository) -> None:
    assert faults(check_offline_plots) == []
    Path(".dvc/plots/offline.html").unlink()
    finding = found(check_offline_plots, "pages of plots")
    assert finding.state == "problem"
    mend(repository, finding)
    assert faults(check_offline_plots) == []
    Path(".dvc/config.local").unlink()
    finding = found(check_offline_plots, "pages of plots")
    assert finding.state == "warning"
    mend(repository, finding)
    assert faults(check_offline_plots) == []


# --- git, params.yaml, dvc.yaml, dvc.lock


def test_no_repository(repository: Repository) -> None:
    assert faults(check_git) == []
    shutil.rmtree(".git")
    finding = found(check_git, "git")
    assert finding.state == "problem"
    assert finding.found.startswith("this is no git repository")
    mend(repository, finding)
    assert faults(check_git) == []


def test_a_merge_with_conflicts(repository: Repository) -> None:
    main = repository.git("branch", "--show-current").strip()
    for branch, seed in (("one", 8), ("two", 9)):
        repository.git("checkout", "-q", "-b", branch, main)
        repository.edit("params.yaml", "seed: 1 ", f"seed: {seed} ")
        repository.edit("dvc.lock", "schema: '2.0'", f"schema: '2.0'  # {seed}")
        repository.commit(branch)
    assert repository.run("git", "merge", "one").returncode == 1
    assert found(check_git, "merge").state == "warning"
    assert found(check_params, "params.yaml").found.startswith("holds conflict markers")
    assert found(check_lock_file, "dvc.lock").found == "holds conflict markers"
    assert found(check_content, "content").state == "warning"
    mend(repository, found(check_git, "merge"))
    assert faults(check_git) == faults(check_params) == []
    assert faults(check_content) == []


def test_what_git_has_not(repository: Repository) -> None:
    for number in range(8):
        Path(f"note-{number}").write_text("x")
    finding = found(check_git, "uncommitted")
    assert finding.state == "warning"
    assert finding.found.endswith("note-5 and 2 more")
    mend(repository, finding)
    repository.git("checkout", "-q", "--detach")
    assert found(check_git, "git").found.startswith("detached at commit ")
    Path("src/worldwidth/tasks/area.py").write_text("x = 1\n")
    Path(".git/info/exclude").write_text("area.py\n")
    finding = found(check_git, "ignored by git")
    assert (finding.state, finding.found) == ("problem", "a clone would lack src/worldwidth/tasks/area.py")
    mend(repository, finding)
    assert found(check_git, "ignored by git").state == "ok"


def broken(repository: Repository) -> None:
    repository.edit("params.yaml", "seed: 1 ", "seed: yes ")


def unreadable(repository: Repository) -> None:
    Path("params.yaml").write_text("a: [\n")


def gone(repository: Repository) -> None:
    Path("params.yaml").unlink()


@pytest.mark.parametrize(("damage", "said"), [(broken, "seed: found "), (unreadable, "line "), (gone, "not found")])
def test_params_that_do_not_load(repository: Repository, damage: Callable[[Repository], None], said: str) -> None:
    damage(repository)
    finding = found(check_params, "params.yaml")
    assert finding.state == "problem"
    assert said in finding.found
    assert found(check_pipeline, "dvc.yaml").state == "warning"
    assert found(check_lock_file, "dvc.lock").state == "warning"
    assert faults(check_content) == []
    shell(repository, finding.command.rpartition(": ")[2])
    assert faults(check_params) == faults(check_pipeline) == []


@pytest.mark.parametrize("text", ["stages: {}\n", "<<<<<<< HEAD\nstages: {}\n=======\n>>>>>>> other\n"])
def test_a_stale_dvc_yaml(repository: Repository, text: str) -> None:
    Path("dvc.yaml").write_text(text)
    finding = found(check_pipeline, "dvc.yaml")
    assert finding.state == "problem"
    assert ("conflict markers" in finding.found) == ("HEAD" in text)
    mend(repository, finding)
    assert faults(check_pipeline) == []
    assert repository.git("status", "--porcelain") == ""


def test_a_lock_file_that_cannot_be_read(repository: Repository) -> None:
    assert faults(check_lock_file) == []
    text = Path("dvc.lock").read_text()
    Path("dvc.lock").write_text(text[: len(text) // 2] + ": [")
    finding = found(check_lock_file, "dvc.lock")
    assert finding.state == "problem"
    assert re.match(r"line \d+: not valid YAML", finding.found)
    assert found(check_content, "content").state == "warning"
    mend(repository, finding)
    assert faults(check_lock_file) == faults(check_content) == []
    Path("dvc.lock").write_text("stages: [1]\n")
    assert found(check_lock_file, "dvc.lock").found == "not a lock file that DVC wrote"
    repository.commit("a broken dvc.lock")  # the committed one is no better: test_parallel shows what a run does then
    assert found(check_lock_file, "dvc.lock").command == "rm -rf dvc.lock && make repro"


def test_a_lock_file_of_other_code(repository: Repository) -> None:
    Path("results/summary.json").write_text("{}\n")
    finding = found(check_lock_file, "dvc.lock")
    assert (finding.state, finding.command) == ("warning", "make repro")
    assert finding.found.startswith("results/summary.json is not what stage summarize wrote")
    mend(repository, finding)
    assert faults(check_lock_file) == []
