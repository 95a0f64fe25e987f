"""`make env` says what it will do, and what is missing: `pytest tests/test_environment.py`."""

import ast
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from worldwidth.commands import environment
from worldwidth.commands.environment import make_environment, problem_here

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", ["commands/environment.py", "doctor/__main__.py", "doctor/__init__.py", "__init__.py"])
def test_an_old_python_reads_what_is_to_refuse_it(name: str) -> None:
    ast.parse((ROOT / "src" / "worldwidth" / name).read_text(encoding="utf-8"), feature_version=(3, 6))


def test_what_is_missing_is_named_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = str(tmp_path / ".venv")
    assert problem_here(folder) == ""
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1.2e9))
        assert problem_here(folder) == "1.2 GB are free here, and the environment needs 3.0 GB; free some"
        assert problem_here(str(tmp_path)) == ""  # it is there, and only looked after
    with monkeypatch.context() as patched:
        patched.setattr(importlib.util, "find_spec", lambda name: None if name == "ensurepip" else name)
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        assert f"lacks the modules venv and ensurepip; `sudo apt-get install python{version}-venv`" in (
            problem_here(folder)
        )
    monkeypatch.setattr(sys, "version_info", (3, 9, 2))
    assert problem_here(folder) == (
        "Python 3.9.2 is too old, 3.11 or newer is needed; name another Python, as in `make PYTHON=python3.12 env`"
    )


def test_it_says_what_it_does_before_it_does_it_and_what_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[tuple[str, ...]] = []

    def run(command: tuple[str, ...], check: bool) -> SimpleNamespace:
        ran.append(command)
        assert "2.5 GB" in capsys.readouterr().out or len(ran) > 1
        return SimpleNamespace(returncode=int("pip" in command))

    monkeypatch.setattr(environment, "subprocess", SimpleNamespace(run=run))
    with pytest.raises(SystemExit, match="2"):
        make_environment(str(tmp_path / ".venv"))
    assert [command[command.index("-m") + 1] for command in ran] == ["venv", "pip"]
    said = capsys.readouterr().err
    assert said.startswith("worldwidth: pip could not install the packages: it needs a package index and 3 GB of disk;")
    assert said.endswith("Then run `make env` again\n")


def test_make_asks_it(tmp_path: Path) -> None:
    """In front of every target; make says what it would run without doing so."""
    done = subprocess.run(
        ["make", "-n", "-C", str(ROOT), f"VENV={tmp_path}", "plan"], capture_output=True, text=True, check=True
    )
    first, *_, last = [line for line in done.stdout.splitlines() if not line.startswith("make")]
    assert first == f"python3 -I src/worldwidth/commands/environment.py {tmp_path}"
    assert last == "worldwidth plan"
