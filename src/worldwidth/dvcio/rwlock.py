"""DVC's list of who reads and writes what, .dvc/tmp/rwlock: which of them are at work, and the others struck out.

An entry holds a process id and a command. DVC takes any process of that id for the writer: a killed one that nobody
has reaped, and a stranger who has been given the number since, would block the project for ever.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worldwidth.core.files import read_text
from worldwidth.dvcio.config import DVC_FOLDER, has_hardlink_lock

RWLOCK = DVC_FOLDER / "tmp" / "rwlock"

_RUNNERS = re.compile(r"dvc|worldwidth")
_TICK = 1.0  # seconds by which the start of a process is known


@dataclass(frozen=True)
class Blocker:
    """A process in the list."""

    pid: int
    command: str
    """As it was recorded."""
    process: str
    """What has the number now, for people; empty if nothing has."""
    is_at_work: bool
    """Whether it is the one that was recorded."""


def blockers() -> list[Blocker] | None:
    """All processes in this project's list, each once; None if it is damaged."""
    try:
        written = RWLOCK.stat().st_mtime
        lists: dict[str, Any] = json.loads(read_text(RWLOCK))
        readers = [reader for listed in lists.get("read", {}).values() for reader in listed]
        infos = {int(info["pid"]): info for info in [*lists.get("write", {}).values(), *readers]}
        return [_blocker(info, written) for info in infos.values()]
    except FileNotFoundError:
        return []
    except (ValueError, LookupError, AttributeError, TypeError):
        return None


def forget_the_dead(repo: Any) -> None:
    """Strike out all who are not at work; a list that was cut off, over which DVC stops, goes altogether."""
    from dvc.rwlock import RWLOCK_FILE, RWLockFileCorruptedError, RWLockFileFormatError, _edit_rwlock

    path = Path(repo.tmp_dir) / RWLOCK_FILE
    if not path.exists():
        return
    written = path.stat().st_mtime
    try:
        with _edit_rwlock(repo.tmp_dir, repo.fs, has_hardlink_lock(repo)) as lock:
            writers = {name: info for name, info in lock["write"].items() if _blocker(info, written).is_at_work}
            readers = {
                name: [info for info in infos if _blocker(info, written).is_at_work]
                for name, infos in lock["read"].items()
            }
            lock.update(write=writers, read={name: infos for name, infos in readers.items() if infos})
    except (RWLockFileCorruptedError, RWLockFileFormatError):
        path.unlink()


def _blocker(info: dict[str, Any], written: float) -> Blocker:
    """An entry of the list, which was last written at ``written``."""
    import psutil  # type: ignore[import-untyped]

    pid, command = int(info["pid"]), str(info["cmd"])
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return Blocker(pid, command, "dead, but not reaped", is_at_work=False)
        line = " ".join(process.cmdline()) or "?"
        is_older = process.create_time() < written + _TICK
    except psutil.NoSuchProcess:
        return Blocker(pid, command, "", is_at_work=False)
    except psutil.AccessDenied:
        return Blocker(pid, command, "of another user", is_at_work=True)
    words = command.partition(" ")[2]  # without the program, which the list has as sys.argv has it
    return Blocker(pid, command, line, is_older and bool(_RUNNERS.search(line) or (words and line.endswith(words))))
