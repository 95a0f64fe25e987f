"""`worldwidth doctor` on what DVC has, in every broken state: what it says, and that its commands mend it.

pytest tests/test_doctor_content.py
"""

import fcntl
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from examined import examined_copy, faults, finished_study, found, mend
from repository import Repository, products
from short_runs import no_checkpoint, run_of
from worldwidth.doctor.content import check_content
from worldwidth.doctor.disk import check_folders, check_links
from worldwidth.doctor.dvc_state import check_dvc, check_leftovers, check_run_cache, check_saved_states
from worldwidth.doctor.hashes import Hashes
from worldwidth.doctor.repository import check_git, check_lock_file, check_pipeline
from worldwidth.model.decoder import Decoder
from worldwidth.training.mixture import Mixture
from worldwidth.training.resume import SavedRun, states_folder
from worldwidth.training.run import Training

pytestmark = [pytest.mark.pipeline, pytest.mark.filterwarnings("ignore")]  # DVC's own dependencies warn

WEIGHTS = Path("models/base/model.safetensors")
OBJECTS = Path(".dvc/cache/files/md5")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return finished_study(tmp_path_factory.mktemp("study"))


@pytest.fixture
def repository(study: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    return examined_copy(study, tmp_path, monkeypatch)


# --- DVC


def test_a_config_that_dvc_cannot_read(repository: Repository) -> None:
    assert faults(check_dvc) == []
    for name in ("config", "config.local"):
        Path(".dvc", name).write_text("[cache\n")
        finding = found(check_dvc, "DVC")
        assert finding.state == "problem"
        assert f".dvc/{name} cannot be read" in finding.found
        mend(repository, finding)
        assert faults(check_dvc) == []


def test_a_lock_that_is_held(repository: Repository) -> None:
    with Path(".dvc/tmp/lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        finding = found(check_dvc, "DVC's locks")
        assert finding.state == "warning"
        assert finding.found.startswith("another DVC command is running here")
    with Path(".dvc/tmp/worldwidth/run.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert "`worldwidth run` is going on" in found(check_dvc, "DVC's locks").found
    assert faults(check_dvc) == []


def test_processes_that_dvc_remembers(repository: Repository) -> None:
    """A dead one is forgotten by DVC; one whose number another program has now blocks DVC until the file is gone."""

    def remember(process: subprocess.Popen[str]) -> None:
        blocker = {"pid": process.pid, "cmd": "dvc repro base"}
        Path(".dvc/tmp/rwlock").write_text(json.dumps({"write": {str(WEIGHTS.parent.absolute()): blocker}, "read": {}}))

    dead = repository.start("true")
    dead.communicate()
    remember(dead)
    assert "which the next one clears" in found(check_dvc, "DVC's locks").found
    assert faults(check_dvc) == []
    foreign, runner = repository.start("sleep", "600"), repository.start("bash", "-c", "read; # dvc repro", output=-3)
    try:
        remember(foreign)
        assert "blocked by" in repository.run("dvc", "repro", "base").stderr
        finding = found(check_dvc, "DVC's locks")
        assert finding.state == "problem"
        mend(repository, finding)
        assert faults(check_dvc) == []
        remember(runner)
    finally:
        foreign.kill()
        runner.kill()
        foreign.communicate()
        runner.communicate()
    zombie = repository.start("true", output=subprocess.DEVNULL)
    remember(zombie)
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
    assert "blocked by" in repository.run("dvc", "repro", "base").stderr
    finding = found(check_dvc, "DVC's locks")
    assert "(dead, but not reaped)" in finding.found
    mend(repository, finding)
    assert faults(check_dvc) == []
    zombie.wait()
    Path(".dvc/tmp/rwlock").write_text("{")
    finding = found(check_dvc, "DVC's locks")
    assert finding.state == "problem"
    mend(repository, finding)
    assert faults(check_dvc) == []


def test_half_written_entries_of_the_run_cache(repository: Repository) -> None:
    assert faults(check_run_cache) == []
    entries = sorted(Path(".dvc/cache/runs").glob("*/*/*"))[:2]
    for entry in entries:
        entry.unlink()
    finding = found(check_run_cache, "run cache")
    assert finding.state == "problem"
    assert finding.found.startswith("2 entries without a file, left by a kill")
    mend(repository, finding)
    assert faults(check_run_cache) == []


def test_what_killed_processes_left(repository: Repository) -> None:
    assert faults(check_leftovers) == []
    Path("models/.base.tmp/steps/.x.tmp").mkdir(parents=True)
    Path("results/training/.base.csv.tmp").write_text("half")
    for name in ("tmpabc", "run/0123"):
        Path(".dvc/tmp/exps/standalone", name).mkdir(parents=True)
    finding = found(check_leftovers, "temporary files")
    assert finding.state == "warning"
    assert finding.found.endswith(": models/.base.tmp, results/training/.base.csv.tmp")
    mend(repository, finding)
    with Path(".dvc/tmp/lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert faults(check_leftovers) == []
    worker = subprocess.Popen(["sleep", "600"], cwd=".dvc/tmp/exps/standalone/tmpabc")
    try:
        assert faults(check_leftovers) == []
    finally:
        worker.kill()
        worker.wait()
    finding = found(check_leftovers, "experiments")
    assert finding.state == "warning"
    mend(repository, finding)
    assert faults(check_leftovers) == []


def test_saved_states(repository: Repository, small: Mixture, make_decoder: Callable[..., Decoder]) -> None:
    assert found(check_saved_states, "saved states").state == "ok"
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
        mend(repository, finding)
    assert faults(check_saved_states) == []


# --- content


def object_of(path: Path) -> Path:
    digest = Hashes().folder(path) if path.is_dir() else Hashes().file(path)
    return OBJECTS / digest[:2] / digest[2:]


def overwrite(path: Path, text: bytes) -> None:
    """Damage a file in place, as a failing disk does: neither its time nor its mode tell."""
    status, mode = path.stat(), path.stat().st_mode
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(text)
    path.chmod(mode)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def relink(repository: Repository) -> None:
    """Let the models be hard links to the cache, as after `dvc checkout`: damage to one is damage to all."""
    for path in Path("models").iterdir():
        if path.is_dir():
            shutil.rmtree(path)
    repository.ok("dvc", "checkout")


def both(repository: Repository) -> str:
    """One inode for the cache and all places: at smoke scale fine-tuned models begin with these weights, too."""
    relink(repository)
    assert WEIGHTS.stat().st_nlink >= 2
    overwrite(WEIGHTS, b"rot")
    assert repository.changed_stages() == set()  # DVC does not notice
    return "lost content"


def cache_only(repository: Repository) -> str:
    overwrite(object_of(WEIGHTS), b"rot")
    return "damaged objects"


def cut_object(repository: Repository) -> str:
    path = object_of(WEIGHTS)
    path.chmod(0o644)
    os.truncate(path, 0)
    path.chmod(0o444)
    return "damaged objects"


def listing(repository: Repository) -> str:
    overwrite(object_of(WEIGHTS.parent), b"rot")
    return "damaged objects"


def tree_only(repository: Repository) -> str:
    overwrite(WEIGHTS, b"rot")
    overwrite(Path("results/scores/base.npz"), b"rot")
    return "damaged files"


def mixed_up(repository: Repository) -> str:
    """A file gone, one too many, a link that leads to itself, and a file where a folder was."""
    WEIGHTS.unlink()
    WEIGHTS.with_name("note.txt").write_text("mine")
    loop = Path("results/scores/base.npz")
    loop.unlink()
    loop.symlink_to("base.npz")
    shutil.rmtree("data/corpora/inside")
    Path("data/corpora/inside").write_text("in the way")
    return "damaged files"


def listing_and_tree(repository: Repository) -> str:
    overwrite(object_of(WEIGHTS.parent), b"rot")
    overwrite(WEIGHTS, b"rot")
    return "lost content"


def no_cache(repository: Repository) -> str:
    shutil.rmtree(".dvc/cache")
    return "not in the cache"


def no_tree(repository: Repository) -> str:
    for name in ("models/base", "data/corpora/inside"):
        shutil.rmtree(name)
    Path("results/scores/base.npz").unlink()
    return "not there"


DAMAGES: list[Callable[[Repository], str]] = [
    both, cache_only, cut_object, listing, tree_only, mixed_up, listing_and_tree, no_cache, no_tree,
]  # fmt: skip


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
    assert damage is no_cache or "base" in finding.found
    mend(repository, finding)
    assert faults(check_content) == []
    assert products(repository) == before
    assert Path("dvc.lock").read_bytes() == lock
    if damage in (both, no_cache, listing_and_tree):
        assert repository.changed_stages() == set()


def test_a_fresh_clone_has_nothing_wrong(
    repository: Repository, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone = tmp_path_factory.mktemp("clone")
    repository.git("clone", "-q", ".", str(clone))
    monkeypatch.chdir(clone)
    for check in (check_folders, check_git, check_pipeline, check_lock_file, check_leftovers, check_dvc, check_links):
        assert faults(check) == []
    finding = found(check_content, "not there")
    assert (finding.state, finding.command) == ("warning", "make repro")
    assert finding.found.startswith("26 outs, and not in the cache: ")
    assert not Path(".dvc/tmp").exists()
