"""The one exception meant for people: a single line, exit code 2, no traceback."""

import difflib
import sys
from collections.abc import Iterable

from worldwidth.core.text import printable


class WorldwidthError(Exception):
    """Bad input or a missing file, said in one line that names what was found and what is allowed."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


def warn(message: str) -> None:
    """Say on stderr what is wrong and does not stop the command."""
    print(f"worldwidth: {printable(message)}", file=sys.stderr, flush=True)


def nearest(name: str, allowed: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the closest allowed name, or an empty string."""
    matches = difflib.get_close_matches(name, list(allowed), n=1, cutoff=0.5)
    return f"; did you mean '{matches[0]}'?" if matches else ""
