"""A project in a repository of its own, to be damaged and examined by the doctor: as cloned, or after a run."""

import os
import sys
from pathlib import Path

import pytest

from repository import Repository
from small_study import copy_of
from worldwidth.doctor.finding import Check, Finding, guarded


def new_project(folder: Path) -> Repository:
    """A study of twelve stages, none of which has run, with an environment as make asks for it. Copy it."""
    made = Repository(folder)
    lines = made.read("params.yaml").splitlines(keepends=True)
    text = "".join(line for line in lines if not line.startswith("  ftwb") or line.startswith("  ftwb1-5:"))
    (made.folder / "params.yaml").unlink()
    (made.folder / "params.yaml").write_text(text)
    made.edit(
        "params.yaml",
        "tasks: [distance, trianglearea, angle, compass, inside, perimeter, crossing]",
        "tasks: [distance, compass, inside]",
    )
    made.ok("worldwidth", "render")
    made.commit("a small study")
    (made.folder / ".venv").mkdir()
    for name in ("bin", "lib", "pyvenv.cfg"):
        (made.folder / ".venv" / name).symlink_to(Path(sys.prefix) / name)
    made.ok("python", "-m", "worldwidth.commands.offline_plots")
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


def found(check: Check, checked: str) -> Finding:
    (finding,) = [finding for finding in guarded("the check", check) if finding.checked == checked]
    return finding


def faults(check: Check) -> list[Finding]:
    return [finding for finding in guarded("the check", check) if finding.state != "ok"]


def shell(repository: Repository, command: str) -> str:
    process = repository.start("bash", "-c", command)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, f"{command}\n{output}"
    return output


def fix(repository: Repository, finding: Finding, check: Check) -> None:
    """Run the command of ``finding``; then ``check`` has no fault left."""
    assert finding.command
    shell(repository, finding.command)
    assert faults(check) == []


def contents(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Mode, time and bytes of every file, Python's own caches left out: whether anything was changed."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    files = [path for path in files if not {".venv", "__pycache__"} & set(path.parts)]
    return {str(path): (path.stat().st_mode, path.stat().st_mtime_ns, path.read_bytes()) for path in files}
