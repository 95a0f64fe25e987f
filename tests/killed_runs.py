"""Training runs that are killed in a step of their own choosing, and what is left of them."""

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import worldwidth.training.resume
import worldwidth.training.run
from worldwidth.model.decoder import Decoder
from worldwidth.model.packing import Batch
from worldwidth.training import publish
from worldwidth.training.resume import states_folder
from worldwidth.training.run import Run, batch_loss

Save = Callable[[Path], None]


def published() -> dict[str, bytes]:
    """Every out of the run."""
    files = [path for folder in ("models", "results") for path in Path(folder).rglob("*") if path.is_file()]
    return {path.as_posix(): path.read_bytes() for path in files}


def left_over() -> list[Path]:
    return [path for path in states_folder().rglob("*") if path.is_file()]


class Killed(BaseException):
    """As if the process had ended here: nothing but what is on disk is left."""


def at_step(number: int, act: Callable[[], None]) -> Callable[[Decoder, Batch], torch.Tensor]:
    """A batch loss that calls ``act`` before it computes training step ``number``."""
    calls = 0

    def loss(model: Decoder, batch: Batch) -> torch.Tensor:
        nonlocal calls
        calls += torch.is_grad_enabled()
        if calls == number:
            calls += 1
            act()
        return batch_loss(model, batch)

    return loss


def killed() -> None:
    raise Killed


def train_until(step: int, model: Decoder, run: Run, save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train with a state saved after every step, and be killed in step ``step``."""
    with monkeypatch.context() as patch:
        patch.setattr(worldwidth.training.resume, "_COST", np.inf)
        patch.setattr(worldwidth.training.run, "batch_loss", at_step(step, killed))
        with pytest.raises(Killed):
            publish.train_and_publish(copy.deepcopy(model), run, save, 0)
