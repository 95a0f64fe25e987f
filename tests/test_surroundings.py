"""A test works in its own repositories, whatever variables git, DVC or a user have set around it.

pytest tests/test_surroundings.py
"""

import os
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import pytest

from repository import PROJECT, Repository


def test_a_repository_is_its_own(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    assert repository.git("rev-parse", "--show-toplevel").strip() == str(tmp_path)
    assert repository.git("rev-list", "--count", "HEAD").strip() == "1"
    assert mpl.rcParams["figure.dpi"] == mpl.rcParamsDefault["figure.dpi"]
    assert not {"DVC_ROOT", "DVC_STAGE", "SLURM_JOB_ID"} & set(os.environ)


@pytest.mark.processes
def test_tests_started_by_a_git_hook_leave_its_repository_alone(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / "matplotlibrc").write_text("figure.dpi: 7\n")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    of_a_hook = {"GIT_DIR": ".git", "GIT_WORK_TREE": ".", "GIT_INDEX_FILE": ".git/index", "GIT_PREFIX": ""}
    of_a_hook = {name: str(tmp_path / value) for name, value in of_a_hook.items()}
    of_a_user = {"MATPLOTLIBRC": str(tmp_path), "DVC_ROOT": "/no", "DVC_STAGE": "base", "SLURM_JOB_ID": "7"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", f"{__file__}::test_a_repository_is_its_own", "-p", "no:cacheprovider"],
        cwd=PROJECT,
        env=os.environ | of_a_hook | of_a_user,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
