"""The states of training runs that were stopped or diverged, in the scratch folder."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from worldwidth.core.locks import is_held
from worldwidth.core.text import bytes_text
from worldwidth.doctor.finding import Finding, listed, quoted
from worldwidth.settings.paths import scratch_folder

_OLD = 14 * 86_400  # seconds


@dataclass(frozen=True)
class SavedState:
    """A folder with the state of ``name``, a model, after ``step`` of ``steps``; both 0 where that cannot be read."""

    path: Path
    name: str
    step: int
    steps: int
    saved_at: float
    """Seconds since the epoch."""
    problem: str
    """Why it cannot be read; empty if it can."""
    in_use: bool
    """Whether a process is training from it now."""


def saved_states() -> list[SavedState]:
    """All states, by path."""
    from worldwidth.training.resume import states_folder

    folder = states_folder()
    return [_described(path) for path in sorted(folder.iterdir()) if path.is_dir()] if folder.is_dir() else []


def _described(folder: Path) -> SavedState:
    from worldwidth.model.safe_tensors import load_tensors
    from worldwidth.training.resume import LOCK, STATE, VALUES

    path, problem, step, steps = folder / STATE, "", 0, 0
    try:
        values = json.loads(load_tensors(path)[1][VALUES])
        step, steps = int(values["step"]), int(values["steps"])
    except FileNotFoundError:
        problem = f"no {STATE}: the run was killed before it was saved"
    except (OSError, ValueError, KeyError, TypeError) as error:
        problem = str(error)
    saved_at = (path if path.exists() else folder).stat().st_mtime
    return SavedState(folder, folder.name.rpartition("-")[0], step, steps, saved_at, problem, is_held(folder / LOCK))


def check_saved_states() -> Iterator[Finding]:
    """Training runs that were stopped, and what is left of those that diverged."""
    for state in saved_states():
        name, remove = f"state of {state.name}", f"rm -r {quoted(state.path)}"
        size = sum(file.stat().st_size for file in state.path.rglob("*") if file.is_file())
        text, age = f"step {state.step:,} of {state.steps:,}, {bytes_text(size)}", time.time() - state.saved_at
        if state.in_use:
            yield Finding(name, "ok", "a process is training from it now")
        elif state.problem:
            yield Finding(name, "warning", f"of no use: {state.problem}", remove, (state.path,))
        elif age > _OLD:
            yield Finding(name, "warning", f"{age / 86_400:.0f} days old; {text}", remove, (state.path,))
        else:
            yield Finding(name, "ok", f"the next run goes on from it: {text}")
    if remains := sorted((scratch_folder() / "diverged").glob("*")):
        text = f"kept to be looked at: {listed(remains)}"
        yield Finding("diverged runs", "warning", text, f"rm -r {quoted(*remains)}", (*remains,))
