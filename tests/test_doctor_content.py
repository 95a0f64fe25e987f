"""`worldwidth doctor` on a finished study: content in every broken state, and that its commands bring the bytes back.

pytest tests/test_doctor_content.py
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from examined import contents, examined_copy, fault, faults, findings, finished_study, fix, shell, unprivileged
from repository import Repository, products
from worldwidth.doctor.examination import CHECKS
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
    assert len(counted) >= sum(map(len, CHECKS.values()))
    for row in said["findings"]:
        assert set(row) == {"area", "checked", "state", "found", "command", "changes"}
        assert row["found"]
        assert bool(row["command"]) == (row["state"] != "ok")
    made_of = {row["checked"]: row["found"] for row in said["findings"]}
    assert made_of["hashed anew"].startswith("23 of 23 outs are there; ")


def test_a_fresh_clone_has_nothing_wrong(
    repository: Repository, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone = tmp_path_factory.mktemp("clone")
    repository.git("clone", "-q", ".", str(clone))
    monkeypatch.chdir(clone)
    assert faults("folders", "git", "dvc.yaml", "dvc.lock", "DVC", "DVC's locks", "cache links") == []
    finding = fault("content")
    assert (finding.checked, finding.state, finding.command) == ("not there", "warning", "make repro")
    assert finding.found.startswith("23 outs, and not in the cache: ")
    assert not Path(".dvc/tmp").exists()


def test_a_lock_file_that_cannot_be_read(repository: Repository) -> None:
    assert faults("dvc.lock") == []
    text = Path("dvc.lock").read_text()
    Path("dvc.lock").write_text(text[: len(text) // 2] + ": [")
    assert (fault("dvc.lock").state, fault("content").state) == ("problem", "warning")
    assert re.match(r"line \d+: not valid YAML", fault("dvc.lock").found)
    fix(repository, "dvc.lock")
    assert faults("content") == []
    Path("dvc.lock").write_text("stages: [1]\n")
    assert fault("dvc.lock").found == "not a lock file that DVC wrote"
    repository.commit("a broken dvc.lock")  # the committed one is no better: test_parallel shows what a run does then
    assert fault("dvc.lock").command == "rm -rf dvc.lock && make repro"


def test_a_lock_file_of_other_results(repository: Repository) -> None:
    Path("results/summary.json").write_text("{}\n")
    finding = fault("dvc.lock")
    assert (finding.state, finding.command) == ("warning", "make repro")
    assert finding.found.startswith("results/summary.json is not what stage summarize wrote")
    fix(repository, "dvc.lock")


def test_processes_that_dvc_remembers(repository: Repository) -> None:
    """A dead one is forgotten by DVC; one whose number another program has now blocks DVC until the file is gone."""

    def remember(process: subprocess.Popen[str]) -> None:
        blocker = {"pid": process.pid, "cmd": "dvc repro base"}
        Path(".dvc/tmp/rwlock").write_text(json.dumps({"write": {str(WEIGHTS.parent.absolute()): blocker}, "read": {}}))

    foreign, runner = repository.start("sleep", "600"), repository.start("tail", "-f", "dvc.lock")
    try:
        remember(foreign)
        assert "blocked by" in repository.run("dvc", "repro", "base").stderr
        assert "(sleep 600), which is no DVC that works here: a killed run left it" in fault("DVC's locks").found
        fix(repository, "DVC's locks")
        remember(runner)
        assert fault("DVC's locks").found.startswith("at work here: dvc repro base; ")
    finally:
        for process in (foreign, runner):
            process.kill()
    os.waitid(os.P_PID, runner.pid, os.WEXITED | os.WNOWAIT)
    assert "(dead, but not reaped)" in fault("DVC's locks").found
    for process in (foreign, runner):
        process.communicate()
    (finding,) = findings("DVC's locks")
    assert (finding.state, finding.found.split(", ")[-1]) == ("ok", "which the next one clears")


def test_a_cache_that_can_only_be_copied_from(repository: Repository) -> None:
    repository.ok("dvc", "config", "--local", "cache.type", "copy")
    assert fault("cache links").state == "warning"
    assert "of copy only copy works" in fault("cache links").found
    fix(repository, "cache links")
    assert WEIGHTS.stat().st_nlink > 1 or "reflink" in findings("cache links")[0].found


def test_folders_that_may_not_be_read_or_written(repository: Repository) -> None:
    for path in (repository.folder, *repository.folder.rglob("*")):
        os.chown(path, 65534 if os.geteuid() == 0 else -1, -1, follow_symlinks=False)
    assert faults("content", "folders") == []  # and all modules are imported
    for folder, name, checked, said in (
        ("models", "folders", "models", "not readable and writable for you"),
        ("models/base/steps", "content", "unreadable", "models/base/steps: Permission denied"),
    ):
        os.chmod(folder, 0)
        with unprivileged():
            finding = fault(name)
        assert (finding.checked, finding.state, finding.found) == (checked, "problem", said)
        shell(repository, finding.command)
        with unprivileged():
            assert faults(name) == []


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
    assert faults("content") == []
    checked = damage(repository)
    finding = fault("content")
    assert (finding.checked, finding.state) == (checked, "warning" if damage in (no_cache, no_tree) else "problem")
    assert damage is no_cache or "models/base" in finding.found or str(CORPUS) in finding.found
    fix(repository, "content")
    assert products(repository) == before
    assert Path("dvc.lock").read_bytes() == lock
