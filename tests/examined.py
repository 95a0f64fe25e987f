"""A project in a repository of its own, to be damaged and examined by the doctor: as cloned, or after a run."""

import os
import sys
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path

import pytest

from repository import Repository
from small_study import copy_of, fewer
from worldwidth.commands.offline_plots import install
from worldwidth.doctor.examination import CHECKS
from worldwidth.doctor.finding import Finding, guarded
from worldwidth.pipeline.render import write_rendered
from worldwidth.settings.load import load


def new_project(folder: Path) -> Repository:
    """A study of twelve stages, none of which has run, with an environment as make asks for it. Copy it."""
    made = Repository(folder)
    fewer(folder, ("ftwb1-5",))
    with chdir(folder):
        write_rendered(load())
    install(folder)
    made.commit("a small study")
    (folder / ".venv").mkdir()
    for name in ("bin", "lib", "pyvenv.cfg"):
        (folder / ".venv" / name).symlink_to(Path(sys.prefix) / name)
    return made


def finished_study(folder: Path) -> Repository:
    """The same, run and committed."""
    made = new_project(folder)
    (made.folder / ".venv" / ".ready").touch()
    made.ok("worldwidth", "run", "--jobs", "1")
    made.commit("the study")
    return made


def examined_copy(study: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """A copy of the study, to be damaged, as the working directory."""
    made = copy_of(study, tmp_path)
    (made.folder / ".venv" / ".ready").touch()
    monkeypatch.chdir(made.folder)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / ".git" / "nobody"))
    monkeypatch.setenv("GIT_EDITOR", "sed -i 1iEdited")
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "test")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "test@example.org")
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return made


def findings(name: str) -> list[Finding]:
    """What the check ``name`` of the doctor's table says."""
    (row,) = [row for checks in CHECKS.values() for row in checks if row[0] == name]
    return guarded(*row)


def faults(*names: str) -> list[Finding]:
    return [finding for name in names for finding in findings(name) if finding.state != "ok"]


def fault(name: str) -> Finding:
    (finding,) = faults(name)
    return finding


def shell(repository: Repository, command: str) -> str:
    process = repository.start("bash", "-c", command)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, f"{command}\n{output}"
    return output


def fix(repository: Repository, name: str) -> None:
    """Run the command under the only fault of the check ``name``; then it has none."""
    shell(repository, fault(name).command)
    assert faults(name) == []


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


def contents(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Mode, time and bytes of every file, Python's own caches left out: whether anything was changed."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    files = [path for path in files if not {".venv", "__pycache__"} & set(path.parts)]
    return {str(path): (path.stat().st_mode, path.stat().st_mtime_ns, path.read_bytes()) for path in files}
