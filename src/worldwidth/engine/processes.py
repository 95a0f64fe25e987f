"""Jobs side by side: each a process of its own, started as soon as the jobs that it waits for have succeeded."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from worldwidth.core.signals import PARENT, Stopped, StopRequest, held_back
from worldwidth.engine.memory import peak_bytes, probably_out_of_memory
from worldwidth.pipeline.groups import Job

_SECONDS_BETWEEN_LOOKS = 0.05


class Starter(Protocol):
    """How jobs are started, and what is shown of them."""

    def look(self, is_stopping: bool) -> None:
        """Called all the time; ``is_stopping`` once the jobs have been asked to stop."""

    def start(self, job: Any, slot: Any) -> "subprocess.Popen[bytes]":
        """Start the process of ``job``."""

    def ended(self, job: Any, code: int, peak: int) -> None:
        """``code`` is its exit code, or minus the signal that killed it; ``peak`` the most bytes that it held."""


def start_process(
    command: Sequence[str],
    environment: Mapping[str, str],
    descriptors: Sequence[int],
    output: IO[bytes],
    folder: Path = Path(),
) -> "subprocess.Popen[bytes]":
    """Start a command in a session of its own, where no Ctrl-C of the terminal reaches it directly.

    Args:
        environment: what it has beside that of this process.
        descriptors: open files, as of a lock, that it holds too: it may outlive this process for a moment.
        output: where all that it prints goes.
    """
    with held_back():  # until it can hear them
        return subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **environment, PARENT: str(os.getpid())},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=descriptors,
            start_new_session=True,
        )


def killed(code: int, peak: int) -> str:
    """What to say of a process that ended with ``code``, minus the signal, and had held ``peak`` bytes."""
    cause = f", {probably_out_of_memory(peak)}" if code == -signal.SIGKILL else ""
    return f"killed by {signal.Signals(-code).name}{cause}"


@dataclass(frozen=True)
class _Running:
    job: Job
    slot: Any
    process: "subprocess.Popen[bytes]"

    def end(self) -> tuple[int, int] | None:
        """Its exit code and the most memory that it held, in bytes; None as long as it runs."""
        pid, status, usage = os.wait4(self.process.pid, os.WNOHANG)  # which poll() does, but keeps the usage
        if not pid:
            return None
        self.process.returncode = os.waitstatus_to_exitcode(status)
        return self.process.returncode, peak_bytes(usage.ru_maxrss)


def run_jobs(jobs: Sequence[Job], slots: Sequence[Any], starter: Starter) -> list[str]:
    """Run ``jobs``, at most one at a time in each of ``slots``; return the names of those that did not end well.

    Of those that are ready the first goes first.

    A job that fails stops only those that wait for it. A request to stop is passed on to every job and waited for; a
    second Ctrl-C is passed on, too, and stops them at once.

    Args:
        jobs: none before one that it waits for.
        slots: what a job has there of its own, such as a GPU or a work tree.

    Raises:
        Stopped: this process was asked to stop.
    """
    waiting, done, free = list(jobs), set[str](), list(slots)
    running: list[_Running] = []
    is_passed_on = False
    with StopRequest() as request:
        try:
            while True:
                ready = [job for job in waiting if done.issuperset(job.after)][: len(free)]
                for job in [] if request.number else ready:
                    waiting.remove(job)
                    slot = free.pop(0)
                    running.append(_Running(job, slot, starter.start(job, slot)))
                if request.number and not is_passed_on:
                    _send(running, request.number)
                    is_passed_on = True
                if not running:
                    break
                time.sleep(_SECONDS_BETWEEN_LOOKS)
                starter.look(is_passed_on)
                for one, end in [(one, end) for one in running if (end := one.end())]:
                    running.remove(one)
                    free.append(one.slot)
                    code, peak = end
                    if code == 0:
                        done.add(one.job.name)
                    starter.ended(one.job, code, peak)
        finally:  # something is left only after an error here, or after a second Ctrl-C
            _send(running, signal.SIGINT)
            for one in running:
                one.process.wait()
        if request.number:
            raise Stopped(request.code, "what is finished is recorded, and a training under way is saved")
    return [job.name for job in jobs if job.name not in done]


def _send(running: list[_Running], number: int) -> None:
    for one in running:
        one.process.send_signal(number)
