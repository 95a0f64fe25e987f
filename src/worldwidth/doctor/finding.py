"""What `worldwidth doctor` finds, and how a check that fails itself becomes a finding instead of an end."""

import os
import pwd
import shlex
import string
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from worldwidth.core.errors import WorldwidthError

State = Literal["ok", "warning", "problem"]

_PLAIN = f"{string.ascii_letters}{string.digits}/._-"
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
    changes: tuple[str | Path, ...] = ()
    """What the command would remove, overwrite or make accessible."""


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
            found.append(no_access(checked, error.filename, "not checked: not readable for you"))
        else:
            state: State = "warning" if isinstance(error, WorldwidthError) else "problem"
            found.append(Finding(checked, state, f"not checked: {kind}{' '.join(str(error).split())}", command))
    return [_permitted(finding) for finding in found] or [Finding(checked, "ok", sound)]


def no_access(checked: str, path: str | Path, found: str) -> Finding:
    """The problem that ``path`` is not readable or writable; chmod follows links."""
    return Finding(checked, "problem", found, f"chmod -R u+rwX {quoted(path)}", (os.path.realpath(path),))


def _permitted(finding: Finding) -> Finding:
    """Without its command if that changes what belongs to another user, who is named instead."""
    for path in finding.changes:
        owner = _other_owner(path)
        if owner:
            wanted = "let you read and write it" if finding.command.startswith("chmod") else "remove it"
            text = f"{finding.found}; {shown(path)} belongs to {owner}: ask them to {wanted}"
            return replace(finding, found=text, command="")
    return finding


def _other_owner(path: str | Path) -> str:
    """Who owns ``path``, if that is not the user; empty as well if it is not there, and for root, who may do all."""
    try:
        owner = os.lstat(path).st_uid
    except OSError:
        return ""
    if os.geteuid() in (0, owner):
        return ""
    try:
        return f"user {pwd.getpwuid(owner).pw_name}"
    except KeyError:  # as in containers
        return f"user number {owner}"


def quoted(*paths: str | Path) -> str:
    """Paths as a shell takes them, one after another, those below the project's folder relative to it."""
    return " ".join(_quoted(shown(path)) for path in paths)


def _quoted(text: str) -> str:
    """``text`` for a shell; what could steer a terminal in bash's and zsh's own notation."""
    if text.isprintable():
        return shlex.quote(text)
    plain = (chr(byte) if chr(byte) in _PLAIN else f"\\x{byte:02x}" for byte in os.fsencode(text))
    return f"$'{''.join(plain)}'"


def shown(path: str | Path) -> str:
    """A path for people: relative to the project's folder where it lies inside."""
    return os.path.relpath(path) if os.path.abspath(path).startswith(os.getcwd() + os.sep) else str(path)


def listed(names: Iterable[str | Path], most: int = 6) -> str:
    """The first ``most`` names, and how many more there are; paths as :func:`shown`."""
    texts = [shown(name) if isinstance(name, Path) else name for name in names]
    return ", ".join(texts[:most]) + (f" and {len(texts) - most} more" if len(texts) > most else "")
