"""How every command starts and ends: stage scripts and the command line import this before anything else.

Importing it makes a request to stop, and a missing package, one line and an exit code, also while others are being
imported, and drops what a shell says of another repository and of arithmetic; it loads nothing slow.
"""

import errno
import os
import re
import sys
from types import TracebackType

from worldwidth.core import signals, surroundings
from worldwidth.core.errors import WorldwidthError
from worldwidth.core.git import leave_other_repositories
from worldwidth.core.text import printable

EXIT_BAD_INPUT = 2
"""Exit code over an error that is one line for people."""

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class exit_codes:  # noqa: N801 - reads as a verb: `with exit_codes():`
    """Turn errors meant for people into one line on stderr and an exit code."""

    def __enter__(self) -> None:
        surroundings.settle()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        code = _say(error)
        if code is not None:
            sys.exit(code)


def _say(error: BaseException | None) -> int | None:
    """Print the line that ends a command over ``error``; return its exit code, None if it is not for people."""
    code = EXIT_BAD_INPUT
    if isinstance(error, KeyboardInterrupt):
        stopped = error if isinstance(error, signals.Stopped) else signals.Stopped(signals.EXIT_INTERRUPTED)
        code = stopped.code
        message = f"stopped; {stopped}; run the same command again"
    elif isinstance(error, WorldwidthError):
        message = str(error)
    elif isinstance(error, BrokenPipeError):  # `worldwidth sample ... | head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    elif isinstance(error, OSError) and error.errno != errno.ENOMEM and error.filename:  # a read-only folder
        message = f"{error.filename}: {error.strerror}"
    elif isinstance(error, OSError) and error.errno in _DISK_FULL:  # of DVC's, which names no file
        message = f"{error.strerror}: make room, and run the same command again"
    elif _is_out_of_memory(error):
        text = " ".join(str(error).split())[:200] or type(error).__name__
        message = f"out of memory ({text}); run fewer jobs at a time (`--jobs 1`), or take a smaller batch_size"
    elif isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("worldwidth"):
        package = error.name.split(".")[0]
        message = (
            f"the Python package '{package}' is not installed in {sys.prefix}; run `make env` and use the programs of "
            ".venv/bin"
        )
    else:
        return None
    if "not a git repository" in message:  # whether git or DVC says it
        message += "; here `git init && git add --all && git commit --message start` makes one"
    print(f"worldwidth: {printable(message)}", file=sys.stderr)
    return code


def _is_out_of_memory(error: BaseException | None) -> bool:
    """Whether Python, numpy, the system or torch, on a CPU or a GPU, says so."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    # torch is slow to import, and on a CPU raises a plain RuntimeError
    said = isinstance(error, RuntimeError) and re.search("can't allocate memory|out of memory", str(error))
    return isinstance(error, MemoryError) or bool(said)


def _end(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """What Python does with an error outside the ``with``."""
    code = _say(error)
    if code is None:
        sys.__excepthook__(kind, error, trace)
        return
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # the only way from here to an exit code; every `with` and `finally` has been left already


sys.excepthook = _end
signals.install()
leave_other_repositories()
surroundings.drop_arithmetic()
