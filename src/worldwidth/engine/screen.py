"""What a person sees of a run: on a terminal what runs now, below what has ended; in a pipe a line for each of both."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from worldwidth.engine.view import Running, View

if TYPE_CHECKING:
    from rich.console import RenderableType

_TIMES_A_SECOND = 4
_BAR = 12  # columns
_NARROW = 90  # columns below which there is no room for a bar
_TEXT = 52  # columns of what is said of a stage
_HEAD = 8  # characters of a name that are always shown


class Screen(Protocol):
    """Where a run is shown."""

    def started(self, text: str) -> None:
        """A stage has started."""

    def ended(self, text: str) -> None:
        """A stage has ended."""

    def error(self, text: str) -> None:
        """Something for people on stderr."""

    def show(self, view: View) -> None:
        """How the run stands."""


class Lines:
    """For a pipe or a log: a line when a stage starts, and one when it ends."""

    def started(self, text: str) -> None:
        """A stage has started."""
        print(text, flush=True)

    ended = started

    def error(self, text: str) -> None:
        """Something for people on stderr."""
        print(text, file=sys.stderr, flush=True)

    def show(self, view: View) -> None:
        """Nothing: it would never end."""


class Terminal(Lines):
    """What runs now stands at the bottom and changes; what has ended scrolls away above it."""

    def __init__(self) -> None:
        from rich.console import Console  # slow to load, and few commands need it
        from rich.live import Live

        self._console = Console(highlight=False, markup=False, emoji=False)
        self._live = Live(
            console=self._console, auto_refresh=False, transient=True, redirect_stderr=sys.stderr.isatty()
        )
        self._last = 0.0

    @contextmanager
    def drawing(self) -> Iterator[None]:
        """Inside, the bottom of the terminal is this one's."""
        with self._live:
            yield

    def started(self, text: str) -> None:
        """Nothing: it is to be seen below."""

    def ended(self, text: str) -> None:
        """A stage has ended."""
        self._console.print(text, soft_wrap=True)

    def show(self, view: View) -> None:
        """Draw it, a few times a second."""
        now = time.monotonic()
        if now - self._last >= 1 / _TIMES_A_SECOND:
            self._last = now
            self._live.update(drawn(view, self._console.width), refresh=True)


@contextmanager
def screen() -> Iterator[Screen]:
    """The screen of this process."""
    if sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        terminal = Terminal()
        with terminal.drawing():
            yield terminal
    else:
        yield Lines()


def drawn(view: View, width: int) -> "RenderableType":
    """The bottom of a terminal: a line for each stage that runs, and one for the whole."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    now, has_bar = time.time(), width >= _NARROW
    room = max(width - _TEXT - (_BAR + 2) * has_bar, 20)
    rows = Table.grid(padding=(0, 2, 0, 0), pad_edge=False, expand=False)
    rows.add_column(no_wrap=True, style="bold")
    if has_bar:
        rows.add_column(no_wrap=True, width=_BAR)
    rows.add_column(no_wrap=True, overflow="ellipsis")
    for running in view.running:
        bar = [_bar(running, now)] if has_bar else []
        rows.add_row(Text(_cut(running.name, room)), *bar, Text(running.short(now)))
    return Group(rows, Text(str(view), no_wrap=True, overflow="ellipsis"))


def _cut(name: str, width: int) -> str:
    """``name``, without some of its middle where it is too long: its end is the stage."""
    over = len(name) - width
    return name if over <= 0 else f"{name[:_HEAD]}\N{HORIZONTAL ELLIPSIS}{name[_HEAD + over + 1 :]}"


def _bar(running: Running, now: float) -> "RenderableType":
    from rich.progress_bar import ProgressBar
    from rich.text import Text

    share = running.share(now)
    return Text("") if share is None else ProgressBar(total=1.0, completed=share, width=_BAR)
