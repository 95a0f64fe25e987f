"""The doctor on DVC's state, and on what killed processes left: locks, temporary files, saved states of training."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from worldwidth.core.errors import WorldwidthError
from worldwidth.core.locks import is_held
from worldwidth.doctor.disk import cache_settings, config_problems
from worldwidth.doctor.finding import Finding, listed, one_line, quoted, rebuild, shown, size
from worldwidth.settings.paths import CORPORA, CURVES, MODELS, PLOTS

_TMP = Path(".dvc/tmp")
_RWLOCK = _TMP / "rwlock"
_RUNNERS = re.compile(r"dvc|worldwidth")
_OLD = 14 * 86_400  # seconds


def check_dvc() -> Iterator[Finding]:
    """Does DVC open the project, and is another command at work in it?"""
    try:
        from dvc import __version__
    except ImportError as error:
        yield Finding("DVC", "problem", f"cannot be imported: {one_line(error)}", rebuild())
        return
    yield _opened(__version__)
    yield _at_work_or_left()


def _opened(version: str) -> Finding:
    from worldwidth.dvcio.repo import open_repo

    for name, problem in config_problems().items():
        remedies = {"config": "git checkout HEAD -- .dvc/config"}
        command = remedies.get(name, f"rm .dvc/{name} && python -m worldwidth.commands.offline_plots")
        return Finding("DVC", "problem", f"{version}; .dvc/{name} cannot be read: {problem}", command)
    if not (_TMP / "btime").exists():  # opening it for the first time writes there
        return Finding("DVC", "ok", f"{version}; has not been used here yet")
    try:
        with open_repo() as repo:
            stages = len(list(repo.index.stages))
    except WorldwidthError as error:
        found = f"{version}; {error}"
        return Finding("DVC", "problem", found, "dvc status  # says it again once what is above is mended")
    return Finding("DVC", "ok", f"{version}; opens the pipeline: {stages} stages")


def _at_work_or_left() -> Finding:
    """DVC's two locks. It forgets dead processes by itself, but not one whose number another program has now."""
    try:
        processes = _blockers()
    except (ValueError, AttributeError, TypeError):
        found = f"{_RWLOCK} is damaged: every command that runs a stage stops there"
        return Finding("DVC's locks", "problem", found, f"rm {_RWLOCK}")
    if foreign := [f"{pid} ({name})" for pid, name, _ in processes if name and not _RUNNERS.search(name)]:
        found = f"{_RWLOCK} names process {listed(foreign)}, which is no DVC: a killed run left it"
        return Finding("DVC's locks", "problem", found, f"rm {_RWLOCK}")
    if busy := _busy(processes):
        found = f"{busy}; what is said here about files may be out of date"
        return Finding("DVC's locks", "warning", found, "make doctor  # again, when it has ended")
    dead = f"; a killed run is still named in {_RWLOCK}, which the next one clears" if processes else ""
    return Finding("DVC's locks", "ok", f"free{dead}")


def _busy(processes: list[tuple[int, str, str]]) -> str:
    """Who is at work here; empty if nobody."""
    running = sorted({command for _, name, command in processes if name})
    if running:
        return f"at work here: {listed(running, 2)}"
    if is_held(_TMP / "worldwidth" / "run.lock"):
        return "a `worldwidth run` is going on here"
    return "another DVC command is running here" if is_held(_TMP / "lock") else ""


def _blockers() -> list[tuple[int, str, str]]:
    """Process id, command line (empty if it has ended) and DVC command of everything in DVC's rwlock.

    Raises:
        ValueError, AttributeError, TypeError: the file is damaged.
    """
    if not _RWLOCK.is_file():
        return []
    locks: dict[str, Any] = json.loads(_RWLOCK.read_text(encoding="utf-8"))
    writers = list(locks.get("write", {}).values())
    readers = [reader for readers in locks.get("read", {}).values() for reader in readers]
    pids = {int(info["pid"]): str(info["cmd"]) for info in writers + readers}
    return [(pid, _command_line(pid), command) for pid, command in pids.items()]


def _command_line(pid: int) -> str:
    import psutil  # type: ignore[import-untyped]

    try:
        return " ".join(psutil.Process(pid).cmdline()) or "?"
    except psutil.ZombieProcess:  # in a container whose first process reaps none it stays one, and DVC thinks it lives
        return "dead, but not reaped"
    except psutil.NoSuchProcess:
        return ""
    except psutil.AccessDenied:
        return "of another user"


def check_run_cache() -> Iterator[Finding]:
    """Entries of the run cache that a kill has left without their file: DVC fails over each."""
    from worldwidth.dvcio.repair import empty_entries

    runs = cache_settings()[0] / "runs"
    if empty := empty_entries(runs):
        found = f"{len(empty)} entries without a file, left by a kill: `dvc repro` fails over one with a TypeError"
        yield Finding("run cache", "problem", found, f"rmdir {quoted(*empty)}")
    else:
        yield Finding("run cache", "ok", "no entry is half written")


def check_leftovers() -> Iterator[Finding]:
    """What killed processes left: temporary files of stages, and DVC's temporary experiments. Harmless."""
    busy = _busy(_blockers_or_none())
    folders = (CORPORA.parent, MODELS, CURVES.parent, PLOTS)
    left = sorted(path for folder in folders if folder.is_dir() for path in folder.rglob(".*.tmp"))
    left = [path for path in left if not any(parent in left for parent in path.parents)]
    if left and not busy:
        found = f"harmless, left by a killed stage: {listed([shown(path) for path in left])}"
        yield Finding("temporary files", "warning", found, f"rm -rf {quoted(*left)}")
    else:
        yield Finding("temporary files", "ok", "in use" if left else "none left")
    standalone = _TMP / "exps" / "standalone"
    trees = sorted([*standalone.glob("tmp*"), *standalone.glob("run/*")]) if standalone.is_dir() else []
    if trees and not busy and not _in_use(standalone):
        found = f"{len(trees)} leftovers of killed `dvc exp run --temp`: rows that run for ever in `dvc exp show`"
        yield Finding("experiments", "warning", found, f"rm -rf {quoted(*trees)}")
    else:
        yield Finding("experiments", "ok", "temporary ones are running" if trees else "no ghosts of killed ones")


def _blockers_or_none() -> list[tuple[int, str, str]]:
    try:
        return _blockers()
    except (ValueError, AttributeError, TypeError):  # said by check_dvc
        return []


def _in_use(folder: Path) -> bool:
    """Whether a process works inside ``folder``."""
    import psutil

    inside = str(folder.resolve())
    return any((process.info["cwd"] or "").startswith(inside) for process in psutil.process_iter(["cwd"]))


def check_saved_states() -> Iterator[Finding]:
    """Training runs that were stopped, and what is left of those that diverged."""
    from worldwidth.doctor.training_states import SavedState, saved_states
    from worldwidth.settings.paths import scratch_folder

    states: list[SavedState] = saved_states()
    for state in states:
        text = f"step {state.step:,} of {state.steps:,}, {size(state.bytes)}"
        age = time.time() - state.saved_at
        remove = f"rm -r {quoted(state.path)}"
        if state.in_use:
            yield Finding(f"state of {state.name}", "ok", "a process is training from it now")
        elif state.problem:
            yield Finding(f"state of {state.name}", "warning", f"of no use: {state.problem}", remove)
        elif age > _OLD:
            yield Finding(f"state of {state.name}", "warning", f"{age / 86_400:.0f} days old; {text}", remove)
        else:
            yield Finding(f"state of {state.name}", "ok", f"the next run goes on from it: {text}")
    if not states:
        yield Finding("saved states", "ok", "no training run was stopped half-way")
    diverged = scratch_folder() / "diverged"
    if diverged.is_dir() and (remains := sorted(diverged.iterdir())):
        found = f"kept to be looked at: {listed([path.name for path in remains])} in {shown(diverged)}"
        yield Finding("diverged runs", "warning", found, f"rm -r {quoted(*remains)}")
