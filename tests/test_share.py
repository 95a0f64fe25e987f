"""A sweep is pushed to remotes and pulled in another clone, which compares it without running anything.

pytest tests/test_share.py
"""

from pathlib import Path

import pytest

from repository import Repository, products
from small_study import STAGES, copy_of, finished_study

pytestmark = pytest.mark.pipeline

COMPARISON = ("results/comparison/smoke", "report/smoke")


def compared(made: Repository) -> dict[str, bytes]:
    made.ok("worldwidth", "compare")
    files = [path for folder in COMPARISON for path in (made.folder / folder).rglob("*") if path.is_file()]
    return {path.relative_to(made.folder).as_posix(): path.read_bytes() for path in files}


def test_a_sweep_that_is_shared_is_compared_elsewhere(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    mine = copy_of(finished_study(tmp_path_factory.getbasetemp()), tmp_path / "mine")
    (mine.folder / ".venv").mkdir()
    (mine.folder / ".venv" / ".ready").touch()
    mine.ok("worldwidth", "widths", "--archs", "narrow", "wide", "--seeds", "1", "--jobs", "2")
    mine.git("init", "--quiet", "--bare", str(tmp_path / "git"))
    mine.git("remote", "add", "shared", str(tmp_path / "git"))

    refused = mine.run("make", "share", "GIT=shared")
    assert refused.returncode == 2
    assert refused.stderr.startswith("share: DVC has no default remote: dvc remote add --default NAME PLACE\n")
    assert mine.git("ls-remote", "shared") == ""

    mine.ok("dvc", "remote", "add", "--local", "--default", "store", str(tmp_path / "files"))
    mine.git("push", "--quiet", "shared", "HEAD:refs/heads/main")
    pushed = mine.ok("make", "share", "GIT=shared")
    assert "Pushed experiment" in pushed
    assert " files uploaded" in pushed
    assert "up to date on Git remote" in mine.ok("make", "share", "GIT=shared")

    mine.git("clone", "--quiet", "--branch", "main", str(tmp_path / "git"), str(tmp_path / "theirs"))
    theirs = Repository.at(tmp_path / "theirs")
    theirs.ok("dvc", "remote", "add", "--local", "--default", "store", str(tmp_path / "files"))
    theirs.ok("dvc", "exp", "pull", "origin", "--all-commits", "--run-cache")
    tables = compared(theirs)
    assert "results/comparison/smoke/means.csv" in tables
    assert tables == compared(mine)
    assert not (theirs.folder / "models" / "base").exists()  # nothing ran

    theirs.ok("dvc", "exp", "apply", "narrow-epochs-s1")
    assert f"all {STAGES} stages are up to date" in theirs.ok("worldwidth", "run")
    assert "models/ftwb2-15/model.safetensors" in products(theirs)
