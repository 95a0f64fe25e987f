"""Requests to stop: heard once, lost, repeated. pytest tests/test_stopping.py"""

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.processes

PROGRAM = """if True:
    from worldwidth.core.command import exit_codes

    import sys, time
    with exit_codes():
        try:
            print("begun", flush=True)
            time.sleep(60)
        finally:
            print("tidying up", flush=True)
            time.sleep(1)
            print("tidy", flush=True)
"""


FINISHING = """if True:
    from worldwidth.core.command import exit_codes
    from worldwidth.core.signals import finishing

    import time

    with exit_codes():
        with finishing():
            print("begun", flush=True)
            time.sleep(1)
            print("whole", flush=True)
        time.sleep(60)
"""
DELETING = """if True:
    from worldwidth.core.command import exit_codes

    import time

    class Slow:
        def __del__(self):
            print("begun", flush=True)
            time.sleep(1)

    with exit_codes():
        slow = Slow()
        del slow
        time.sleep(60)
"""


def signalled(*numbers: signal.Signals, program: str = PROGRAM) -> tuple[int, str, str]:
    """Exit code, output and errors of a program after one signal and, while it tidies up, the others."""
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    seen = process.stdout.readline()
    for i, number in enumerate(numbers, start=1):
        process.send_signal(number)
        if i < len(numbers):
            seen += process.stdout.readline()
            time.sleep(0.2)
    output, errors = process.communicate(timeout=30)
    return process.returncode, seen + output, errors


AGAIN = "worldwidth: stopped; nothing half-written is left; run the same command again\n"
WHOLE = "begun\ntidying up\ntidy\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP])
def test_a_request_passed_on_twice_does_not_stop_the_tidying_up(number: signal.Signals) -> None:
    """To all processes of a job at once, and once more by its parent."""
    assert signalled(number) == (75, WHOLE, AGAIN)
    assert signalled(number, signal.SIGTERM) == (75, WHOLE, AGAIN)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_is_finishing_ends_whole_and_then_stops(number: signal.Signals) -> None:
    code = 130 if number == signal.SIGINT else 75
    assert signalled(number, program=FINISHING) == (code, "begun\nwhole\n", AGAIN)


def test_a_second_ctrl_c_does() -> None:
    assert signalled(signal.SIGINT) == (130, WHOLE, AGAIN)
    assert signalled(signal.SIGINT, signal.SIGINT) == (130, "begun\ntidying up\n", AGAIN)


def test_a_closed_terminal_is_a_request_to_stop(tmp_path: Path) -> None:
    """What tidies up may still print, to a terminal that is not there."""
    assert in_closed_terminal("", tmp_path) == 75
    assert (tmp_path / "tidy").exists()


def test_a_closed_terminal_is_ignored_under_nohup(tmp_path: Path) -> None:
    as_nohup = (
        "import os, signal; signal.signal(signal.SIGHUP, signal.SIG_IGN); print('begun', flush=True)\n"
        "os.dup2(os.open('nohup.out', os.O_CREAT | os.O_WRONLY), 1); os.dup2(1, 2)\n"
    )
    assert in_closed_terminal(as_nohup, tmp_path) == 0
    assert (tmp_path / "nohup.out").read_text() == WHOLE


def in_closed_terminal(first: str, folder: Path) -> int:
    """Exit code of the program, behind ``first``, in a terminal that is closed; it leaves a file where it tidied up."""
    program = f"{PROGRAM.replace('sleep(60)', 'sleep(2)')}            open('tidy', 'w').close()\n"
    process_id, terminal = pty.fork()
    if process_id == 0:
        os.chdir(folder)
        os.execv(sys.executable, [sys.executable, "-c", f"{first}{program}"])
    seen = b""
    while not seen.endswith(b"\n"):
        seen += os.read(terminal, 100)
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(process_id, 0)[1])


def test_a_command_in_the_background_of_a_shell_does_not_hear_ctrl_c() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1)
    process.terminate()
    assert process.wait(10) == 75
    process.stdout.close()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_a_request_while_an_object_is_being_deleted_is_not_lost(number: signal.Signals, code: int) -> None:
    """Python ignores what is raised there."""
    process = subprocess.Popen(
        [sys.executable, "-c", DELETING],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(number)
    errors = process.communicate(timeout=30)[1]
    assert process.returncode == code
    assert errors.startswith("worldwidth: stopped; nothing half-written is left")
    assert errors.count("\n") == 1


def test_importing_the_package_changes_no_handler(tmp_path: Path) -> None:
    """Only commands do: a notebook that trains keeps its own."""
    program = (
        "import signal, sys, worldwidth.training.loop, worldwidth.training.publish\n"
        "print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, sys.excepthook is sys.__excepthook__)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == "True True\n", done.stderr
