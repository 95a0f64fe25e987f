"""The doctor on DVC's state, and on what killed processes left: locks, temporary files, experiments."""

import os
from collections.abc import Iterator
from pathlib import Path

from worldwidth.core.errors import WorldwidthError
from worldwidth.core.locks import is_held
from worldwidth.doctor.finding import Finding, listed, quoted, shown
from worldwidth.dvcio.config import DVC_FOLDER, cache_settings, config_problems, core_settings, dvc_version
from worldwidth.dvcio.rwlock import RWLOCK, blockers
from worldwidth.settings.paths import CORPORA, CURVES, MODELS, PLOTS

_TMP = DVC_FOLDER / "tmp"


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
        yield Finding("DVC", "problem", text, f"rm -r {quoted(error.folder)}", (error.folder,))
    except WorldwidthError as error:
        command = "dvc status  # reports it again once what is above is fixed"
        yield Finding("DVC", "problem", f"{version}; {error}", command)
    else:
        yield Finding("DVC", "ok", f"{version}; opens the pipeline: {stages} stages")


def check_locks() -> Iterator[Finding]:
    """DVC's locks. It forgets dead processes by itself, but not one whose number another program has now."""
    processes = blockers()
    foreign = [f"{one.pid} ({one.process})" for one in processes or [] if one.process and not one.is_at_work]
    if processes is None:
        text = f"{RWLOCK} is damaged: every command that runs a stage stops there"
        yield Finding("DVC's locks", "problem", text, f"rm {RWLOCK}", (RWLOCK,))
    elif busy := _busy():
        text = f"{busy}; what is said here about files may be out of date"
        yield Finding("DVC's locks", "warning", text, "make doctor  # again, when it has ended")
    elif foreign:
        text = f"{RWLOCK} names process {listed(foreign)}, which is no DVC that works here: a killed run left it"
        yield Finding("DVC's locks", "problem", text, f"rm {RWLOCK}")
    elif left := _hard_links():
        text = f"{listed(left)}: a lock by hard link (core.hardlink_lock) that no process here holds: a kill left it"
        yield Finding("DVC's locks", "problem", text, f"rm {quoted(*left)}  # unless another machine works here")
    elif processes:
        yield Finding("DVC's locks", "ok", f"free; {RWLOCK} still names a killed run, which the next one clears")


def _busy() -> str:
    """Who is at work here; empty if nobody."""
    if running := sorted({one.command for one in blockers() or [] if one.is_at_work}):
        return f"at work here: {listed(running, 2)}"
    if is_held(_TMP / "worldwidth" / "run.lock"):
        return "a `worldwidth run` is going on here"
    if not core_settings().get("hardlink_lock"):
        return "another DVC command is running here" if is_held(_TMP / "lock") else ""
    return "another DVC command is running here" if _hard_links() and _dvc_is_in(Path.cwd()) else ""


def _hard_links() -> list[Path]:
    """Files of locks by hard link: such a lock is held as long as its file is there, whatever became of its process."""
    if not core_settings().get("hardlink_lock"):
        return []
    return [path for name in ("lock", "rwlock.lock") if (path := _TMP / name).is_file()]


def _dvc_is_in(folder: Path) -> bool:
    """Whether a DVC other than this process works below ``folder``."""
    import psutil  # type: ignore[import-untyped]

    others = (one for one in psutil.process_iter(["pid", "cwd", "cmdline"]) if one.info["pid"] != os.getpid())
    inside = (one for one in others if Path(one.info["cwd"] or "/").is_relative_to(folder.resolve()))
    return any("dvc" in " ".join(one.info["cmdline"] or []) for one in inside)


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
