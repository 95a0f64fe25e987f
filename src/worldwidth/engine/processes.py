"""Jobs side by side: each a process of its own, started as soon as the jobs that it waits for have succeeded."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from worldwidth.core.signals import PARENT, Stopped, StopRequest, held_back
from worldwidth.engine.memory import peak_bytes, probably_out_of_memory
from worldwidth.pipeline.groups import Job

_SECONDS_BETWEEN_LOOKS = 0.05


class Display:
    """What is shown of jobs as they start and end; their own output goes past it."""

    def started(self, job: Job) -> None:
        """A process of ``job`` is there."""

    def ended(self, job: Job, code: int, peak: int) -> None:
        """``code`` is its exit code, or minus the signal that killed it; ``peak`` the most bytes that it held."""
        if code < 0:
            cause = f", {probably_out_of_memory(peak)}" if code == -signal.SIGKILL else ""
            name = signal.Signals(-code).name
            print(f"worldwidth: job {job.name}: killed by {name}{cause}", file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Launcher:
    """How a job is started."""

    environment: dict[str, str] = field(default_factory=dict)
    """What its environment has beside that of this process."""
    descriptors: Sequence[int] = ()
    """Open files, as of a lock, that it holds too: it may outlive this process for a moment."""
    command: Sequence[str] = (sys.executable, "-m", "worldwidth.cli", "job")
    """Its stages come after it."""

    def start(self, job: Job, slot: dict[str, str]) -> "subprocess.Popen[bytes]":
        """Start ``job`` in a session of its own, where no Ctrl-C of the terminal reaches it directly."""
        environment = {**os.environ, **self.environment, **slot, PARENT: str(os.getpid())}
        with held_back():  # until it can hear them
            return subprocess.Popen(
                [*self.command, *job.stages],
                env=environment,
                stdin=subprocess.DEVNULL,
                pass_fds=self.descriptors,
                start_new_session=True,
            )


@dataclass(frozen=True)
class _Running:
    job: Job
    slot: dict[str, str]
    process: "subprocess.Popen[bytes]"

    def end(self) -> tuple[int, int] | None:
        """Its exit code and the most memory that it held, in bytes; None as long as it runs."""
        pid, status, usage = os.wait4(self.process.pid, os.WNOHANG)  # which poll() does, but keeps the usage
        if not pid:
            return None
        self.process.returncode = os.waitstatus_to_exitcode(status)
        return self.process.returncode, peak_bytes(usage.ru_maxrss)


def run_jobs(jobs: Sequence[Job], slots: Sequence[dict[str, str]], launcher: Launcher, display: Display) -> list[str]:
    """Run ``jobs``, at most one at a time in each of ``slots``; return the names of those that did not end well.

    Of those that are ready the first goes first.

    A job that fails stops only those that wait for it. A request to stop is passed on to every job and waited for; a
    second Ctrl-C is passed on, too, and stops them at once.

    Args:
        jobs: none before one that it waits for.
        slots: what the environment of a job has there beside that of all, such as the GPU that is its own.

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
                    running.append(_Running(job, slot, launcher.start(job, slot)))
                    display.started(job)
                if request.number and not is_passed_on:
                    _send(running, request.number)
                    is_passed_on = True
                if not running:
                    break
                time.sleep(_SECONDS_BETWEEN_LOOKS)
                for one, end in [(one, end) for one in running if (end := one.end())]:
                    running.remove(one)
                    free.append(one.slot)
                    code, peak = end
                    if code == 0:
                        done.add(one.job.name)
                    display.ended(one.job, code, peak)
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
