"""How every command starts and ends: stage scripts and the command line import this before anything else.

Importing it makes a request to stop one line and an exit code; it loads nothing slow.
"""

import os
import sys

from worldwidth.core import signals
from worldwidth.core.errors import WorldwidthError

signals.install()


class exit_codes:  # noqa: N801 - reads as a verb: `with exit_codes():`
    """Turn errors meant for people into one line on stderr and exit code 2."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, WorldwidthError):
            print(f"worldwidth: {error}", file=sys.stderr)
            sys.exit(2)
        if isinstance(error, BrokenPipeError):  # `worldwidth sample ... | head` has read enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(0)
        if isinstance(error, KeyboardInterrupt):
            sys.exit(signals.say_stopped(error))
        if isinstance(error, OSError) and error.filename:  # disk full, a read-only folder
            print(f"worldwidth: {error.filename}: {error.strerror}", file=sys.stderr)
            sys.exit(2)
