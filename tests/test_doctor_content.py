"""`worldwidth doctor` on a finished study: content in every broken state, and that its commands bring the bytes back.

pytest tests/test_doctor_content.py
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from examined import contents, examined_copy, faults, finished_study, fix, found, shell
from repository import Repository, products
from worldwidth.doctor.content import check_content
from worldwidth.doctor.disk import check_folders, check_links
from worldwidth.doctor.dvc_state import check_dvc, check_locks
from worldwidth.doctor.repository import check_git, check_lock_file, check_pipeline
from worldwidth.dvcio.hashes import Hashes

pytestmark = [pytest.mark.pipeline, pytest.mark.filterwarnings("ignore")]  # DVC's own dependencies warn

WEIGHTS = Path("models/base/model.safetensors")
SCORES = Path("results/scores/base.npz")
CORPUS = Path("data/corpora/inside")


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
    done = repository.run("worldwidth", "doctor", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert contents(repository.folder) == before
    said = json.loads(done.stdout)
    counted = [row["state"] for row in said["findings"]]
    assert {state: said[state] for state in ("ok", "warning", "problem")} == {
        state: counted.count(state) for state in ("ok", "warning", "problem")
    }
    assert said["problem"] == 0
    assert len(counted) >= 25
    for row in said["findings"]:
        assert set(row) == {"area", "checked", "state", "found", "command"}
        assert row["found"]
        assert bool(row["command"]) == (row["state"] != "ok")
    made_of = {row["checked"]: row["found"] for row in said["findings"]}
    assert made_of["hashed anew"].startswith("14 of 14 outs are there; ")


def test_a_fresh_clone_has_nothing_wrong(
    repository: Repository, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone = tmp_path_factory.mktemp("clone")
    repository.git("clone", "-q", ".", str(clone))
    monkeypatch.chdir(clone)
    for check in (check_folders, check_git, check_pipeline, check_lock_file, check_locks, check_dvc, check_links):
        assert faults(check) == []
    finding = found(check_content, "not there")
    assert (finding.state, finding.command) == ("warning", "make repro")
    assert finding.found.startswith("14 outs, and not in the cache: ")
    assert not Path(".dvc/tmp").exists()


def test_a_lock_file_that_cannot_be_read(repository: Repository) -> None:
    assert faults(check_lock_file) == []
    text = Path("dvc.lock").read_text()
    Path("dvc.lock").write_text(text[: len(text) // 2] + ": [")
    finding = found(check_lock_file, "dvc.lock")
    assert finding.state == "problem"
    assert re.match(r"line \d+: not valid YAML", finding.found)
    assert [finding.state for finding in faults(check_content)] == ["warning"]
    fix(repository, finding, check_lock_file)
    assert faults(check_content) == []
    Path("results/summary.json").write_text("{}\n")
    finding = found(check_lock_file, "dvc.lock")
    assert (finding.state, finding.command) == ("warning", "make repro")
    assert finding.found.startswith("results/summary.json is not what stage summarize wrote")
    Path("dvc.lock").write_text("stages: [1]\n")
    assert found(check_lock_file, "dvc.lock").found == "not a lock file that DVC wrote"
    repository.commit("a broken dvc.lock")  # the committed one is no better: test_parallel shows what a run does then
    assert found(check_lock_file, "dvc.lock").command == "rm -rf dvc.lock && make repro"


def test_processes_that_dvc_remembers(repository: Repository) -> None:
    """A dead one is forgotten by DVC; one whose number another program has now blocks DVC until the file is gone."""

    def remember(process: subprocess.Popen[str]) -> None:
        blocker = {"pid": process.pid, "cmd": "dvc repro base"}
        Path(".dvc/tmp/rwlock").write_text(json.dumps({"write": {str(WEIGHTS.parent.absolute()): blocker}, "read": {}}))

    dead = repository.start("true")
    dead.communicate()
    remember(dead)
    assert "which the next one clears" in found(check_locks, "DVC's locks").found
    assert faults(check_locks) == []
    foreign, runner = repository.start("sleep", "600"), repository.start("tail", "-f", "dvc.lock")
    try:
        remember(foreign)
        assert "blocked by" in repository.run("dvc", "repro", "base").stderr
        finding = found(check_locks, "DVC's locks")
        assert finding.state == "problem"
        fix(repository, finding, check_locks)
        remember(runner)
        assert found(check_locks, "DVC's locks").found.startswith("at work here: dvc repro base; ")
    finally:
        for process in (foreign, runner):
            process.kill()
            process.communicate()
    zombie = repository.start("true", output=subprocess.DEVNULL)
    remember(zombie)
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
    finding = found(check_locks, "DVC's locks")
    assert "(dead, but not reaped)" in finding.found
    fix(repository, finding, check_locks)
    zombie.wait()
    for text in ("{", '{"write": {"models": {}}}'):
        Path(".dvc/tmp/rwlock").write_text(text)
        finding = found(check_locks, "DVC's locks")
        assert finding.state == "problem"
        fix(repository, finding, check_locks)


def test_a_cache_that_can_only_be_copied_from(repository: Repository) -> None:
    repository.ok("dvc", "config", "--local", "cache.type", "copy")
    finding = found(check_links, "cache links")
    assert finding.state == "warning"
    assert "of copy only copy works" in finding.found
    fix(repository, finding, check_links)
    assert WEIGHTS.stat().st_nlink > 1 or "reflink" in found(check_links, "cache links").found


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
        shell(repository, finding.command)
        with unprivileged():
            assert faults(check) == []


# --- damage: each returns what it is to be found as


def object_of(path: Path) -> Path:
    digest = Hashes().folder(path) if path.is_dir() else Hashes().file(path)
    return Path(".dvc/cache/files/md5", digest[:2], digest[2:])


def overwrite(path: Path, text: bytes = b"rot") -> None:
    """Damage a file in place, as a failing disk does: neither its time nor its mode tell."""
    status, mode = path.stat(), path.stat().st_mode
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(text)
    path.chmod(mode)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def everywhere(repository: Repository) -> str:
    """One inode for the cache and all places: at smoke scale fine-tuned models begin with these weights, too."""
    for path in Path("models").iterdir():
        if path.is_dir():
            shutil.rmtree(path)
    repository.ok("dvc", "checkout")
    assert WEIGHTS.stat().st_nlink >= 2
    overwrite(WEIGHTS)
    assert repository.changed_stages() == set()  # DVC does not notice
    return "lost content"


def listing_and_file(repository: Repository) -> str:
    overwrite(object_of(CORPUS))
    overwrite(next(CORPUS.iterdir()))
    return "lost content"


def objects(repository: Repository) -> str:
    """A wrong bit, a damaged listing, an empty file."""
    overwrite(object_of(WEIGHTS))
    overwrite(object_of(CORPUS))
    path = object_of(SCORES)
    path.chmod(0o644)
    os.truncate(path, 0)
    path.chmod(0o444)
    return "damaged objects"


def files(repository: Repository) -> str:
    """A wrong bit; a file gone, one too many, a link that leads to itself, and a file where a folder was."""
    overwrite(Path("data/cities.csv"))
    WEIGHTS.unlink()
    WEIGHTS.with_name("note.txt").write_text("mine")
    SCORES.unlink()
    SCORES.symlink_to(SCORES.name)
    shutil.rmtree(CORPUS)
    CORPUS.write_text("in the way")
    return "damaged files"


def no_cache(repository: Repository) -> str:
    shutil.rmtree(".dvc/cache")
    return "not in the cache"


def no_tree(repository: Repository) -> str:
    for folder in (WEIGHTS.parent, CORPUS):
        shutil.rmtree(folder)
    SCORES.unlink()
    return "not there"


DAMAGES: list[Callable[[Repository], str]] = [everywhere, listing_and_file, objects, files, no_cache, no_tree]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_content_is_found_and_the_command_brings_the_same_bytes_back(
    repository: Repository, damage: Callable[[Repository], str]
) -> None:
    before, lock = products(repository), Path("dvc.lock").read_bytes()
    assert faults(check_content) == []
    checked = damage(repository)
    finding = found(check_content, checked)
    assert finding.state == ("warning" if damage in (no_cache, no_tree) else "problem")
    assert faults(check_content) == [finding]
    assert damage is no_cache or "models/base" in finding.found or str(CORPUS) in finding.found
    fix(repository, finding, check_content)
    assert products(repository) == before
    assert Path("dvc.lock").read_bytes() == lock
