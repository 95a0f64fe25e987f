"""DVC's list of who reads and writes what: who of it is at work: `pytest tests/test_rwlock.py`."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from worldwidth.dvcio.rwlock import RWLOCK, blockers

COMMAND = "worldwidth job base"


@pytest.fixture
def living(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[bytes]]:
    """A process that looks like a job, in a folder with a list that names it."""
    monkeypatch.chdir(tmp_path)
    RWLOCK.parent.mkdir(parents=True)
    code = "import time; time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", code, *COMMAND.split()]) as process:
        remember(process.pid)
        yield process
        process.kill()


def remember(pid: int, command: str = COMMAND) -> None:
    RWLOCK.write_text(json.dumps({"write": {"/a": {"pid": pid, "cmd": command}}, "read": {}}))


def is_at_work() -> bool:
    (one,) = blockers() or []
    return one.is_at_work


def test_the_writer_of_an_entry_is_at_work(living: subprocess.Popen[bytes]) -> None:
    assert is_at_work()
    remember(living.pid, "ipykernel job base")  # by its words, where the program has another name
    assert is_at_work()


def test_one_that_started_after_the_last_entry_is_another(living: subprocess.Popen[bytes]) -> None:
    os.utime(RWLOCK, (time.time() - 60,) * 2)
    assert not is_at_work()


def test_one_that_runs_something_else_is_another(living: subprocess.Popen[bytes]) -> None:
    with subprocess.Popen(["sleep", "600"]) as stranger:
        remember(stranger.pid)
        assert not is_at_work()
        stranger.kill()


def test_one_that_was_never_reaped_is_dead(living: subprocess.Popen[bytes]) -> None:
    living.kill()
    os.waitid(os.P_PID, living.pid, os.WEXITED | os.WNOWAIT)
    assert not is_at_work()


def test_without_a_list_nobody_is(living: subprocess.Popen[bytes]) -> None:
    RWLOCK.unlink()
    assert blockers() == []
    RWLOCK.write_text('{"write": {"/')
    assert blockers() is None
