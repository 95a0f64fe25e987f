"""Writing files so that nobody ever sees half of one: a temporary name, then a rename."""

import errno
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from worldwidth.core.errors import WorldwidthError

OR_DOCTOR = "; if that finds nothing to do: `worldwidth doctor`"
"""Said of a damaged file after what to do: DVC trusts its own cache unseen, and may call the file up to date."""


_checks: list[Callable[[], None]] = []
"""Called before a file or folder appears under its name."""


@contextmanager
def checking(check: Callable[[], None]) -> Iterator[None]:
    """Inside, nothing appears under its name where ``check`` raises an error."""
    _checks.append(check)
    try:
        yield
    finally:
        _checks.remove(check)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it to ``path`` only if the block succeeds.

    Raises:
        OSError: it could not be written, as when the disk is full; the error names a file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with naming(path):
            yield temporary
        for check in _checks:
            check()
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Like :func:`replacing` for a folder: it appears under its name only once it is whole.

    What a killed process left under the temporary name is removed first.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        with naming(path):
            yield temporary
        for check in _checks:
            check()
        if path.is_symlink() or path.is_file():
            path.unlink()
        elif path.exists():
            shutil.rmtree(path)
        os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Add ``path`` to an OSError that names no file, as that of a failed write does."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            raise OSError(error.errno, error.strerror or str(error), str(path)) from error
        raise


def write_text(path: Path, text: str) -> None:
    """Write ``text`` (UTF-8, line ends as given) to ``path`` in one step."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON; NaN and infinity are refused, for they are not JSON."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def check_regular(path: Path) -> None:
    """Let only a file, or nothing at all, be opened: a FIFO keeps its reader waiting for ever, a device has no end.

    Raises:
        OSError: something else is there.
    """
    with suppress(FileNotFoundError):
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "not a regular file, but a FIFO, a socket or a device", str(path))


def read_bytes(path: Path) -> bytes:
    """The bytes of a regular file.

    Raises:
        OSError: it is not there, or something else.
    """
    check_regular(path)
    return path.read_bytes()


def read_text(path: Path, encoding: str = "utf-8") -> str:
    """The text of a regular file, its line ends as Python reads them.

    Raises:
        OSError: it is not there, or something else.
        UnicodeDecodeError: it is in another encoding.
    """
    check_regular(path)
    return path.read_text(encoding=encoding)


def read_json(path: Path, remedy: str) -> Any:
    """Read a JSON file.

    Raises:
        WorldwidthError: it is missing, or no JSON; the message says ``remedy``.
    """
    try:
        return json.loads(read_text(path))
    except FileNotFoundError:
        raise WorldwidthError(f"{path}: not found; {remedy}") from None
    except (ValueError, OSError, RecursionError) as error:
        raise WorldwidthError(f"{path}: not readable as JSON ({error}); {remedy}{OR_DOCTOR}") from None


def sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file's bytes."""
    check_regular(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
