"""What a job tells the process that started it: a line of JSON for each stage that starts or ends, and for a training.

They go to a file that the environment names; a job without one, as on a cluster, tells nobody.
"""

import json
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from worldwidth.core.progress import Standing, watching

EVENTS = "WORLDWIDTH_EVENTS"
"""Environment variable: the file."""
STARTED, RAN, RESTORED, FAILED, NOT_RUN = "started", "ran", "restored", "failed", "not run"
"""What a job did with a stage; RESTORED also stands for one that was up to date."""

_SECONDS_BETWEEN_STANDINGS = 0.5


@dataclass(frozen=True)
class Event:
    """A stage has started or ended, or a training is so far."""

    time: float
    """Seconds since the epoch."""
    stage: str = ""
    what: str = ""
    """One of the words above."""
    standing: Standing | None = None


@contextmanager
def telling() -> Iterator["Teller"]:
    """Inside, progress of trainings is told, and whatever the teller is given."""
    path = os.environ.pop(EVENTS, "")
    with ExitStack() as held:
        teller = Teller(held.enter_context(open(path, "a", encoding="utf-8")) if path else None)
        held.enter_context(watching(teller.standing))
        yield teller


class Teller:
    """Writes events."""

    def __init__(self, file: IO[str] | None) -> None:
        self._file, self._last = file, 0.0

    def stage(self, stage: str, what: str) -> None:
        """A stage has started or ended."""
        self._write(Event(time.time(), stage, what))
        self._last = 0.0

    def standing(self, standing: Standing) -> None:
        """A training is so far."""
        now = time.monotonic()
        if now - self._last >= _SECONDS_BETWEEN_STANDINGS or standing.step == standing.steps:
            self._write(Event(time.time(), standing=standing))
            self._last = now

    def _write(self, event: Event) -> None:
        if self._file:
            print(json.dumps(asdict(event)), file=self._file, flush=True)


class Tail:
    """The lines that are written to a file, as they come."""

    def __init__(self, path: Path) -> None:
        self._path, self._place, self._rest = path, 0, b""

    def lines(self) -> list[str]:
        """Those that are whole and were not there at the last look."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._place)
                content = file.read()
        except FileNotFoundError:
            return []
        self._place += len(content)
        *whole, self._rest = (self._rest + content).split(b"\n")
        return [line.decode("utf-8", "replace") for line in whole]


def read_events(tail: Tail) -> list[Event]:
    """The new events of a job."""
    found = list[Event]()
    for line in tail.lines():
        values = json.loads(line)
        standing = values.pop("standing")
        found.append(Event(**values, standing=Standing(**standing) if standing else None))
    return found
