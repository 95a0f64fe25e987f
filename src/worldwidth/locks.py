"""Locks between processes: held as long as the process, or a child that was handed the file, is alive."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from worldwidth.errors import WorldwidthError


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


def wait_until_free(path: Path, message: str) -> None:
    """Return once nobody holds the lock at ``path``; print ``message`` if that takes waiting."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            print(message, flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
