"""The doctor on DVC's state, and on what killed processes left: locks, temporary files, experiments."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from worldwidth.core.errors import WorldwidthError
from worldwidth.core.locks import is_held
from worldwidth.doctor.finding import Finding, listed, quoted, shown
from worldwidth.dvcio.config import DVC_FOLDER, cache_settings, config_problems, dvc_version
from worldwidth.settings.paths import CORPORA, CURVES, MODELS, PLOTS

_TMP = DVC_FOLDER / "tmp"
_RWLOCK = _TMP / "rwlock"
_RUNNERS = re.compile(r"dvc|worldwidth")


def check_dvc() -> Iterator[Finding]:
    """Does DVC open the project?"""
    from worldwidth.dvcio.repo import DamagedHashesError, open_repo

    version = dvc_version()
    for name, reason in config_problems().items():
        renewed = {"config": "git checkout HEAD -- .dvc/config"}
        command = renewed.get(name, f"rm .dvc/{name} && python -m worldwidth.commands.offline_plots")
        text = f"{version}; .dvc/{name} cannot be read: {reason}"
        yield Finding("DVC", "problem", text, command, (DVC_FOLDER / name,))
        return
    if not (_TMP / "btime").exists():  # opening it for the first time writes there
        yield Finding("DVC", "ok", f"{version}; has not been used here yet")
        return
    try:
        with open_repo() as repo:
            stages = len(list(repo.index.stages))
    except DamagedHashesError as error:
        text = f"{version}; its database of file hashes in {shown(error.folder)}, which only saves time, is damaged"
        yield Finding("DVC", "problem", text, f"rm -r {quoted(error.folder)}")
    except WorldwidthError as error:
        command = "dvc status  # reports it again once what is above is fixed"
        yield Finding("DVC", "problem", f"{version}; {error}", command)
    else:
        yield Finding("DVC", "ok", f"{version}; opens the pipeline: {stages} stages")


def check_locks() -> Iterator[Finding]:
    """DVC's two locks. It forgets dead processes by itself, but not one whose number another program has now."""
    processes = _blockers()
    if processes is None:
        text = f"{_RWLOCK} is damaged: every command that runs a stage stops there"
        yield Finding("DVC's locks", "problem", text, f"rm {_RWLOCK}", (_RWLOCK,))
    elif foreign := [f"{pid} ({name})" for pid, name, _ in processes if name and not _RUNNERS.search(name)]:
        text = f"{_RWLOCK} names process {listed(foreign)}, which is no DVC: a killed run left it"
        yield Finding("DVC's locks", "problem", text, f"rm {_RWLOCK}", (_RWLOCK,))
    elif busy := _busy():
        text = f"{busy}; what is said here about files may be out of date"
        yield Finding("DVC's locks", "warning", text, "make doctor  # again, when it has ended")
    elif processes:
        yield Finding("DVC's locks", "ok", f"free; {_RWLOCK} still names a killed run, which the next one clears")


def _busy() -> str:
    """Who is at work here; empty if nobody."""
    if running := sorted({command for _, name, command in _blockers() or [] if name}):
        return f"at work here: {listed(running, 2)}"
    if is_held(_TMP / "worldwidth" / "run.lock"):
        return "a `worldwidth run` is going on here"
    return "another DVC command is running here" if is_held(_TMP / "lock") else ""


def _blockers() -> list[tuple[int, str, str]] | None:
    """Process id, command line (empty if it has ended) and DVC command of all in DVC's rwlock; None if damaged."""
    try:
        locks: dict[str, Any] = json.loads(_RWLOCK.read_text(encoding="utf-8"))
        readers = [reader for readers in locks.get("read", {}).values() for reader in readers]
        infos = [*locks.get("write", {}).values(), *readers]
        commands = {int(info["pid"]): str(info["cmd"]) for info in infos}
    except FileNotFoundError:
        return []
    except (ValueError, LookupError, AttributeError, TypeError):
        return None
    return [(pid, _command_line(pid), command) for pid, command in commands.items()]


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

    if empty := empty_entries(cache_settings()[0] / "runs"):
        text = f"{len(empty)} entries without a file, left by a kill: `dvc repro` fails over one with a TypeError"
        yield Finding("run cache", "problem", text, f"rmdir {quoted(*empty)}", (*empty,))


def check_temporary_files() -> Iterator[Finding]:
    """What killed stages left half written. Harmless."""
    left = [path for place in (CORPORA.parent, MODELS, CURVES.parent, PLOTS) for path in place.rglob(".*.tmp")]
    left = sorted(path for path in left if not any(parent in left for parent in path.parents))
    if left and not _busy():
        text = f"harmless, left by a killed stage: {listed(left)}"
        yield Finding("temporary files", "warning", text, f"rm -rf {quoted(*left)}", (*left,))


def check_experiments() -> Iterator[Finding]:
    """DVC's temporary experiments that were killed. Harmless."""
    standalone = _TMP / "exps" / "standalone"
    trees = sorted([*standalone.glob("tmp*"), *standalone.glob("run/*")])
    if trees and not _busy() and not _in_use(standalone):
        text = f"{len(trees)} leftovers of killed `dvc exp run --temp`: rows that run for ever in `dvc exp show`"
        yield Finding("experiments", "warning", text, f"rm -rf {quoted(*trees)}", (*trees,))


def _in_use(folder: Path) -> bool:
    """Whether a process works inside ``folder``."""
    import psutil

    inside = str(folder.resolve())
    return any((process.info["cwd"] or "").startswith(inside) for process in psutil.process_iter(["cwd"]))
