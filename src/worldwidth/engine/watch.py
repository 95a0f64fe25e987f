"""Jobs watched while they run: what each tells is taken in and shown, and all that it prints goes to a log of its own.

A line that a job prints for people, which begins with `worldwidth: `, is shown at once, too.
"""

from worldwidth.core.command import EXIT_BAD_INPUT

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from worldwidth.core.files import check_regular
from worldwidth.core.signals import EXIT_INTERRUPTED, EXIT_RETRY
from worldwidth.core.silence import EXIT_HUNG
from worldwidth.engine.board import Write, board
from worldwidth.engine.course import Course
from worldwidth.engine.events import EVENTS, FAILED, NOT_RUN, RESTORED, STARTED, Event, Tail, read_events
from worldwidth.engine.processes import killed
from worldwidth.engine.screen import Screen, screen
from worldwidth.engine.view import Kept, Running, duration, kept_for_others
from worldwidth.pipeline.groups import Job

Launch = Callable[[Any, Any, Mapping[str, str], IO[bytes]], "subprocess.Popen[bytes]"]
"""Starts the process of a job in a slot, with some variables in its environment, its output going to a file."""
_FOR_PEOPLE = "worldwidth: "
_LAST_LINES = 6
_LARGEST = 64 * 1024  # bytes of a log that are looked at


class Watch:
    """Starts jobs, follows what they tell, and knows why some failed."""

    def __init__(self, course: Course, logs: Path, launch: Launch, shown: Screen, kept: Kept, curves: Write) -> None:
        self.reasons: dict[str, str] = {}
        """Job -> why it failed, in a line."""
        self._course, self._logs, self._launch, self._screen, self._kept = course, logs, launch, shown, kept
        self._curves = curves
        self._events: dict[str, Tail] = {}
        self._printed: dict[str, Tail] = {}
        self._jobs: dict[str, Job] = {}
        self._last_words: dict[str, str] = {}

    def start(self, job: Job, slot: Any) -> "subprocess.Popen[bytes]":
        """Start the process of ``job``."""
        log, events = self.log(job), self._file(job, "jsonl")
        events.unlink(missing_ok=True)
        self._jobs[job.name] = job
        self._events[job.name], self._printed[job.name] = Tail(events), Tail(log)
        self._course.start(job)
        with log.open("wb") as output:
            return self._launch(job, slot, {EVENTS: str(events.resolve())}, output)

    def look(self, is_stopping: bool) -> None:
        """Show what has happened since the last look."""
        self._course.is_stopping = is_stopping
        for job in list(self._jobs.values()):
            self._follow(job)
        view = self._course.view()
        self._kept.keep(view)
        self._screen.show(view)

    def ended(self, job: Job, code: int, peak: int) -> None:
        """``code`` is its exit code, or minus the signal that killed it; ``peak`` the most bytes that it held."""
        self._follow(job)
        del self._jobs[job.name]
        if broken_off := self._course.end(job, code == 0, peak):
            self._say(f"{broken_off.name}: broken off")
        if code == 0:
            if not job.stages:
                self._say(f"{self._course.label(job, '')}: saved")
            return
        has_said = code in (EXIT_BAD_INPUT, EXIT_HUNG) and job.name in self._last_words
        reason = killed(code, peak) if code < 0 else self._last_words[job.name] if has_said else f"exit code {code}"
        self.reasons[job.name] = reason
        if code in (EXIT_RETRY, EXIT_INTERRUPTED):
            return
        log = self.log(job)
        said = f"{_FOR_PEOPLE}job {job.name}: {'failed' if has_said else reason}; what it printed: {log}"
        lines = [] if has_said else last_lines(log)
        self._screen.error("\n  ".join([said, *lines]))

    def log(self, job: Job) -> Path:
        """Where all that a job prints is."""
        return self._file(job, "log")

    def _file(self, job: Job, ending: str) -> Path:
        return self._logs / f"{job.name.replace('@', '-')}.{ending}"

    def _follow(self, job: Job) -> None:
        for event in read_events(self._events[job.name]):
            self._take(job, event)
        for line in self._printed[job.name].lines():
            if line.startswith(_FOR_PEOPLE):
                self._last_words[job.name] = line.removeprefix(_FOR_PEOPLE)
                whose = self._course.label(job, "")
                self._screen.error(f"{_FOR_PEOPLE}{f'{whose}: ' if whose else ''}{self._last_words[job.name]}")

    def _take(self, job: Job, event: Event) -> None:
        ended = self._course.take(job, event)
        if event.standing:
            self._curves(self._course.now_in(job), event.time, event.standing)
        name = self._course.label(job, event.stage)
        if event.what == STARTED:
            self._screen.started(f"{self._place()} {name}: started")
        elif event.what:
            self._say(f"{name}: {_outcome(event, ended)}")

    def _say(self, text: str) -> None:
        self._screen.ended(f"{self._place()} {text}")

    def _place(self) -> str:
        return f"[{self._course.done}/{self._course.total}]"


def _outcome(event: Event, ran: Running | None) -> str:
    """What became of a stage."""
    if event.what == RESTORED:
        return "known from before"
    if event.what == NOT_RUN or not ran:
        return event.what
    took = duration(event.time - ran.since)
    if event.what == FAILED:
        return f"failed after {took}"
    at = ran.training
    return f"done in {took}" + (f", loss {at.loss:.3f}, {at.tokens_per_second:,.0f} tokens/s" if at else "")


def last_lines(log: Path) -> list[str]:
    """The end of a job's log, safe to print; nothing if there is none."""
    try:
        check_regular(log)
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _LARGEST))
            lines = file.read().decode("utf-8", "replace").replace("\r", "\n").splitlines()
    except FileNotFoundError:
        return []
    return ["".join(c if c.isprintable() else " " for c in line) for line in lines if line.strip()][-_LAST_LINES:]


@contextmanager
def watching_jobs(course: Course, logs: Path, launch: Launch, curves: str) -> Iterator[Watch]:
    """A watch whose screen is this process's, and which others can read.

    Args:
        logs: a folder, which is emptied.
        curves: ``execution.tensorboard``.

    Raises:
        WorldwidthError: as :func:`board` does.
    """
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir(parents=True)
    with board(curves) as write, kept_for_others(os.getpid()) as kept, screen() as shown:
        yield Watch(course, logs, launch, shown, kept, write)


def not_done(own: Mapping[str, str], jobs: Sequence[Job], names: Sequence[str]) -> dict[str, str]:
    """Name of every job of ``names`` -> why it is not done: its ``own`` reason, or that of the job before it."""
    reasons: dict[str, str] = {}
    for job in jobs:  # none before one that it waits for
        if job.name in names:
            before = [reasons[name] for name in job.after if name in reasons]
            reasons[job.name] = own.get(job.name) or before[0]
    return reasons
