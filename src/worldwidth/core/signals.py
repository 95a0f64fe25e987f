"""Being asked to stop: Ctrl-C, SIGTERM, SIGUSR1 and SIGHUP end a command with one line and an exit code, no traceback.

Batch systems send SIGTERM, or SIGUSR1 if they are asked to, some time before they end a job; a terminal that is closed
sends SIGHUP. A process whose `worldwidth run` or DVC was killed asks itself: the next run would start the same work
beside it.
"""

import os
import signal
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

EXIT_RETRY = 75  # EX_TEMPFAIL of sysexits.h: nothing is wrong, run me again
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as of a shell
PARENT = "WORLDWIDTH_PARENT"
"""Environment variable: the process id of the parent without which a command is not to go on."""

_TO_STOP = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)
_REPEATED_WITHIN = 10.0  # seconds
_SECONDS_BETWEEN_LOOKS = 0.5


class Stopped(KeyboardInterrupt):
    """The process was asked to stop. ``code`` is its exit code, the text says what is left."""

    def __init__(self, code: int, message: str = "nothing half-written is left") -> None:
        super().__init__(message)
        self.code = code


def install() -> None:
    """From here on a request to stop raises :class:`Stopped`. For commands only, as the first thing they do."""
    sys.unraisablehook = _not_losing(sys.unraisablehook)
    if threading.current_thread() is threading.main_thread():  # elsewhere Python sets no handlers
        for number in _TO_STOP:
            if signal.getsignal(number) != signal.SIG_IGN:  # a shell starts background jobs with Ctrl-C ignored
                signal.signal(number, _raise_stopped)
        signal.signal(signal.SIGALRM, _raise_lost)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _TO_STOP)
    if PARENT in os.environ or "DVC_STAGE" in os.environ:
        # now, for the thread: a library that is being loaded while Python ends kills the process
        import psutil  # type: ignore[import-untyped]  # noqa: F401

        expected = int(os.environ.pop(PARENT, os.getppid()))
        threading.Thread(target=_stop_without, args=(expected,), daemon=True).start()


@contextmanager
def held_back() -> Iterator[None]:
    """Inside, a request to stop is kept waiting; a command that is started there waits with it until it can hear."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _TO_STOP)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def raise_again() -> None:
    """Stop now if a request to stop was lost: code in C swallows it while numpy is being imported.

    Raises:
        Stopped: there was one.
    """
    if _raised:
        raise Stopped(_code(_raised[-1]))


def last_request() -> int | None:
    """The signal that last asked this process to stop; None if none has."""
    return _requests[-1][0] if _requests else None


def is_orphaned() -> bool:
    """Whether the parent, or the DVC behind it, has gone."""
    return _orphaned.is_set()


_orphaned = threading.Event()

_raised: list[int] = []
"""Signals that have raised :class:`Stopped`, whatever became of it."""

_requests: list[tuple[int, float]] = []
"""Signal and time, in seconds of a clock that only goes forward, of every request heard."""


def _raise_stopped(number: int, frame: FrameType | None) -> None:
    if not _is_repeated(number):
        _raised.append(number)
        raise Stopped(_code(number))


def _not_losing(hook: Callable[["sys.UnraisableHookArgs"], object]) -> Callable[["sys.UnraisableHookArgs"], object]:
    """``hook``, but a request to stop, which Python drops while an object is being deleted, is raised just after."""

    def not_lost(found: "sys.UnraisableHookArgs") -> None:
        if isinstance(found.exc_value, KeyboardInterrupt) and _requests:
            signal.setitimer(signal.ITIMER_REAL, 0.05)
        else:
            hook(found)

    return not_lost


def _raise_lost(number: int, frame: FrameType | None) -> NoReturn:
    raise Stopped(_code(_requests[-1][0]))


def _heard(number: int) -> None:
    """Note a request. Where the terminal has gone nothing more is written to it, for that would be an error."""
    _requests.append((number, time.monotonic()))
    if number == signal.SIGHUP:
        with open(os.devnull, "wb") as nowhere:
            for descriptor in (1, 2):
                with suppress(OSError):
                    if stat.S_ISCHR(os.fstat(descriptor).st_mode):
                        os.dup2(nowhere.fileno(), descriptor)


def _is_repeated(number: int) -> bool:
    """Whether this is one request heard twice: a batch system asks all processes, and a parent passes it on.

    What is under way then is the tidying up, which must not be stopped. A second Ctrl-C is a request of its own.
    """
    _heard(number)
    now = _requests[-1][1]
    return number != signal.SIGINT and any(now - before < _REPEATED_WITHIN for _, before in _requests[:-1])


def _code(number: int) -> int:
    return EXIT_INTERRUPTED if number == signal.SIGINT else EXIT_RETRY


class StopRequest:
    """Inside its ``with`` a request to stop is only noted, so that work in progress can be saved first.

    A second Ctrl-C stops at once.
    """

    def __init__(self) -> None:
        self.number = _raised[-1] if _raised else 0
        """The signal that has come, or that was lost before; 0 as long as none has."""
        self._handlers: dict[signal.Signals, signal.Handlers] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            for number in _TO_STOP:
                if signal.getsignal(number) != signal.SIG_IGN:
                    self._handlers[number] = signal.signal(number, self._note)  # type: ignore[assignment]
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers.clear()
        if self.number and error[0] is None:  # it came after the last look
            raise Stopped(self.code)

    @property
    def code(self) -> int:
        """The exit code asked for; 0 as long as nobody has asked."""
        return _code(self.number) if self.number else 0

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.number == number == signal.SIGINT:
            raise KeyboardInterrupt
        _heard(number)
        self.number = number


@contextmanager
def finishing() -> Iterator[None]:
    """Inside, a request to stop waits for the end of what is under way; after a request all is tidying up anyway."""
    if _raised:
        yield
    else:
        with StopRequest():
            yield


def _stop_without(expected: int) -> None:
    """Ask this process to stop, as SIGTERM does, once the parent ``expected``, or the DVC behind it, has gone.

    DVC gives the command to $SHELL, or to sh where that is not set. Some shells (dash) stay between the two and
    outlive DVC, so the shell's parent counts then; others (bash) become the command.
    """
    import psutil

    links = [(psutil.Process(), expected)]
    try:
        parent = psutil.Process(expected)
        if "DVC_STAGE" in os.environ and parent.name() == Path(os.environ.get("SHELL") or "/bin/sh").name:
            links.append((parent, parent.ppid()))
        while all(child.ppid() == known for child, known in links):
            time.sleep(_SECONDS_BETWEEN_LOOKS)
    except psutil.NoSuchProcess:
        pass
    _orphaned.set()
    os.kill(os.getpid(), signal.SIGTERM)
