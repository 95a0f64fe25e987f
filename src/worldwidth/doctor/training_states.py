"""The states of stopped training runs that lie in the scratch folder, for people to look at."""

import json
from dataclasses import dataclass
from pathlib import Path

from worldwidth.core.locks import is_held
from worldwidth.model.safe_tensors import load_tensors
from worldwidth.training.resume import LOCK, STATE, VALUES, states_folder


@dataclass(frozen=True)
class SavedState:
    """One folder below ``states_folder()``."""

    path: Path
    name: str
    """The model."""
    step: int
    """The step after which the run was saved, of ``steps``; both 0 where that cannot be read."""
    steps: int
    bytes: int
    saved_at: float
    """Seconds since the epoch."""
    problem: str
    """Why it cannot be read; empty if it can."""
    in_use: bool
    """Whether a process is training from it now."""


def saved_states() -> list[SavedState]:
    """All states, by path."""
    folder = states_folder()
    return [_described(path) for path in sorted(folder.iterdir()) if path.is_dir()] if folder.is_dir() else []


def _described(folder: Path) -> SavedState:
    path, problem, step, steps = folder / STATE, "", 0, 0
    try:
        values = json.loads(load_tensors(path)[1][VALUES])
        step, steps = int(values["step"]), int(values["steps"])
    except FileNotFoundError:
        problem = f"no {STATE}: the run was killed before it was saved"
    except (OSError, ValueError, KeyError, TypeError) as error:
        problem = str(error)
    files = [file for file in folder.rglob("*") if file.is_file()]
    return SavedState(
        path=folder,
        name=folder.name.rpartition("-")[0],
        step=step,
        steps=steps,
        bytes=sum(file.stat().st_size for file in files),
        saved_at=(path if path.exists() else folder).stat().st_mtime,
        problem=problem,
        in_use=is_held(folder / LOCK),
    )
