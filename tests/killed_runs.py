"""Training runs that are killed in a step of their own choosing, and what is left of them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import worldwidth.training.resume
from short_runs import Model
from worldwidth.training.cpu_engine import CpuEngine
from worldwidth.training.publish import train_and_publish
from worldwidth.training.resume import states_folder
from worldwidth.training.run import Run

Save = Callable[[Path], None]
_step = CpuEngine.step


def publish(model: Model, run: Run, save: Save, seconds: float = 10) -> None:
    """Train ``model`` and write its files; its weights stay what they are."""
    assert list(train_and_publish(*model, [run], save, seconds)) == [run.name]


def published() -> dict[str, bytes]:
    """Every out of the run."""
    files = [path for folder in ("models", "results") for path in Path(folder).rglob("*") if path.is_file()]
    return {path.as_posix(): path.read_bytes() for path in files}


def left_over() -> list[Path]:
    return [path for path in states_folder().rglob("*") if path.is_file()]


class Killed(BaseException):
    """As if the process had ended here: nothing but what is on disk is left."""


def killed(engine: CpuEngine) -> None:
    raise Killed


def at_step(number: int, act: Callable[[CpuEngine], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Call ``act`` before the ``number``-th step from here on."""
    calls = 0

    def step(engine: CpuEngine) -> list[int]:
        nonlocal calls
        calls += 1
        if calls == number:
            act(engine)
        return _step(engine)

    monkeypatch.setattr(CpuEngine, "step", step)


def train_until(step: int, model: Model, run: Run, save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train with a state saved after every step, and be killed in step ``step``."""
    with monkeypatch.context() as patch:
        patch.setattr(worldwidth.training.resume, "_COST", np.inf)
        at_step(step, killed, patch)
        with pytest.raises(Killed):
            publish(model, run, save, 0)
