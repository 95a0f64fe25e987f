"""One optimiser step of one run or of several: plain on a CPU; stacked and recorded on a GPU.

A step takes the rows of each run's next batch and returns each run's loss, still on the device.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from worldwidth.resident import ResidentLines, Rows, largest
from worldwidth.stack import Stack

if TYPE_CHECKING:
    from worldwidth.training import Training

Step = Callable[[list[Rows]], list[Tensor]]

_EAGER_STEPS = 3  # before a step is recorded: libraries choose their kernels, optimisers make their state


def plain_step(training: Training) -> Step:
    """A step of one run with batches packed on the host to their exact sizes: nothing is ever padded."""
    run = training.run

    def step(rows: list[Rows]) -> list[Tensor]:
        batch = run.mixture.batch(rows[0], run.settings.loss, run.device)
        loss = training.loss(training.model, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        training.update()
        return [loss.detach()]

    return step


def resident_step(trainings: list[Training]) -> Step:
    """A step of several runs of one shape as one stacked model, all of it on the device in fixed shapes.

    On a GPU, and with AdamW, the step is recorded as a CUDA graph: a handful of launches then replay hundreds.
    Every run keeps its own order of lines, loss, gradient norm, optimiser state and learning rate.
    """
    runs = [training.run for training in trainings]
    count, device = runs[0].settings.batch_size, runs[0].device
    lines = [ResidentLines(run.mixture, run.settings.loss, device) for run in runs]
    sizes = largest(mine.sizes(run.rows()) for mine, run in zip(lines, runs, strict=True))
    models = [training.model for training in trainings]
    stack = Stack(models, trainings[0].loss) if len(trainings) > 1 else None
    chosen = torch.zeros(len(runs), count, dtype=torch.int64, device=device)

    def whole_step() -> Tensor:
        batches = [mine.batch(rows, sizes) for mine, rows in zip(lines, chosen, strict=True)]
        if stack is None:
            losses = trainings[0].loss(models[0], batches[0])[None]
            losses[0].backward()  # type: ignore[no-untyped-call]
        else:
            losses = stack.losses(batches)
            stack.backward(losses)
        for training in trainings:
            training.update()
        return losses.detach()

    recordable = device.type == "cuda" and all(run.settings.optimizer == "adamw" for run in runs)
    take = _Recorded(whole_step) if recordable else whole_step

    def step(rows: list[Rows]) -> list[Tensor]:
        padded = torch.from_numpy(np.stack([m.padded(r, count) for m, r in zip(lines, rows, strict=True)]))
        if device.type == "cuda":
            padded = padded.pin_memory()  # without it the copy would wait for the device
        chosen.copy_(padded, non_blocking=True)
        return list(take().clone().unbind())

    return step


class _Recorded:
    """A function of fixed shapes, recorded once as a CUDA graph and replayed.

    The first calls run eagerly on a stream of their own, as recording asks for; they are real steps.
    """

    def __init__(self, function: Callable[[], Tensor]) -> None:
        self._function, self._calls = function, 0
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._graph = torch.cuda.CUDAGraph()
        self._result: Tensor | None = None

    def __call__(self) -> Tensor:
        if self._calls < _EAGER_STEPS:
            self._calls += 1
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                result = self._function()
            torch.cuda.current_stream().wait_stream(self._stream)
            return result
        if self._result is None:
            with torch.cuda.graph(self._graph):
                self._result = self._function()
        self._graph.replay()
        return self._result
