"""What the doctor says first, and that it gives no command that changes what is another user's.

pytest tests/test_doctor_advice.py
"""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from examined import unprivileged
from worldwidth.doctor import disk, environment, examination
from worldwidth.doctor.finding import Finding, guarded, no_access, quoted

OTHERS = Path("/etc/passwd")  # root's on every system
ROOT = Path(__file__).parents[1]


def advice(*findings: Finding) -> list[Finding]:
    """The findings as somebody who is not root sees them."""
    with unprivileged():
        return guarded("checked", lambda: iter(findings))


def test_what_belongs_to_another_user_is_not_to_be_changed(tmp_path: Path) -> None:
    (found,) = advice(Finding("locks", "problem", "left behind", f"rm {OTHERS}", (OTHERS,)))
    assert (found.command, found.state) == ("", "problem")
    assert found.found == "left behind; /etc/passwd belongs to user root: ask them to remove it"
    link = tmp_path / "cache"
    link.symlink_to(OTHERS.parent)
    (found,) = advice(no_access("cache", link, "not writable"))
    assert found.command == ""
    assert found.found == "not writable; /etc belongs to user root: ask them to let you read and write it"

    def refused() -> Iterator[Finding]:
        raise PermissionError(13, "Permission denied", str(OTHERS))
        yield

    with unprivileged():
        (found,) = guarded("checked", refused)
    assert found.command == ""


def test_what_is_the_users_own_or_not_there_is(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.touch()
    os.chown(own, 65534 if os.geteuid() == 0 else -1, -1)
    given = [Finding("x", "problem", "y", "rm it", (path,)) for path in (own, tmp_path / "nowhere")]
    assert advice(*given) == given


def test_a_shared_cache_is_not_to_be_collected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`dvc gc` would delete what other projects have there."""
    monkeypatch.chdir(tmp_path)
    full = SimpleNamespace(f_bavail=0, f_frsize=4096, f_files=0, f_favail=0)
    monkeypatch.setattr("worldwidth.doctor.disk.os.statvfs", lambda path: full)
    for cache, command in ((tmp_path / ".dvc" / "cache", "dvc gc "), (tmp_path.parent / "shared", "")):
        monkeypatch.setattr(disk, "cache_settings", lambda cache=cache: (cache, ["copy"]))
        found = [finding for finding in disk.check_space() if finding.state == "problem"]
        assert found
        assert all(finding.command.startswith(command) and bool(finding.command) == bool(command) for finding in found)


@pytest.mark.parametrize("name", ["a b", "it's", "a\x1b[2J", "x\n'$(id)\u202e\\", "é\u2028"])
def test_a_command_is_safe_to_print_and_names_the_file(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    command = f"rm {quoted(tmp_path / name)}"
    assert command.isprintable()
    subprocess.run(["bash", "-c", command], check=True)
    assert list(tmp_path.iterdir()) == []


def test_findings_are_shown_escaped(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    row = ("one", lambda: iter([Finding("a\x1b[2J", "warning", "b\u202e")]), "")
    monkeypatch.setattr(examination, "CHECKS", {"area": [row]})
    examination.run_doctor(as_json=False)
    assert r"  warning  a\x1b[2J             b\u202e" in capsys.readouterr().out


def start() -> Finding:
    (found,) = guarded("start", environment.check_start)
    return found


def test_what_hinders_everything_is_said_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT / "src")
    assert (start().state, start().command) == ("problem", f"cd {quoted(ROOT)} && make doctor")
    monkeypatch.chdir(tmp_path)
    assert (start().state, start().command) == ("problem", "")
    with pytest.raises(SystemExit, match="2"):
        examination.run_doctor(as_json=False)
    said = capsys.readouterr().out
    assert said.count("problem  ") == 1
    assert said.endswith("1 check: 0 ok, 0 warnings, 1 problem; fix it, then ask again: nothing else was looked at\n")
    monkeypatch.chdir(ROOT)
    assert start().state == "ok"
    monkeypatch.setattr(environment, "_project", lambda: {"dependencies": ["numpy>=2", "notthere-at_all>=1"]})
    assert start().found.startswith("notthere-at_all not installed in ")


def test_a_project_of_another_user_is_to_be_cloned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid():
        pytest.skip("only root can make one")
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").touch()
    tmp_path.chmod(0o755)
    with unprivileged():
        found = start()
    assert found.command == f"git clone {quoted(tmp_path)} ~/worldwidth"
