"""Every command of README.md, in its order, as a user types them: in bash, on the small study.

pytest tests/test_readme.py
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from in_process import SOMEONE
from repository import PROJECT, Repository
from small_study import copy_of, finished_study

pytestmark = pytest.mark.pipeline

README = PROJECT / "README.md"
ELSEWHERE = ("git clone", "make test")
"""Lines that this test stands for: the clone is the small study, and the tests are these."""
SMALLER = Path("results") / "comparison" / "recipes"


def commands() -> list[str]:
    """The lines of the code blocks, for the seed of the small study."""
    blocks = re.findall(r"^```\n(.*?)^```$", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if not line.startswith(ELSEWHERE)]
    return [line.replace("-s42", "-s1") for line in lines]


def with_environment(made: Repository) -> Repository:
    """The environment of these tests as that of the project; `make` takes it for new enough."""
    there = made.folder / ".venv"
    there.mkdir()
    for part in Path(sys.prefix).iterdir():
        if part.name != ".ready":
            (there / part.name).symlink_to(part)
    (there / ".ready").touch()
    return made


def with_tables(made: Repository) -> Repository:
    """Tables for what README draws again: those of a comparison of two runs, which takes seconds."""
    for name in {*re.findall(r"compare --from (\w+)", README.read_text(encoding="utf-8"))}:
        tables = [path for path in (PROJECT / SMALLER).iterdir() if path.suffix in (".csv", ".json")]
        folder = made.folder / "results" / "comparison" / name
        folder.mkdir(parents=True)
        for path in tables:
            shutil.copy(path, folder)
    made.commit("tables")
    return made


def test_its_commands_run_one_after_another(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    made = copy_of(finished_study(tmp_path_factory.getbasetemp()), tmp_path / "worldwidth")
    with_environment(with_tables(made))
    assert len(commands()) > 10
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(commands())],
        cwd=made.folder,
        env=os.environ | SOMEONE,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "Traceback" not in done.stdout + done.stderr


def test_it_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 150
