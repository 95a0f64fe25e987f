"""What `worldwidth doctor` finds, and how a check that fails itself becomes a finding instead of an end."""

import os
import shlex
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from worldwidth.core.errors import WorldwidthError

State = Literal["ok", "warning", "problem"]

AGAIN = "make doctor  # again, when that is fixed"
"""The command of what could not be looked at because of something else."""
REBUILD = "rm -f .venv/.ready && make env"
"""The command that installs what is missing into the project's environment."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    checked: str
    state: State
    found: str
    """One line."""
    command: str = ""
    """For a shell in the project's folder: what fixes it. Empty when nothing need be fixed."""


Check = Callable[[], Iterator[Finding]]


class NotCheckedError(Exception):
    """A check could not be made because of what another check reports."""


@contextmanager
def needed(name: str | Path) -> Iterator[None]:
    """Make errors of reading ``name``, which has a check of its own, a :class:`NotCheckedError`."""
    try:
        yield
    except WorldwidthError:
        raise NotCheckedError(f"{name} cannot be read") from None


def guarded(checked: str, check: Check, sound: str = "") -> list[Finding]:
    """The findings of ``check``; ``sound`` if there are none. An error is one more, so that no check hides another."""
    found: list[Finding] = []
    try:
        found.extend(check())
    except Exception as error:
        found.append(_failed(checked, error))
    return found or [Finding(checked, "ok", sound)]


def _failed(checked: str, error: Exception) -> Finding:
    if isinstance(error, NotCheckedError):
        return Finding(checked, "warning", f"not checked, for {error}; fix that first", AGAIN)
    kind = "" if isinstance(error, (ImportError, OSError, WorldwidthError)) else f"{type(error).__name__}: "
    command = REBUILD if isinstance(error, ImportError) else AGAIN
    if isinstance(error, PermissionError) and error.filename:
        command = f"chmod -R u+rwX {quoted(error.filename)}"
    return Finding(checked, "problem", f"not checked: {kind}{one_line(error)}", command)


def quoted(*paths: str | Path) -> str:
    """Paths as a shell takes them, one after another, those below the project's folder relative to it."""
    return " ".join(shlex.quote(shown(path)) for path in paths)


def shown(path: str | Path) -> str:
    """A path for people: relative to the project's folder where it lies inside."""
    inside = os.path.abspath(path).startswith(os.getcwd() + os.sep)
    return os.path.relpath(path) if inside else str(path)


def listed(names: Iterable[str | Path], most: int = 6) -> str:
    """The first ``most`` names, and how many more there are; paths as :func:`shown`."""
    texts = [shown(name) if isinstance(name, Path) else name for name in names]
    return ", ".join(texts[:most]) + (f" and {len(texts) - most} more" if len(texts) > most else "")


def one_line(error: object) -> str:
    """What an error says, without line ends."""
    return " ".join(str(error).split()) or type(error).__name__
