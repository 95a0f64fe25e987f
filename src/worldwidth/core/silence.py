"""A stage that shows no sign of life for long is reported, with where in the code it is, and after longer ended.

A process that hangs is ended as SIGKILL would end it: what hangs can be asked nothing, and whatever was saved before
is there. What holds Python's lock all the while, as a call into C can, is not seen from inside; calls of the native
code let go of it.
"""

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

EXIT_HUNG = 124
"""Exit code of a stage that was ended; timeout(1) has the same."""

_LATE = 60.0  # seconds between two looks after which the whole process must have been stopped, by Ctrl-Z or the like
_last = [time.monotonic()]
_waiting = list[str]()


def sign_of_life() -> None:
    """Work has gone on."""
    _last[0] = time.monotonic()


@contextmanager
def waiting(reason: str) -> Iterator[None]:
    """Inside, silence is no hang: another process is waited for."""
    _waiting.append(reason)
    try:
        yield
    finally:
        _waiting.remove(reason)
        sign_of_life()


@contextmanager
def reporting_silence(name: str, minutes: float, hang_minutes: float) -> Iterator[None]:
    """Inside, print a line on stderr whenever ``minutes`` have passed without a sign of life of this thread's work.

    After ``hang_minutes`` without one, if that is not 0, print where the work is and end the process.
    """
    ended = threading.Event()
    arguments = (name, 60 * minutes, 60 * hang_minutes, threading.get_ident(), ended)
    thread = threading.Thread(target=_watch, args=arguments, daemon=True)
    sign_of_life()
    thread.start()
    try:
        yield
    finally:
        ended.set()


def _watch(name: str, seconds: float, limit: float, thread: int, ended: threading.Event) -> None:
    since, reported = time.strftime("%H:%M:%S"), time.monotonic()
    looked, pause = reported, min(seconds, limit or seconds, 1.0)
    while not ended.wait(pause):
        now = time.monotonic()
        if _waiting or now - looked > _LATE:
            sign_of_life()
        looked, silence = now, now - _last[0]
        silent = f"worldwidth: {name}: no sign of life for {silence / 60:.3g} minutes"
        if limit and silence >= limit and not ended.is_set():
            place = _place(sys._current_frames().get(thread))
            remedy = "ended, for execution.hang_minutes; the same command goes on from what is saved"
            print(f"{silent}, it hangs {place}: {remedy}", file=sys.stderr, flush=True)
            os._exit(EXIT_HUNG)
        if now - max(reported, _last[0]) >= seconds:
            reported = now
            text = f"{silent} (still running, since {since}; {_place(sys._current_frames().get(thread))})"
            print(text, file=sys.stderr, flush=True)


def _place(frame: FrameType | None) -> str:
    """The innermost line of this project's code."""
    while frame:
        path = os.path.relpath(frame.f_code.co_filename)
        if path.startswith(("src" + os.sep, "stages" + os.sep)) or "worldwidth" in path:
            return f"at {path}:{frame.f_lineno}"
        frame = frame.f_back
    return "at no line of this project"
