"""Jobs side by side as processes: order, failures, and every way of being stopped: `pytest tests/test_processes.py`.

The engine runs in a process of its own. Its jobs are stubs that write down what happens to them; what they do is
said by their name.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from worldwidth.core.locks import is_held

ENGINE = """if True:
    from worldwidth.core.command import exit_codes

    import json, sys
    from worldwidth.core.locks import only_one
    from worldwidth.engine.course import Course
    from worldwidth.engine.processes import run_jobs, start_process
    from worldwidth.engine.watch import watching_jobs
    from worldwidth.pipeline.groups import Job
    from pathlib import Path

    with exit_codes(), only_one(Path("lock"), "held") as lock:
        jobs = [Job(name, "data", (name,), tuple(after)) for name, after in json.loads(sys.argv[1]).items()]
        slots = [{"SLOT": str(number)} for number in range(2)]
        def launch(job, slot, further, output):
            command = [sys.executable, "job.py", *job.stages]
            return start_process(command, {"ALL": "all", **slot, **further}, (lock,), output)

        course = Course("engine", jobs, 2, lambda job, stage: stage, lambda job: None)
        course._timings.expected = lambda settings, stage: None
        with watching_jobs(course, Path("logs"), launch, "") as watch:
            run_jobs(jobs, slots, watch)
        print("all ran")
"""
JOB = """if True:
    from worldwidth.core.command import exit_codes

    import os, signal, sys, time
    from worldwidth.core.signals import Stopped, StopRequest

    name = sys.argv[1]

    def log(what):
        with open("log", "a") as file:
            print(name, what, file=file)

    with exit_codes():
        log(f"starts {os.getpid()} {os.environ['SLOT']} {os.environ['ALL']}")
        if name.startswith("fails"):
            sys.exit(3)
        if name.startswith(("dies", "quits")):
            os.kill(os.getpid(), signal.SIGKILL if name == "dies" else signal.SIGQUIT)
        try:
            if name.startswith("saves"):
                with StopRequest() as request:
                    while not request.code:
                        time.sleep(0.02)
                    log("saves")
                    time.sleep(20 if "slowly" in name else 0.5)
                    raise Stopped(request.code, "saved")
            time.sleep(60 if name.startswith("sleeps") else 0.3)
        finally:
            log("ends")
"""


def hear_signals() -> None:
    """What a shell starts in the background ignores these."""
    for number in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)


class Engine:
    """The engine at work on stub jobs."""

    def __init__(self, folder: Path, jobs: dict[str, list[str]]) -> None:
        self.folder = folder
        (folder / "job.py").write_text(JOB)
        self.process = subprocess.Popen(
            [sys.executable, "-c", ENGINE, json.dumps(jobs)],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=hear_signals,
        )

    def log(self, word: str) -> list[list[str]]:
        """The lines of the jobs' log with ``word`` in second place."""
        path = self.folder / "log"
        lines = [line.split() for line in path.read_text().splitlines()] if path.is_file() else []
        return [line for line in lines if line[1] == word]

    def wait_for(self, word: str, count: int) -> None:
        wait_until(lambda: len(self.log(word)) >= count)

    def pids(self) -> list[int]:
        return [int(line[2]) for line in self.log("starts")]

    def has_a_job(self) -> bool:
        """Whether one runs; git, which is asked something at the start, is none."""
        with contextlib.suppress(psutil.Error):  # a child that has just ended
            return any("job.py" in child.cmdline() for child in psutil.Process(self.process.pid).children())
        return False

    def end(self) -> tuple[int, str, str]:
        """Exit code, output and errors, once nobody holds its pipes any more."""
        output, errors = self.process.communicate(timeout=30)
        wait_until(lambda: not any(map(is_alive, self.pids())))  # its pipes are closed a moment before it is gone
        return self.process.returncode, output, errors


def is_alive(pid: int) -> bool:
    """Not so one that is dead, but that the machine's first process has not reaped."""
    return psutil.pid_exists(pid) and bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


STOPPED = (
    "worldwidth: stopped; what is finished is recorded, and a training under way is saved; run the same command again"
)


def test_a_job_starts_after_those_it_waits_for_the_first_ones_first(tmp_path: Path) -> None:
    jobs = {"data": [], "other": [], "third": [], "base": ["data", "other"], "last": ["base", "third"]}
    engine = Engine(tmp_path, jobs)
    assert engine.end() == (0, "all ran\n", "")
    places = {(line[0], line[1]): i for i, line in enumerate(engine.log("starts") + engine.log("ends"))}
    assert len(places) == 10
    log = [tuple(line.split()[:2]) for line in (tmp_path / "log").read_text().splitlines()]
    for job, waited_for in jobs.items():
        assert all(log.index((before, "ends")) < log.index((job, "starts")) for before in waited_for)
    assert {line[0] for line in engine.log("starts")[:2]} == {"data", "other"}
    running = 0
    for _, word in log:
        running += 1 if word == "starts" else -1
        assert running <= 2


def test_each_job_has_a_slot_of_its_own(tmp_path: Path) -> None:
    """As for GPUs: two jobs at a time never have the same one."""
    engine = Engine(tmp_path, {f"job{number}": [] for number in range(5)})
    assert engine.end()[0] == 0
    taken: dict[str, str] = {}
    for name, word, *rest in (line.split() for line in (tmp_path / "log").read_text().splitlines()):
        if word == "starts":
            assert rest[1] not in taken.values()
            assert rest[2] == "all"
            taken[name] = rest[1]
        else:
            del taken[name]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("fails", r"worldwidth: job fails: exit code 3; what it printed: logs/fails\.log\n"),
        ("dies", r"worldwidth: job dies: killed by SIGKILL, probably out of memory: it held 0\.0[1-9] GB, .*\n"),
        ("quits", r"worldwidth: job quits: killed by SIGQUIT; what it printed: logs/quits\.log\n"),
    ],
)
def test_a_failure_stops_only_those_that_depend_on_it(kind: str, said: str, tmp_path: Path) -> None:
    engine = Engine(tmp_path, {kind: [], "good": [], "never": [kind], "neither": ["never"], "later": ["good"]})
    code, output, errors = engine.end()
    assert (code, output) == (0, "all ran\n")
    assert re.fullmatch(said, errors)
    assert {line[0] for line in engine.log("starts")} == {kind, "good", "later"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1], ids=lambda number: number.name)
def test_a_request_to_stop_is_passed_on_and_waited_for(number: signal.Signals, tmp_path: Path) -> None:
    engine = Engine(tmp_path, {"saves": [], "sleeps": [], "never": ["saves"], "nor-this": []})
    engine.wait_for("starts", 2)
    engine.process.send_signal(number)
    code, output, errors = engine.end()
    assert (code, output) == (130 if number == signal.SIGINT else 75, "")
    assert errors.splitlines()[-1] == STOPPED
    assert "Traceback" not in errors
    assert {line[0] for line in engine.log("starts")} == {"saves", "sleeps"}
    assert [line[0] for line in engine.log("saves")] == ["saves"]


def test_a_request_that_comes_while_a_job_is_starting_is_heard(tmp_path: Path) -> None:
    """Before Python itself is there: it would end with a traceback, or be counted as killed."""
    engine = Engine(tmp_path, {"sleeps": []})
    wait_until(engine.has_a_job)
    engine.process.send_signal(signal.SIGINT)
    code, _, errors = engine.end()
    assert code == 130
    assert errors == f"worldwidth: stopped; nothing half-written is left; run the same command again\n{STOPPED}\n"


def test_a_second_ctrl_c_does_not_wait_for_the_jobs(tmp_path: Path) -> None:
    engine = Engine(tmp_path, {"saves-slowly": []})
    engine.wait_for("starts", 1)
    engine.process.send_signal(signal.SIGINT)
    engine.wait_for("saves", 1)
    began = time.monotonic()
    engine.process.send_signal(signal.SIGINT)
    code, _, errors = engine.end()
    assert time.monotonic() - began < 10
    assert (code, "Traceback" in errors) == (130, False)


@pytest.mark.parametrize("kill", [os.kill, os.killpg], ids=["the parent", "its group"])
def test_jobs_end_when_their_parent_is_killed(kill: Callable[[int, int], None], tmp_path: Path) -> None:
    """They save first, and hold the lock until they have ended."""
    engine = Engine(tmp_path, {"saves": [], "sleeps": [], "never": []})
    engine.wait_for("starts", 2)
    kill(engine.process.pid, signal.SIGKILL)
    engine.wait_for("saves", 1)
    assert is_held(tmp_path / "lock")
    assert engine.end()[0] == -signal.SIGKILL
    assert {line[0] for line in engine.log("ends")} == {"saves", "sleeps"}
    assert not is_held(tmp_path / "lock")


def test_a_job_that_is_killed_from_outside_is_named(tmp_path: Path) -> None:
    engine = Engine(tmp_path, {"sleeps": [], "good": [], "later": ["good"]})
    engine.wait_for("starts", 1)
    wait_until(lambda: any(line[0] == "sleeps" for line in engine.log("starts")))
    os.kill(next(int(line[2]) for line in engine.log("starts") if line[0] == "sleeps"), signal.SIGTERM)
    code, output, errors = engine.end()
    assert (code, output) == (0, "all ran\n")
    assert errors == "worldwidth: stopped; nothing half-written is left; run the same command again\n"
    assert {line[0] for line in engine.log("ends")} == {"sleeps", "good", "later"}
