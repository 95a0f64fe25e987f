"""Stages that run in this process, and DVC: what has to run, what is restored, and what is recorded when it has run."""

import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worldwidth.core.errors import WorldwidthError
from worldwidth.core.files import sha256
from worldwidth.dvcio.config import has_hardlink_lock
from worldwidth.dvcio.forecast import CACHED, UP_TO_DATE
from worldwidth.dvcio.lockfile import CODE
from worldwidth.dvcio.repo import open_repo
from worldwidth.dvcio.restore import restore_stage
from worldwidth.dvcio.rwlock import forget_the_dead
from worldwidth.pipeline.stages import Stage, row_of
from worldwidth.settings.load import load
from worldwidth.settings.paths import PARAMS
from worldwidth.settings.schema import Settings

_SECONDS_BETWEEN_WRITES = 20.0  # at most so much finished work is lost to a SIGKILL


@dataclass(frozen=True)
class Step:
    """A stage of a job: its row, its script's arguments, and the stages of the job that it reads from."""

    name: str
    row: Stage
    arguments: tuple[str, ...]
    needs: frozenset[str]


@contextmanager
def recording(settings: Settings, names: list[str]) -> Iterator["Record"]:
    """DVC's record of the stages ``names``; until its end no other DVC command touches what they read and write.

    At the end what has finished is recorded, also when an error or a request to stop ends it.

    Raises:
        WorldwidthError: DVC cannot read the pipeline, or does not know one of the stages.
    """
    from dvc.rwlock import rwlock

    with open_repo(wait=True) as repo:
        record = Record(repo, settings, names)
        forget_the_dead(repo)
        paths = record.inputs, record.outputs
        with rwlock(repo.tmp_dir, repo.fs, " ".join(sys.argv), *paths, has_hardlink_lock(repo)):
            try:
                yield record
            finally:
                record.write()


class Record:
    """What DVC knows of the stages of a job, and is to know when they have run: as after `dvc repro`.

    dvc.lock is written for several stages at once. Code and settings are loaded once a job: a stage whose code or
    settings were edited meanwhile is not recorded, for it ran with those from before.
    """

    def __init__(self, repo: Any, settings: Settings, names: list[str]) -> None:
        self._repo, self._settings = repo, settings
        with repo.lock:
            stages = [stage for name in names for stage in repo.stage.collect(name)]
        maker = {out.fs_path: stage.addressing for stage in stages for out in stage.outs}
        reads = {stage.addressing: [dep.fs_path for dep in stage.deps] for stage in stages}
        self.inputs = sorted({path for paths in reads.values() for path in paths if path not in maker})
        """Files that the stages read and none of them writes."""
        self.outputs = list(maker)
        self.steps: list[Step] = []
        """The stages, in their order."""
        for stage in stages:
            name, row = stage.addressing, row_of(stage.addressing)
            words = shlex.split(stage.cmd)  # PYTHONPATH=src python stages/NAME.py ARGUMENT ...
            arguments = words[words.index(row.script.as_posix()) + 1 :]
            needs = frozenset(maker[path] for path in reads[name] if path in maker)
            self.steps.append(Step(name, row, tuple(arguments), needs))
        self._code = {path: _digest(path) for path in _code_of(stages)}
        self.pending: list[str] = []
        """Stages that have written their files, which dvc.lock does not say yet."""
        self._last = time.monotonic()

    def is_settled(self, name: str) -> bool:
        """Whether a stage need not run: it is up to date, or is restored from the run cache here and now.

        Raises:
            WorldwidthError: DVC's cache is damaged.
        """
        with self._repo.lock:
            self._repo._reset()  # other jobs have written to dvc.lock
            state = restore_stage(self._repo, name)
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
            WorldwidthError: their code or params.yaml was edited since this record was opened.
        """
        if not self.pending:
            return
        with self._repo.lock:
            self._repo._reset()
            stages = [stage for name in self.pending for stage in self._repo.stage.collect(name)]
            self.pending.clear()
            self._refuse_edited(stages)
            for stage in stages:
                stage.save()
                stage.commit()
            stages[0].dvcfile.dump_stages(stages, update_pipeline=False)
        self._last = time.monotonic()

    def _refuse_edited(self, stages: list[Any]) -> None:
        edited = sorted(path for path in _code_of(stages) if _digest(path) != self._code[path])
        edited += [str(PARAMS)] if load() != self._settings else []
        if edited:
            names = ", ".join(stage.addressing for stage in stages)
            raise WorldwidthError(f"{edited[0]}: edited while {names} ran, which is therefore not recorded; run again")


def _code_of(stages: list[Any]) -> set[str]:
    """The source files that ``stages``, as DVC has them, depend on."""
    files = {dep.def_path for stage in stages for dep in stage.deps if not hasattr(dep, "params")}
    return {path for path in files if Path(path).parts[0] in CODE}


def _digest(path: str) -> str | None:
    return sha256(Path(path)) if Path(path).is_file() else None
