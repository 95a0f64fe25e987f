"""One optimiser step of one run or of several: plain on a CPU; stacked and recorded on a GPU.

A step takes the rows of each run's next batch and returns each run's loss, still on the device.
"""

import copy
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from worldwidth.model.decoder import Decoder
from worldwidth.model.packing import Batch
from worldwidth.model.stack import Stack
from worldwidth.training.device_batches import ResidentLines, Rows, largest
from worldwidth.training.run import Training

Step = Callable[[list[Rows]], list[Tensor]]

_WIDEST_TENSOR = 16 * 2**20  # bytes: larger ones leave the caches, and wide models would take gigabytes
_EAGER_STEPS = 3  # before a step is recorded: libraries choose their kernels, optimisers make their state


def plain_step(training: Training) -> Step:
    """A step of one run with batches packed on the host to their exact sizes: nothing is ever padded.

    The lines are cut into parts whose tensors stay small, and the parts' gradients are added. Several threads
    share the parts, each with a twin of the model: they meet once a step. Torch's own threads meet in every
    operation, and lose more than they bring as soon as another program wants a core.
    """
    run = training.run
    models = [training.model, *(_twin(training.model) for _ in range(run.threads - 1))]
    torch.set_num_threads(1)
    others = ThreadPoolExecutor(max(1, run.threads - 1), initializer=torch.set_num_threads, initargs=(1,))
    count = run.threads * _parts_of_a_thread(training)

    def add_gradient(model: Decoder, batches: list[Batch], total: int) -> Tensor:
        losses: list[Tensor] = []
        for batch in batches:
            loss = training.loss(model, batch)
            loss = loss if len(batch.targets) == total else loss * (len(batch.targets) / total)
            loss.backward()  # type: ignore[no-untyped-call]
            losses.append(loss.detach())
        return torch.stack(losses).sum()

    def step(rows: list[Rows]) -> list[Tensor]:
        parts = [part for part in np.array_split(rows[0], count) if len(part)]
        batches = [run.mixture.batch(part, run.optimization.loss, run.device) for part in parts]
        total = sum(len(batch.targets) for batch in batches)
        mine = [batches[i :: run.threads] for i in range(min(run.threads, len(batches)))]
        waiting = [others.submit(add_gradient, *work, total) for work in zip(models[1:], mine[1:], strict=False)]
        loss = add_gradient(training.model, mine[0], total)
        for model, future in zip(models[1:], waiting, strict=False):
            loss = loss + future.result()
            for parameter, twin in zip(training.model.parameters(), model.parameters(), strict=True):
                assert parameter.grad is not None
                assert twin.grad is not None
                parameter.grad += twin.grad
                twin.grad = None
        training.update()
        return [loss]

    return step


def _parts_of_a_thread(training: Training) -> int:
    """Into how many parts a thread cuts its lines, so that the widest tensor of a part stays below the limit."""
    run, config = training.run, training.model.config
    slots = run.optimization.batch_size * int(run.mixture.lengths.max()) / run.threads
    return math.ceil(slots * 2 * config.intermediate_size * 4 / _WIDEST_TENSOR)


def _twin(model: Decoder) -> Decoder:
    """A model with the same weights, in the same memory, and gradients of its own."""
    twin = copy.deepcopy(model)
    for mine, theirs in zip(twin.parameters(), model.parameters(), strict=True):
        mine.data = theirs.data
    return twin


def resident_step(trainings: list[Training]) -> Step:
    """A step of several runs of one shape as one stacked model, all of it on the device in fixed shapes.

    On a GPU, and with AdamW, the step is recorded as a CUDA graph: a handful of launches then replay hundreds.
    Every run keeps its own order of lines, loss, gradient norm, optimiser state and learning rate.
    """
    runs = [training.run for training in trainings]
    count, device = runs[0].optimization.batch_size, runs[0].device
    lines = [ResidentLines(run.mixture, run.optimization.loss, device) for run in runs]
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

    recordable = device.type == "cuda" and all(run.optimization.optimizer == "adamw" for run in runs)
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
