"""One job: several stages in one process, each checked, restored or recorded by DVC as `dvc repro` would.

DVC starts a process for every stage and writes the whole of dvc.lock after it. Here Python, torch and
the corpora are loaded once, dvc.lock is written once for several stages, and fine-tunes are trained together.
"""

import importlib.util
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from worldwidth.core.errors import WorldwidthError
from worldwidth.core.files import sha256
from worldwidth.dvcio.forecast import CACHED, UP_TO_DATE
from worldwidth.dvcio.integrity import check_inputs
from worldwidth.dvcio.lockfile import CODE
from worldwidth.dvcio.repo import open_repo
from worldwidth.dvcio.restore import restore_stage
from worldwidth.pipeline.render import check_rendered
from worldwidth.settings.load import load
from worldwidth.settings.paths import PARAMS
from worldwidth.settings.schema import Settings

_FINETUNE = "stages/finetune.py"
_SECONDS_BETWEEN_RECORDS = 20.0  # at most so much finished work is lost to a SIGKILL


@dataclass(frozen=True)
class _Stage:
    """What a job must know of a stage: its script and arguments, and the stages of the job that it reads from."""

    name: str
    script: str
    arguments: tuple[str, ...]
    needs: frozenset[str]


RAN, RESTORED, FAILED, NOT_RUN = "ran", "restored", "failed", "not run"
"""What a job did with a stage; RESTORED also stands for one that was up to date."""


def run_job(
    settings: Settings, names: list[str], tell: Callable[[str, str], None] = lambda stage, outcome: None
) -> None:
    """Bring the stages ``names`` up to date, in their order; what they read from other stages must be.

    ``tell`` is called with each stage and what became of it.

    Raises:
        WorldwidthError: a stage failed; those that do not hang on it are done all the same.
    """
    check_rendered(settings)
    errors: list[WorldwidthError] = []
    with open_repo(wait=True) as repo, _Record(repo, names, settings) as record:
        failed: set[str] = set()
        for together in _together(record.stages):
            for stage in together:
                if stage.needs & failed:
                    errors.append(WorldwidthError(f"{stage.name}: not run, for {min(stage.needs & failed)} failed"))
                    failed.add(stage.name)
                    tell(stage.name, NOT_RUN)
            to_run = []
            for stage in together:
                if stage.name not in failed:
                    if _settled(repo, stage.name, record):
                        tell(stage.name, RESTORED)
                    else:
                        to_run.append(stage)
            try:
                for stage in to_run:
                    check_inputs(stage.name, except_outs_of=record.added)
                for name in _run(settings, to_run):
                    record.add(name)
                    tell(name, RAN)
            except WorldwidthError as error:
                errors.append(error)
            except OSError as error:  # a full disk, a folder that may not be written
                errors.append(WorldwidthError(f"{error.filename or together[0].name}: {error.strerror}"))
            for stage in to_run:
                if stage.name not in record.added:
                    failed.add(stage.name)
                    tell(stage.name, FAILED)
    for other in errors[1:]:
        print(f"worldwidth: {other}", file=sys.stderr)
    if errors:
        raise errors[0]


def _together(stages: list[_Stage]) -> Iterator[list[_Stage]]:
    """The stages one by one, but fine-tunes that follow each other at once."""
    for script, group in groupby(stages, key=lambda stage: stage.script):
        if script == _FINETUNE:
            yield list(group)
        else:
            yield from ([stage] for stage in group)


def _settled(repo: Any, name: str, record: "_Record") -> bool:
    """Whether nothing has to run: the stage is up to date, or can be restored from the run cache, which is done."""
    with repo.lock:
        repo._reset()  # other jobs have written to dvc.lock
        state = restore_stage(repo, name)  # dvc.lock is written with other stages', not each time
    if state == CACHED:
        record.add(name)
    return state in (UP_TO_DATE, CACHED)


def _run(settings: Settings, stages: list[_Stage]) -> Iterator[str]:
    """Run stages of one script in this process; yield the name of each when its files are written."""
    if stages and stages[0].script == _FINETUNE:
        from worldwidth.training.finetune import finetune

        names = {stage.arguments[0]: stage.name for stage in stages}
        yield from (names[model] for model in finetune(settings, list(names)))
        return
    for stage in stages:
        _main(stage.script)(settings, *stage.arguments)
        yield stage.name


def _main(script: str) -> Callable[..., None]:
    spec = importlib.util.spec_from_file_location(f"stage_{Path(script).stem}", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    main: Callable[..., None] = module.main
    return main


class _Record:
    """Tells DVC of finished stages: dvc.lock, cache and run cache, as after `dvc repro`.

    While it is open no other DVC command touches what the stages read and write. Leaving it records
    what is finished, also when an error or Ctrl-C ends the job. Code and settings are loaded once a job: a stage
    whose code or settings were edited meanwhile is not recorded, for it ran with those from before.
    """

    def __init__(self, repo: Any, names: list[str], settings: Settings) -> None:
        self._repo, self._names, self._settings = repo, names, settings
        self.stages: list[_Stage] = []
        self.added: set[str] = set()
        self._finished: list[str] = []
        self._last = time.monotonic()

    def __enter__(self) -> "_Record":
        from dvc.rwlock import rwlock

        with self._repo.lock:
            found = [stage for name in self._names for stage in self._repo.stage.collect(name)]
        maker = {out.fs_path: stage.addressing for stage in found for out in stage.outs}
        reads = {stage.addressing: [dep.fs_path for dep in stage.deps] for stage in found}
        for stage in found:
            words = shlex.split(stage.cmd)  # PYTHONPATH=src python stages/NAME.py ARGUMENT ...
            script = words.index("python") + 1
            needs = frozenset(maker[path] for path in reads[stage.addressing] if path in maker)
            self.stages.append(_Stage(stage.addressing, words[script], tuple(words[script + 1 :]), needs))
        from_others = [path for paths in reads.values() for path in paths if path not in maker]
        self._code = {dep.def_path: _digest(dep.def_path) for stage in found for dep in stage.deps if _is_code(dep)}
        self._busy = rwlock(
            self._repo.tmp_dir, self._repo.fs, " ".join(sys.argv), sorted(set(from_others)), list(maker), False
        )
        self._busy.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        try:
            self._write()
        finally:
            self._busy.__exit__(None, None, None)

    def add(self, name: str) -> None:
        """A stage has written its files."""
        self.added.add(name)
        self._finished.append(name)
        if time.monotonic() - self._last > _SECONDS_BETWEEN_RECORDS:
            self._write()

    def _write(self) -> None:
        if not self._finished:
            return
        with self._repo.lock:
            self._repo._reset()
            stages = [stage for name in self._finished for stage in self._repo.stage.collect(name)]
            self._finished.clear()
            self._refuse_edited(stages)
            for stage in stages:
                stage.save()
                stage.commit()
            stages[0].dvcfile.dump_stages(stages, update_pipeline=False)
        self._last = time.monotonic()

    def _refuse_edited(self, stages: list[Any]) -> None:
        code = {dep.def_path for stage in stages for dep in stage.deps if _is_code(dep)}
        edited = sorted(path for path in code if _digest(path) != self._code[path])
        edited += [str(PARAMS)] if load() != self._settings else []
        if edited:
            names = ", ".join(stage.addressing for stage in stages)
            raise WorldwidthError(f"{edited[0]}: edited while {names} ran, which is therefore not recorded; run again")


def _is_code(dep: Any) -> bool:
    return Path(dep.def_path).parts[0] in CODE and not hasattr(dep, "params")


def _digest(path: str) -> str | None:
    return sha256(Path(path)) if Path(path).is_file() else None
