"""Stages that run in this process, and DVC: what has to run, what is restored, and what is recorded when it has run."""

import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from worldwidth.core.signals import finishing
from worldwidth.dvcio.config import has_hardlink_lock
from worldwidth.dvcio.forecast import CACHED, UP_TO_DATE
from worldwidth.dvcio.repo import open_repo, stages_named
from worldwidth.dvcio.restore import restore_stage
from worldwidth.dvcio.rwlock import forget_the_dead
from worldwidth.dvcio.stored import check_stored, is_stored
from worldwidth.dvcio.tracked import Tracked
from worldwidth.pipeline.stages import Stage, row_of

_SECONDS_BETWEEN_WRITES = 20.0  # at most so much finished work is lost to a SIGKILL


@dataclass(frozen=True)
class Step:
    """A stage of a job: its row, its script's arguments, and the stages of the job that it reads from."""

    name: str
    row: Stage
    arguments: tuple[str, ...]
    needs: frozenset[str]


@contextmanager
def recording(names: list[str]) -> Iterator["Record"]:
    """DVC's record of the stages ``names``; until its end no other DVC command touches what they read and write.

    At the end what has finished is recorded, also when an error or a request to stop ends it.

    Raises:
        WorldwidthError: DVC cannot read the pipeline, or does not know one of the stages.
    """
    from dvc.rwlock import rwlock

    with open_repo(wait=True) as repo:
        record = Record(repo, names)
        forget_the_dead(repo)
        paths = record.inputs, record.outputs
        with rwlock(repo.tmp_dir, repo.fs, " ".join(sys.argv), *paths, has_hardlink_lock(repo)):
            try:
                yield record
            finally:
                record.write()


class Record:
    """What DVC knows of the stages of a job, and is to know when they have run: as after `dvc repro`.

    dvc.lock is written for several stages at once. Code and settings are loaded once a job: a stage for which some
    were edited meanwhile is not recorded, for it ran with those from before.
    """

    def __init__(self, repo: Any, names: list[str]) -> None:
        self._repo = repo
        with repo.lock:
            stages = stages_named(repo, names)
        self._tracked = Tracked(stage.addressing for stage in stages)
        maker = {out.fs_path: stage.addressing for stage in stages for out in stage.outs}
        reads = {stage.addressing: [dep.fs_path for dep in stage.deps] for stage in stages}
        self.inputs = sorted({path for paths in reads.values() for path in paths if path not in maker})
        """Files that the stages read and none of them writes."""
        self.outputs = list(maker)
        self.steps: list[Step] = []
        """The stages, in their order."""
        self._stages = {stage.addressing: stage for stage in stages}
        for stage in stages:
            name, row = stage.addressing, row_of(stage.addressing)
            words = shlex.split(stage.cmd)  # env PYTHONPATH=src python stages/NAME.py ARGUMENT ...
            arguments = words[words.index(row.script.as_posix()) + 1 :]
            needs = frozenset(maker[path] for path in reads[name] if path in maker)
            self.steps.append(Step(name, row, tuple(arguments), needs))
        self.pending: list[str] = []
        """Stages that have written their files, which dvc.lock does not say yet."""
        self._last = time.monotonic()

    def is_settled(self, name: str) -> bool:
        """Whether a stage need not run: it is up to date, or is restored from the run cache here and now.

        Raises:
            WorldwidthError: DVC's cache is damaged.
        """
        with self._repo.lock:
            state = restore_stage(self._repo, self._stages[name])  # of whose entry in dvc.lock nobody else writes
        if state == CACHED:
            self.add(name)
        return state in (UP_TO_DATE, CACHED)

    def add(self, name: str) -> None:
        """A stage has written its files."""
        self.pending.append(name)
        if time.monotonic() - self._last > _SECONDS_BETWEEN_WRITES:
            self.write()

    def write(self) -> None:
        """Tell DVC of the stages that were added: dvc.lock, cache and run cache.

        Raises:
            WorldwidthError: what they depend on was edited since this record was opened, or the cache lacks an out.
        """
        if not self.pending:
            return
        with self._repo.lock, finishing():  # else a job that is asked to stop meanwhile would lose what it has done
            self._repo._reset()
            names = self.pending.copy()
            self.pending.clear()
            self.refuse_edited(names)
            _take_in(self._repo, stages_named(self._repo, names))
        self._last = time.monotonic()

    def refuse_edited(self, names: Sequence[str]) -> None:
        """Raises: WorldwidthError: what the stages ``names`` depend on was edited since this record was opened."""
        self._tracked.refuse_edited(names)


def _take_in(repo: Any, stages: list[Any]) -> None:
    """Put the outs of stages into DVC's cache, and record the stages in dvc.lock.

    Recorded are those as well of whose outs only the work tree has some, so that `dvc commit` can put them into the
    cache, but not where that are outs that git keeps: DVC would not miss them there, but its run cache would.

    Raises:
        WorldwidthError: the cache lacks some of them afterwards.
        OSError, DvcException: something else went wrong.
    """
    from dvc.exceptions import DvcException

    saved, errors = list[Any](), list[Exception]()
    for stage in stages:
        try:
            stage.save(run_cache=False)
            saved.append(stage)
            stage.commit()
            repo.stage_cache.save(stage)
        except (OSError, DvcException) as error:
            errors.append(error)
    whole = [stage for stage in saved if all(out.use_cache or is_stored(out.hash_info.value) for out in stage.outs)]
    if whole:
        whole[0].dvcfile.dump_stages(whole, update_pipeline=False)
    check_stored((stage.addressing, out.def_path, out.hash_info.value) for stage in saved for out in stage.outs)
    if errors:
        raise errors[0]
