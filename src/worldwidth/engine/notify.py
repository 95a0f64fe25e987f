"""`execution.notify`: a line of shell that is run when a run or a sweep has ended, well or not.

What it gets is in its environment: WORLDWIDTH_COMMAND, WORLDWIDTH_OUTCOME (done, failed or stopped), WORLDWIDTH_MESSAGE
(the last line of an error, or empty), WORLDWIDTH_SECONDS and WORLDWIDTH_FOLDER.
"""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from worldwidth.core.errors import WorldwidthError, warn
from worldwidth.settings.schema import Settings

DONE, FAILED, STOPPED = "done", "failed", "stopped"
_SECONDS = 60
"""After which it is given up."""


@contextmanager
def notifying(settings: Settings, command: str) -> Iterator[None]:
    """At the end of the block say what became of ``command``; whatever that gives, the block's own end stands."""
    line, began = settings.selected.execution.notify, time.monotonic()
    outcome, message = FAILED, ""
    try:
        yield
        outcome = DONE
    except KeyboardInterrupt as error:
        outcome, message = STOPPED, str(error)
        raise
    except WorldwidthError as error:
        message = str(error)
        raise
    except Exception as error:
        message = f"{type(error).__name__}: {error}"
        raise
    finally:
        if line:
            said = {"COMMAND": command, "OUTCOME": outcome, "MESSAGE": message, "FOLDER": str(Path.cwd())}
            _call(line, {**said, "SECONDS": f"{time.monotonic() - began:.0f}"})


def _call(line: str, said: dict[str, str]) -> None:
    """Give ``line`` to a shell; a warning where it fails."""
    environment = {**os.environ, **{f"WORLDWIDTH_{name}": value for name, value in said.items()}}
    try:
        ran = subprocess.run(
            ["/bin/sh", "-c", line], env=environment, stdin=subprocess.DEVNULL, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        why = f"not done after {_SECONDS} s" if isinstance(error, subprocess.TimeoutExpired) else error.strerror
        warn(f"execution.notify: {why}: {line}")
        return
    if ran.returncode:
        warn(f"execution.notify: ended with {ran.returncode}: {line}")
