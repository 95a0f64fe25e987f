"""What is to be shown of a run at one moment: on its own screen, and by `worldwidth status` in another terminal.

A run keeps it in a small file in the scratch folder, which is read without any lock.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from worldwidth.core.files import read_bytes, write_text
from worldwidth.core.progress import Standing, watching
from worldwidth.core.text import count
from worldwidth.settings.paths import scratch_folder

_MINUTE = 60
_SECONDS_BETWEEN_WRITES = 0.5
_TICK = 1.0  # seconds by which the start of a process is known


@dataclass(frozen=True)
class Running:
    """A stage that runs now."""

    name: str
    """For people: of a sweep that of its variant stands in front."""
    since: float
    """Seconds since the epoch."""
    expected: float | None = None
    """Seconds that it will take; None if unknown."""
    training: Standing | None = None
    phase: str = ""
    """What its process does where that is not the stage itself."""

    def share(self, now: float) -> float | None:
        """How much of it is done, 0 to 1; None if that cannot be said."""
        if self.training:
            return self.training.step / self.training.steps
        return min((now - self.since) / self.expected, 0.99) if self.expected else None

    def left(self, now: float) -> float | None:
        """Seconds that it will still take."""
        if self.training:
            return self.training.seconds_left
        return max(self.expected - (now - self.since), 0.0) if self.expected else None

    def text(self, now: float) -> str:
        """What there is to say of it beside its name."""
        return str(self.training) if self.training else self.phase or spent(now - self.since, self.expected)

    def short(self, now: float) -> str:
        """The same in few words."""
        at = self.training
        if not at:
            return self.text(now)
        share = f"{100 * at.step / at.steps:.0f} %, loss {at.loss:.3f}"
        return f"{share}, {count(at.tokens_per_second)} tokens/s, {duration(round(at.seconds_left))} left"


@dataclass(frozen=True)
class View:
    """What is to be shown of a run at one moment."""

    command: str
    pid: int
    since: float
    """Seconds since the epoch."""
    done: int
    """Stages that have ended well."""
    total: int
    share: float
    """Of the work, 0 to 1."""
    left: float | None
    """Seconds; None if they are unknown."""
    running: tuple[Running, ...]
    is_stopping: bool = False

    def __str__(self) -> str:
        text = f"[{self.done}/{self.total}] {100 * self.share:.0f} %, {len(self.running)} running"
        if self.is_stopping:
            return f"{text}, stopping: what is under way is being saved"
        return text + (f", about {duration(max(round(self.left), 1))} left" if self.left else "")


def duration(seconds: float) -> str:
    """``0.4 s``, ``40 s``, ``3 min``, ``2 h 5 min``."""
    if seconds < 99.5:
        return f"{seconds:.1f} s" if 0 < seconds < 9.95 and seconds != round(seconds) else f"{seconds:.0f} s"
    if seconds < 100 * _MINUTE:
        return f"{seconds / _MINUTE:.0f} min"
    minutes = round(seconds / _MINUTE)
    return f"{count(minutes // 60)} h {minutes % 60} min"


def spent(seconds: float, expected: float | None) -> str:
    """``for 12 s of about 40 s``."""
    return f"for {duration(round(seconds))}" + (f" of about {duration(expected)}" if expected else "")


class Kept:
    """The file in which a process keeps what it shows, for others to read."""

    def __init__(self, path: Path) -> None:
        self._path, self._last = path, 0.0

    def keep(self, view: View) -> None:
        """Write it, unless that was done a moment ago; a full disk is no reason to stop."""
        now = time.monotonic()
        if now - self._last >= _SECONDS_BETWEEN_WRITES:
            self._last = now
            with suppress(OSError):
                write_text(self._path, _VIEW.dump_json(view).decode())


_VIEW = TypeAdapter(View)


def _folder() -> Path:
    return scratch_folder() / "now"


@contextmanager
def kept_for_others(pid: int) -> Iterator[Kept]:
    """Where the process ``pid``, this one, keeps what it shows; gone in the end, with what killed ones have left."""
    for path in _folder().glob("*.json"):
        if not _is_alive(path):
            path.unlink(missing_ok=True)
    path = _folder() / f"{pid}.json"
    try:
        yield Kept(path)
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def showing_stage(command: str, pid: int, stage: str) -> Iterator[None]:
    """Inside, a single stage is what runs, as under `dvc repro`."""
    since = time.time()

    with kept_for_others(pid) as kept:

        def show(standing: Standing | None) -> None:
            share = standing.step / standing.steps if standing else 0.0
            left = standing.seconds_left if standing else None
            kept.keep(View(command, pid, since, 0, 1, share, left, (Running(stage, since, None, standing),)))

        show(None)
        with watching(show):
            yield


def views() -> list[View]:
    """What every process shows that runs the stages of this project now, the oldest first."""
    found = [_read(path) for path in _folder().glob("*.json") if _is_alive(path)]
    return sorted((view for view in found if view), key=lambda view: view.since)


def _read(path: Path) -> View | None:
    try:
        return _VIEW.validate_json(read_bytes(path))
    except (OSError, ValueError):  # it has ended meanwhile
        return None


def _is_alive(path: Path) -> bool:
    """Whether the process that keeps the file is there; not so a stranger who has been given its number since."""
    import psutil  # type: ignore[import-untyped]

    view = _read(path)
    try:
        return view is not None and psutil.Process(view.pid).create_time() < view.since + _TICK
    except psutil.Error:
        return False
