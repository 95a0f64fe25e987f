"""What `worldwidth doctor` finds, and how a check that fails itself becomes a finding instead of an end."""

import os
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from worldwidth.core.errors import WorldwidthError

State = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    checked: str
    state: State
    found: str
    """One line."""
    command: str = ""
    """For a shell in the project's folder: what mends it. Empty when nothing need be mended."""


Check = Callable[[], Iterator[Finding]]

AGAIN = "make doctor  # again, when that is mended"
"""The command of what could not be looked at because of something else."""


def guarded(checked: str, check: Check) -> list[Finding]:
    """The findings of ``check``; an error in it is one more finding, so that no check hides another."""
    found: list[Finding] = []
    try:
        found.extend(check())
    except ModuleNotFoundError as error:
        package = (error.name or str(error)).split(".")[0]
        found.append(Finding(checked, "problem", f"not checked: {package} is not installed", rebuild()))
    except ImportError as error:
        found.append(Finding(checked, "problem", f"not checked: {one_line(error)}", rebuild()))
    except PermissionError as error:
        command = f"chmod -R u+rwX {quoted(error.filename)}" if error.filename else AGAIN
        found.append(Finding(checked, "problem", f"not checked: {one_line(error)}", command))
    except WorldwidthError as error:
        found.append(Finding(checked, "problem", str(error), AGAIN))
    except Exception as error:  # what is broken here must not keep the other checks from being made
        text = f"not checked: {type(error).__name__}: {one_line(error)}"
        found.append(Finding(checked, "problem", text, AGAIN))
    return found


def rebuild() -> str:
    """The command that installs what is missing into the project's environment."""
    return f"rm -f {Path('.venv') / '.ready'} && make env"


def quoted(*paths: str | Path) -> str:
    """Paths as a shell takes them, one after another, those below the project's folder relative to it."""
    return " ".join(shlex.quote(shown(path)) for path in paths)


def shown(path: str | Path) -> str:
    """A path for people: relative to the project's folder where it lies inside."""
    absolute = os.path.abspath(path)
    inside = absolute.startswith(os.getcwd() + os.sep)
    return os.path.relpath(absolute) if inside else str(path)


def listed(names: list[str], most: int = 6) -> str:
    """The first ``most`` names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def one_line(error: object) -> str:
    """What an error says, without line ends."""
    return " ".join(str(error).split()) or type(error).__name__


def size(count: float) -> str:
    """Bytes for people, in powers of 1000."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.4g} TB"
