"""Progress of a training run: told to whoever watches, and printed, on a terminal as one line that changes."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType

from worldwidth.core.text import count

_SECONDS_BETWEEN_LINES = 15.0


@dataclass(frozen=True)
class Standing:
    """How far a training is."""

    name: str
    step: int
    steps: int
    loss: float
    """In nats a token, a mean over the steps since the row of the curve before."""
    tokens_per_second: float
    seconds_left: float
    resumed: bool
    """Whether a process that was stopped did the first of the steps."""

    def __str__(self) -> str:
        done = f"step {count(self.step)} of {count(self.steps)}, loss {self.loss:.3f}"
        return f"{done}, {count(self.tokens_per_second)} tokens/s, {self.seconds_left:.0f} s left"


_watchers: list[Callable[[Standing], None]] = []
"""Called at every row of a curve."""


@contextmanager
def watching(watcher: Callable[[Standing], None]) -> Iterator[None]:
    """Inside, ``watcher`` is told how far each training is."""
    _watchers.append(watcher)
    try:
        yield
    finally:
        _watchers.remove(watcher)


class Progress:
    """Shows step, loss, tokens a second and the time left."""

    def __init__(self, name: str, steps: int, done: int = 0, tokens: int = 0) -> None:
        """``done`` steps with ``tokens`` tokens were done before, in a process that was stopped."""
        self.name, self.steps = name, steps
        self._done, self._tokens = done, tokens
        self._started = self._last_line = time.monotonic()
        self._on_terminal = sys.stdout.isatty()
        self._line_is_open = False

    def __enter__(self) -> "Progress":
        return self

    def update(self, step: int, tokens: int, loss: float) -> None:
        """Show that ``step`` steps are done."""
        now = time.monotonic()
        seconds = max(now - self._started, 1e-9)
        speed = (tokens - self._tokens) / seconds
        left = seconds / max(step - self._done, 1) * (self.steps - step)
        standing = Standing(self.name, step, self.steps, loss, speed, left, self._done > 0)
        for watcher in _watchers:
            watcher(standing)
        if self._on_terminal:
            print(f"\r{self.name}: {standing}\x1b[K", end="", flush=True)
            self._line_is_open = True
        elif now - self._last_line >= _SECONDS_BETWEEN_LINES or step == self.steps:
            print(f"{self.name}: {standing}", flush=True)
            self._last_line = now

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._line_is_open:
            print(flush=True)
