"""A stage that shows no sign of life is reported, and one that hangs is ended: `pytest tests/test_silence.py`."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from worldwidth.core import silence
from worldwidth.core.silence import EXIT_HUNG, reporting_silence, sign_of_life, waiting

HANGS = """
import ctypes, sys, threading, time
from pathlib import Path
from worldwidth.core.silence import reporting_silence, sign_of_life

code = "import ctypes, time\\ndef work():\\n    " + sys.argv[1] + "\\n"
exec(compile(code, str(Path("src/stuck.py").absolute()), "exec"))
with reporting_silence("base", 10, 0.5 / 60):
    for _ in range(3):  # longer than the limit, but alive
        time.sleep(0.3)
        sign_of_life()
    print("alive", flush=True)
    work()
print("not ended")
"""


def stuck(statement: str) -> str:
    """The code of ``work`` in src/stuck.py."""
    return f"import time\ndef work(): {statement}\n"


def test_silence_is_reported_with_the_place(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parents[1])
    namespace: dict[str, object] = {}
    exec(compile(stuck("time.sleep(0.7)"), str(Path("src/stuck.py").absolute()), "exec"), namespace)
    with reporting_silence("evaluate@base", 0.3 / 60, 0):
        namespace["work"]()  # type: ignore[operator]
    line = r"evaluate@base: no sign of life for [\d.e-]+ minutes \(still running, since [\d:]+; at src/stuck.py:2\)\n"
    assert re.match(f"worldwidth: {line}", capsys.readouterr().err)


def test_signs_of_life_are_heard(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "_exit", lambda code: pytest.fail("ended"))
    with reporting_silence("base", 2 / 60, 2 / 60):
        for _ in range(5):
            time.sleep(0.05)
            sign_of_life()
    assert capsys.readouterr().err == ""


@pytest.mark.processes
@pytest.mark.parametrize(
    "statement",
    ["while True: pass", "time.sleep(600)", "ctypes.CDLL(None).sleep(600)"],
    ids=["in Python", "asleep", "in native code"],
)
def test_a_stage_that_hangs_is_ended_with_the_place(statement: str) -> None:
    root = Path(__file__).parents[1]
    ran = subprocess.run(
        [sys.executable, "-c", HANGS, statement], cwd=root, capture_output=True, text=True, timeout=60, check=False
    )
    assert (ran.returncode, ran.stdout) == (EXIT_HUNG, "alive\n")
    line = (
        r"worldwidth: base: no sign of life for [\d.e-]+ minutes, it hangs at src/stuck.py:3: ended, for "
        r"execution.hang_minutes; the same command goes on from what is saved\n"
    )
    assert re.fullmatch(line, ran.stderr)


def ends_within(seconds: float, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Exit codes with which a stage of 0.1 seconds of patience would have been ended in so many seconds."""
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    with reporting_silence("base", 10, 0.1 / 60):
        time.sleep(seconds)
    return codes


def test_who_waits_for_another_process_does_not_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    with waiting("another process is training the same model"):
        assert ends_within(0.5, monkeypatch) == []
    assert ends_within(0.5, monkeypatch) != []


def test_a_process_that_was_stopped_for_long_does_not_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    """By Ctrl-Z, or while a batch system had put it aside: the looks come late then, too."""
    monkeypatch.setattr(silence, "_LATE", 0.0)
    assert ends_within(0.5, monkeypatch) == []
