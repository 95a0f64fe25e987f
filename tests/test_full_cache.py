"""A full disk under DVC's cache, over which DVC goes on: no command of ours ends well then.

pytest tests/test_full_cache.py
"""

import errno
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from repository import Repository
from small_study import finished_study
from worldwidth.core.errors import WorldwidthError
from worldwidth.dvcio import stored
from worldwidth.dvcio.record import _take_in
from worldwidth.dvcio.repo import open_repo
from worldwidth.dvcio.stored import check_inputs_stored, check_stored, remove_halves

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))  # scripts, not a package

import disk_full

pytestmark = pytest.mark.filterwarnings("ignore")  # DVC's own dependencies warn

STAGES = {
    "cities": {"cmd": "echo Berlin > cities.csv", "deps": ["list.txt"], "outs": ["cities.csv"]},
    "corpus": {"cmd": "mkdir data && cp cities.csv data/", "deps": ["cities.csv"], "outs": ["data"]},
    "summarize": {
        "cmd": "wc -c data/cities.csv > out.csv",
        "deps": ["data"],
        "metrics": [{"out.csv": {"cache": False}}],
    },
}
LINE = (
    "DVC's cache .dvc/cache has not taken in {}, as when its disk is full: make room there,{} and run the same command "
    "again"
)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The stages above, run once by DVC."""
    from dvc.repo import Repo

    monkeypatch.chdir(tmp_path)
    Repo.init(no_scm=True).close()
    Path("list.txt").write_text("Berlin\n")
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": STAGES}, sort_keys=False))
    with Repo() as found:
        found.reproduce()
    return tmp_path


def object_of(out: str) -> Path:
    """The object of an out in the cache."""
    stages = yaml.safe_load(Path("dvc.lock").read_text())["stages"].values()
    digest: str
    (digest,) = [entry["md5"] for stage in stages for entry in stage["outs"] if entry["path"] == out]
    return Path(".dvc/cache/files/md5") / digest[:2] / digest[2:]


def remove(path: Path) -> None:
    path.unlink()


def cut_off(path: Path) -> None:
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[:10])


@pytest.mark.parametrize(
    ("reader", "out", "maker", "damage"),
    [
        ("corpus", "cities.csv", "cities", lambda: remove(object_of("cities.csv"))),
        ("summarize", "data", "corpus", lambda: remove(object_of("data"))),
        ("summarize", "data", "corpus", lambda: cut_off(object_of("data"))),
        ("summarize", "data", "corpus", lambda: remove(object_of("cities.csv"))),
    ],
    ids=["a file", "a listing", "half a listing", "a file of a folder"],
)
def test_a_stage_refuses_what_the_cache_has_not_taken_in(
    reader: str, out: str, maker: str, damage: Callable[[], None], project: Path
) -> None:
    check_inputs_stored(reader)
    damage()
    with pytest.raises(WorldwidthError) as caught:
        check_inputs_stored(reader)
    assert str(caught.value) == LINE.format(out, f" keep what was made by `dvc commit {maker}`,")
    check_inputs_stored("cities")


def test_many_are_counted(project: Path) -> None:
    with pytest.raises(WorldwidthError, match=r"has not taken in o0, o1, o2 and 2 more, .*`dvc commit a b`"):
        check_stored(("ab"[number // 4], f"o{number}", f"{number:032}") for number in range(5))


@pytest.mark.parametrize(
    ("full_at", "outs", "keep"),
    [
        ("cities.csv", "cities.csv, data", " keep what was made by `dvc commit cities corpus`,"),
        ("out.csv", "out.csv", ""),
    ],
)
def test_what_cannot_be_stored_is_said_by_who_records_it(
    full_at: str, outs: str, keep: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DVC itself only prints an error, and goes on; what git keeps must be in the cache for the run cache."""
    copy = shutil.copyfile

    def full(source: str, target: str) -> object:
        if ".dvc/cache" in target and Path(source).name == full_at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), source, None, target)
        return copy(source, target)

    shutil.rmtree(".dvc/cache")
    with monkeypatch.context() as patch, open_repo() as repo, repo.lock:
        patch.setattr(shutil, "copyfile", full)
        with pytest.raises(WorldwidthError) as caught:
            _take_in(repo, repo.index.stages)
    assert str(caught.value) == LINE.format(outs, keep)
    with open_repo() as repo, repo.lock:
        _take_in(repo, repo.index.stages)
    with open_repo() as repo:
        assert not repo.status()


def test_halves_go_once_nobody_writes_to_them(project: Path) -> None:
    cache = Path(".dvc/cache")
    young, old, entry = (
        cache / "files/md5/ab/.young.tmp",
        cache / "files/md5/.old.tmp",
        cache / "runs/ab/abc/.entry.tmp",
    )
    for half in (young, old, entry):
        half.parent.mkdir(parents=True, exist_ok=True)
        half.write_text("half")
    before = time.time() - 2 * stored._SECONDS_OF_A_COPY
    os.utime(old, (before, before))
    remove_halves(60)
    assert (young.exists(), old.exists(), entry.exists()) == (True, False, True)
    remove_halves()
    assert (young.exists(), entry.exists()) == (True, False)
    assert object_of("cities.csv").exists()


# --- the short form of benchmarks/disk_full.py


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return finished_study(tmp_path_factory.getbasetemp())


@pytest.mark.pipeline
@pytest.mark.parametrize(
    "case",
    [
        disk_full.Case("worldwidth job evaluate@base", "cache", "evaluate@base", "results/scores/base.npz"),
        disk_full.Case("worldwidth job evaluate@base", "tree", "evaluate@base", "results/scores/base.npz"),
        disk_full.Case("worldwidth run --jobs 1", "cache", "base", "models/base"),
        disk_full.Case("worldwidth run --jobs 1", "cache", "summarize", "results/summary.json"),
        disk_full.Case("dvc repro", "cache", "base", "models/base"),
    ],
    ids=lambda case: f"{case.command}, {case.place}, {case.stage}",
)
def test_no_command_ends_well_on_a_full_disk(case: disk_full.Case, finished: Repository, tmp_path: Path) -> None:
    disk_full.fill(finished.folder, case, tmp_path / "tree")
    assert case.is_right, case
    assert case.exit_code == (255 if case.command == "dvc repro" else 2)
    if case.place == "cache" and case.command != "dvc repro":  # DVC may stop itself, over its test of links
        assert f"DVC's cache .dvc/cache has not taken in {case.out}" in case.said
