"""Locks between processes: held as long as the process, or a child that was handed the file, is alive."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from worldwidth.core.errors import WorldwidthError, warn
from worldwidth.core.silence import waiting


@contextmanager
def only_one(path: Path, message: str) -> Iterator[int]:
    """Hold the lock at ``path``; yield its file descriptor, which a child may inherit to hold it as well.

    Raises:
        WorldwidthError: ``message``, for another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise WorldwidthError(message) from None
        yield file.fileno()


@contextmanager
def one_after_another(path: Path, message: str) -> Iterator[None]:
    """Hold the lock at ``path``; print ``message`` if another process must be waited for.

    The holder may delete ``path``: whoever waited for the deleted file starts over with a new one.
    """
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8") as file:
            _wait_for(file, message)
            if _is_at(file, path):
                yield
                return


def is_held(path: Path) -> bool:
    """Whether a process holds the lock at ``path``."""
    try:
        with path.open(encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _is_at(file: IO[str], path: Path) -> bool:
    """Whether the open ``file`` is what lies at ``path`` now."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def wait_until_free(path: Path, message: str) -> None:
    """Return once nobody holds the lock at ``path``; print ``message`` if that takes waiting."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        _wait_for(file, message)


def _wait_for(file: IO[str], message: str) -> None:
    """Lock the open ``file``; print ``message`` if that takes waiting."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        warn(message)
        with waiting(message):
            fcntl.flock(file, fcntl.LOCK_EX)
