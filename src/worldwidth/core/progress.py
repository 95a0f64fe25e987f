"""Progress of a training run: a bar on a terminal, a line now and then in a log."""

import sys
import time
from types import TracebackType

from tqdm import tqdm

_SECONDS_BETWEEN_LINES = 15.0


class Progress:
    """Shows step, loss, tokens a second and the time left."""

    def __init__(self, name: str, steps: int, done: int = 0, tokens: int = 0) -> None:
        """``done`` steps with ``tokens`` tokens were done before, in a process that was stopped."""
        self.name, self.steps = name, steps
        self._done, self._tokens = done, tokens
        self._started = self._last_line = time.monotonic()
        self._bar = (
            tqdm(total=steps, initial=done, desc=name, unit="step", file=sys.stdout) if sys.stdout.isatty() else None
        )

    def __enter__(self) -> "Progress":
        return self

    def update(self, step: int, tokens: int, loss: float) -> None:
        """Show that ``step`` steps are done."""
        now = time.monotonic()
        seconds = max(now - self._started, 1e-9)
        speed = (tokens - self._tokens) / seconds
        if self._bar is not None:
            self._bar.set_postfix_str(f"loss {loss:.3f}, {speed:,.0f} tokens/s", refresh=False)
            self._bar.update(step - self._bar.n)
        elif now - self._last_line >= _SECONDS_BETWEEN_LINES or step == self.steps:
            left = seconds / max(step - self._done, 1) * (self.steps - step)
            done = f"{self.name}: step {step:,} of {self.steps:,}"
            print(f"{done}, loss {loss:.3f}, {speed:,.0f} tokens/s, {left:.0f} s left", flush=True)
            self._last_line = now

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()
