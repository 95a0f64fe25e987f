"""Where a run stands: what is done, what runs now, and how long the rest will take by what stages took before."""

import heapq
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from worldwidth.engine.events import FAILED, NOT_RUN, STARTED, Event
from worldwidth.engine.timings import START, Timings
from worldwidth.engine.view import Running, View
from worldwidth.pipeline.groups import Job
from worldwidth.settings.schema import Settings


@dataclass
class _Begun:
    """A job that runs."""

    since: float
    busy: float = 0.0
    """Seconds of its stages that have ended."""
    running: Running | None = None
    stage: str = ""
    ended: int = 0
    """Of its stages."""


class Course:
    """A run's jobs, from the plan to their ends.

    Args:
        label: name of a job's stage for people; with an empty name that of what the job belongs to.
        settings: those that a job runs with.
    """

    def __init__(
        self,
        command: str,
        jobs: Sequence[Job],
        slots: int,
        label: Callable[[Any, str], str],
        settings: Callable[[Any], Settings],
    ) -> None:
        self.label, self.is_stopping = label, False
        self._command, self._slots, self._settings = command, slots, settings
        self._jobs = {job.name: job for job in jobs}
        self._since, self._timings = time.time(), Timings()
        self._begun: dict[str, _Begun] = {}
        self._over: set[str] = set()
        """Jobs that have ended, however."""
        self._lost: set[str] = set()
        """Jobs that will not start, for one before them failed."""
        self._done, self.total = 0, sum(len(job.stages) for job in jobs)
        self._costs = {(job.name, stage): self._cost(job, stage) for job in jobs for stage in _parts(job)}

    def _cost(self, job: Job, stage: str) -> float | None:
        return self._timings.expected(self._settings(job), stage)

    @property
    def done(self) -> int:
        """Stages that have ended well."""
        return self._done

    def start(self, job: Job) -> None:
        """A job has been started."""
        self._begun[job.name] = _Begun(time.time())

    def take(self, job: Job, event: Event) -> Running | None:
        """Take in what a job tells; return the stage that has ended by it, if it ran."""
        begun = self._begun[job.name]
        if event.standing:
            if begun.running:
                begun.running = replace(begun.running, training=event.standing)
            return None
        if event.what == STARTED:
            cost = self._costs[job.name, event.stage]
            begun.running, begun.stage = Running(self.label(job, event.stage), event.time, cost), event.stage
            return None
        ended = begun.running if begun.stage == event.stage else None
        begun.running, begun.stage = (None, "") if ended else (begun.running, begun.stage)
        begun.ended += 1
        self._done += event.what not in (FAILED, NOT_RUN)
        if ended:
            seconds = event.time - ended.since
            begun.busy += seconds
            if event.what != FAILED and not (ended.training and ended.training.resumed):
                self._timings.add(self._settings(job), event.stage, seconds)
                self._learn()
        return ended

    def now_in(self, job: Job) -> str:
        """The stage that a job is in, for people."""
        return self.label(job, self._begun[job.name].stage)

    def end(self, job: Job, is_well: bool, peak: int = 0) -> Running | None:
        """A job has ended, and has held ``peak`` bytes at most; return the stage that it was in."""
        begun = self._begun.pop(job.name)
        self._over.add(job.name)
        if not is_well:
            for other in self._jobs.values():  # none before one that it waits for
                if job.name in other.after or self._lost.intersection(other.after):
                    self._lost.add(other.name)
        if is_well and job.stages and begun.ended == len(job.stages):
            self._timings.add(self._settings(job), START, max(time.time() - begun.since - begun.busy, 0.0))
            self._timings.add_peak(self._settings(job), peak)
            self._learn()
            self._timings.write()
        return begun.running

    def _learn(self) -> None:
        """Stages of the same kind are expected to take as long."""
        for (name, stage), cost in self._costs.items():
            if cost is None and name not in self._over:
                self._costs[name, stage] = self._cost(self._jobs[name], stage)

    def view(self) -> View:
        """How it stands now."""
        now = time.time()
        left = self._left(now)
        elapsed = now - self._since
        share = elapsed / (elapsed + left) if left is not None else self._done / max(self.total, 1)
        running = tuple(begun.running or self._between(self._jobs[name]) for name, begun in self._begun.items())
        return View(
            self._command, os.getpid(), self._since, self._done, self.total, share, left, running, self.is_stopping
        )

    def _between(self, job: Job) -> Running:
        """What a job is doing that is in none of its stages."""
        begun = self._begun[job.name]
        if begun.ended < len(job.stages):
            return Running(self.label(job, job.stages[begun.ended]), begun.since, phase="starting")
        return Running(self.label(job, ""), begun.since, phase="being recorded")

    def _left(self, now: float) -> float | None:
        """Seconds until the last job ends; None if there is a stage of which nothing is known."""
        costs: dict[str, float] = {}
        for name in [*self._begun, *(name for name in self._jobs if name not in self._begun)]:
            if name in self._over or name in self._lost:
                continue
            parts = [self._costs[name, stage] for stage in _parts(self._jobs[name])]
            known = [part for part in parts if part is not None]
            if len(known) < len(parts):
                return None
            costs[name] = sum(known)
            if begun := self._begun.get(name):
                costs[name] = max(self._left_of(name, begun, now), 0.0)
        after = {name: self._jobs[name].after for name in costs}
        return schedule(costs, {name: set(names) & costs.keys() for name, names in after.items()}, self._slots)

    def _left_of(self, name: str, begun: _Begun, now: float) -> float:
        """Of a job that runs, all of whose stages have known costs."""
        stages = self._jobs[name].stages
        ahead = stages[begun.ended + bool(begun.running) :]
        rest = sum(self._costs[name, stage] or 0.0 for stage in ahead)
        if begun.running:
            return rest + (begun.running.left(now) or 0.0)
        start = 0.0 if begun.ended else (self._costs.get((name, START)) or 0.0) - (now - begun.since)
        return rest + max(start, 0.0)


def _parts(job: Job) -> Iterable[str]:
    """What a job's time is made of: its stages and its start. One without stages is short."""
    return (*job.stages, START) if job.stages else ()


def schedule(costs: Mapping[str, float], after: Mapping[str, Iterable[str]], slots: int) -> float:
    """Seconds until the last job ends where so many run at a time; of those that are ready the first goes first.

    Jobs that wait for one that is not in ``costs`` never start.
    """
    names = list(costs)
    order = {name: number for number, name in enumerate(names)}
    waits = {name: set(after[name]) for name in names}
    followers: dict[str, list[str]] = {}
    for name in names:
        for before in waits[name]:
            followers.setdefault(before, []).append(name)
    ready = [order[name] for name in names if not waits[name]]
    running: list[tuple[float, str]] = []
    now = 0.0
    while ready or running:
        while ready and len(running) < slots:
            first = names[heapq.heappop(ready)]
            heapq.heappush(running, (now + costs[first], first))
        now, ended = heapq.heappop(running)
        for name in followers.get(ended, []):
            waits[name].discard(ended)
            if not waits[name]:
                heapq.heappush(ready, order[name])
    return now
