"""The start of every command: what stage scripts and the command line import before anything else.

Importing it makes a request to stop one line and an exit code; it loads nothing slow by itself.
"""

import os
import sys
from collections.abc import Callable

from worldwidth import stopping
from worldwidth.errors import WorldwidthError

stopping.install()


def run_stage(main: Callable[..., None], *names: str) -> None:
    """Call ``main(matrix, *arguments)`` with one command-line argument for each of ``names``.

    Exits with 2 and one line on stderr when the input is bad, with 130 on Ctrl-C, and with 75 when it was told to
    stop and should be run again.
    """
    with exit_codes():
        from worldwidth.matrix import load
        from worldwidth.pipeline import check_rendered

        arguments = sys.argv[1:]
        if len(arguments) != len(names):
            raise WorldwidthError(f"usage: python {sys.argv[0]} {' '.join(names)}")
        stopping.raise_again()
        matrix = load()
        check_rendered(matrix)
        main(matrix, *arguments)


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
            sys.exit(stopping.say_stopped(error))
        if isinstance(error, OSError) and error.filename:  # disk full, a read-only folder
            print(f"worldwidth: {error.filename}: {error.strerror}", file=sys.stderr)
            sys.exit(2)
