"""A stage that shows no sign of life for long is reported: that it still runs, since when, and where in the code it is.

What holds Python's lock all the while, as a call into C can, cannot be reported from inside.
"""

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_last = [time.monotonic()]


def sign_of_life() -> None:
    """Work has gone on."""
    _last[0] = time.monotonic()


@contextmanager
def reporting_silence(name: str, minutes: float) -> Iterator[None]:
    """Inside, print a line on stderr whenever ``minutes`` have passed without a sign of life of this thread's work."""
    ended, since = threading.Event(), time.strftime("%H:%M:%S")
    thread = threading.Thread(
        target=_watch, args=(name, 60 * minutes, since, threading.get_ident(), ended), daemon=True
    )
    sign_of_life()
    thread.start()
    try:
        yield
    finally:
        ended.set()


def _watch(name: str, seconds: float, since: str, thread: int, ended: threading.Event) -> None:
    reported = time.monotonic()
    while not ended.wait(min(seconds, 1.0)):
        now = time.monotonic()
        if now - max(reported, _last[0]) >= seconds:
            reported = now
            silent = f"no sign of life for {(now - _last[0]) / 60:.3g} minutes"
            text = f"{name}: {silent} (still running, since {since}; {_place(sys._current_frames().get(thread))})"
            print(text, file=sys.stderr, flush=True)


def _place(frame: FrameType | None) -> str:
    """The innermost line of this project's code."""
    while frame:
        path = os.path.relpath(frame.f_code.co_filename)
        if path.startswith(("src" + os.sep, "stages" + os.sep)) or "worldwidth" in path:
            return f"at {path}:{frame.f_lineno}"
        frame = frame.f_back
    return "at no line of this project"
