"""The steps of several runs of one shape as those of one model, all of it on a device in fixed shapes.

Small models leave a GPU waiting for the host. So the weights of all runs lie in one tensor, their batches are packed
ahead and copied many steps at a time (packed_ahead.py), and a step is recorded once as a CUDA graph and replayed.
Every run keeps its own order of lines, loss, gradient norm, optimiser state and learning rate.
"""

from collections.abc import Callable, Iterator
from math import prod

import numpy as np
import torch
from torch import Tensor

from worldwidth.model.decoder import Decoder
from worldwidth.model.packing import pack
from worldwidth.model.tree_tensors import assembled, tensors_of
from worldwidth.training.packed_ahead import chunks, common_sizes, width_of
from worldwidth.training.run import Training
from worldwidth.training.torch_update import FlatState, decoder_of, update

_EAGER_STEPS = 3  # before a step is recorded: libraries choose their kernels


class StackedEngine:
    """See :class:`worldwidth.training.engines.Engine`."""

    def __init__(self, trainings: list[Training], recorded: bool = True) -> None:
        """``recorded`` has a GPU replay the step; without it every operation is launched by itself."""
        compute = trainings[0].run.compute
        self._trainings, self._config, self._groups = trainings, trainings[0].config, trainings[0].groups
        self._optimization, self._bfloat16 = trainings[0].run.optimization, compute.bfloat16
        self._device = torch.device(compute.device)
        self._sizes = common_sizes([training.run for training in trainings])
        stacked = zip(*((t.weights, t.first, t.second) for t in trainings), strict=True)
        self._state = FlatState(*(torch.from_numpy(np.stack(arrays)).to(self._device) for arrays in stacked))
        self._trees = torch.zeros(len(trainings), width_of(self._sizes), dtype=torch.int32, device=self._device)
        self._factors = torch.ones(len(trainings), 4, device=self._device)
        self._figures: list[Tensor] = []
        """Of every step (2, models): losses and gradient norms."""
        self._take = _Recorded(self._whole_step) if recorded and compute.device == "cuda" else self._whole_step
        self._inputs = self._copied()

    def step(self) -> list[int]:
        """Take the next step of every run."""
        trees, factors, tokens = next(self._inputs)
        self._trees.copy_(trees)
        self._factors.copy_(factors)
        self._figures.append(self._take().clone())
        return tokens

    def fetch_losses(self) -> None:
        """Add losses and norms since the last call to each run's; here the host waits for the device."""
        if self._figures:
            every = torch.stack(self._figures, 2).tolist()
            for training, losses, norms in zip(self._trainings, *every, strict=True):
                training.losses += losses
                training.norms += norms
        self._figures.clear()

    def fetch_weights(self) -> None:
        """Copy weights and moments into each run's arrays."""
        for index, training in enumerate(self._trainings):
            training.weights[:] = self._state.weights[index].numpy(force=True)
            training.first[:] = self._state.first[index].numpy(force=True)
            training.second[:] = self._state.second[index].numpy(force=True)

    @torch.no_grad()
    def validation_loss(self, training: Training) -> float:
        """Mean loss in nats over the counted tokens of the run's validation lines."""
        index, lines, loss = self._trainings.index(training), training.run.validation, self._optimization.loss
        model = Decoder(self._config, self._state.weights[index : index + 1])
        trees = tensors_of(pack(lines.tokens, lines.lengths, loss), self._config.vocab_size, self._device)
        return float(model.losses(trees)) / float(lines.prediction_counts(loss).sum())

    def _copied(self) -> Iterator[tuple[Tensor, Tensor, list[int]]]:
        """The inputs of every step, on the device."""
        for chunk in chunks(self._trainings, self._sizes):
            trees, factors = self._to_device(chunk.trees), self._to_device(chunk.factors)
            yield from zip(trees, factors, chunk.tokens, strict=True)

    def _to_device(self, array: np.ndarray) -> Tensor:
        tensor = torch.from_numpy(array)
        if self._device.type == "cuda":
            tensor = tensor.pin_memory()  # without it the copy would wait for the device
        return tensor.to(self._device, non_blocking=True)

    def _whole_step(self) -> Tensor:
        """Loss, gradient and update of every model from what lies in the inputs.

        Returns:
            (2, models): losses, and norms of the gradients before clipping.
        """
        fields = self._sizes.fields()
        parts = torch.split(self._trees, [prod(shape) for shape in fields.values()], dim=1)
        arrays = {name: part.reshape(-1, *shape) for (name, shape), part in zip(fields.items(), parts, strict=True)}
        trees = assembled(arrays, self._sizes, self._config.vocab_size)
        model, moving = decoder_of(self._config, self._state.weights, self._trainings[0].embedding_alone)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._bfloat16):
            losses = model.losses(trees) * self._factors[:, 3]
        (gradients,) = torch.autograd.grad(losses.sum(), moving)  # no weight is in two of the losses
        norms = update(self._state, gradients, self._factors[:, :3], self._groups, self._optimization)
        return torch.stack([losses.detach(), norms])


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
