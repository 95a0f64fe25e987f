"""What `worldwidth doctor` finds, and how a check that fails itself becomes a finding instead of an end."""

import os
import shlex
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from worldwidth.core.errors import WorldwidthError

State = Literal["ok", "warning", "problem"]

REBUILD = "rm -f .venv/.ready && make env"
"""The command that installs what is missing into the project's environment."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    checked: str
    state: State
    found: str
    command: str = ""
    """For a shell in the project's folder: what fixes it. Empty when nothing need be fixed."""


Check = Callable[[], Iterator[Finding]]
"""It may raise a WorldwidthError for what it needs and another check reports, as a params.yaml that does not load."""


def guarded(checked: str, check: Check, sound: str = "") -> list[Finding]:
    """The findings of ``check``; ``sound`` if there are none. An error is one more, so that no check hides another."""
    found: list[Finding] = []
    try:
        found.extend(check())
    except Exception as error:
        kind = "" if isinstance(error, (ImportError, OSError, WorldwidthError)) else f"{type(error).__name__}: "
        command = REBUILD if isinstance(error, ImportError) else "make doctor  # again, when that is fixed"
        if isinstance(error, PermissionError) and error.filename:
            command = f"chmod -R u+rwX {quoted(error.filename)}"
        state: State = "warning" if isinstance(error, WorldwidthError) else "problem"
        found.append(Finding(checked, state, f"not checked: {kind}{' '.join(str(error).split())}", command))
    return found or [Finding(checked, "ok", sound)]


def quoted(*paths: str | Path) -> str:
    """Paths as a shell takes them, one after another, those below the project's folder relative to it."""
    return " ".join(shlex.quote(shown(path)) for path in paths)


def shown(path: str | Path) -> str:
    """A path for people: relative to the project's folder where it lies inside."""
    return os.path.relpath(path) if os.path.abspath(path).startswith(os.getcwd() + os.sep) else str(path)


def listed(names: Iterable[str | Path], most: int = 6) -> str:
    """The first ``most`` names, and how many more there are; paths as :func:`shown`."""
    texts = [shown(name) if isinstance(name, Path) else name for name in names]
    return ", ".join(texts[:most]) + (f" and {len(texts) - most} more" if len(texts) > most else "")
