"""One training run: what it is given, where it stands, and its single steps."""

import csv
import io
import itertools
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from worldwidth.core.errors import WorldwidthError
from worldwidth.core.files import write_text
from worldwidth.model.decoder import Decoder, PackedAttention
from worldwidth.model.packing import IGNORED, Batch
from worldwidth.settings.compute import training_flops
from worldwidth.settings.schema import Optimization
from worldwidth.training.device_batches import Rows
from worldwidth.training.mixture import Mixture
from worldwidth.training.optimizer import build_optimizers, learning_rate, set_learning_rate

_ADVICE = "; try a lower learning_rate"


@dataclass(frozen=True)
class CurvePoint:
    """One row of the training curve; ``loss`` is the mean, in nats a token, since the row before."""

    step: int
    tokens: int
    flops: int
    loss: float
    learning_rate: float
    validation_loss: float | None


@dataclass(frozen=True)
class Run:
    """What one training run is given beside its model."""

    name: str
    mixture: Mixture
    validation: Mixture
    optimization: Optimization
    steps: int
    """Optimiser steps of the whole run; the last epoch may be cut short."""
    seed: int
    device: torch.device
    bfloat16: bool = False
    """Whether matrix products run in bfloat16 (autocast); weights and optimiser stay in float32."""
    threads: int = 1
    """CPU threads that share each batch."""

    def rows(self) -> Iterator[Rows]:
        """The lines of every batch, first to last step."""
        size, names = self.optimization.batch_size, (self.seed, self.name)
        epochs = (self.mixture.epoch(*names, epoch, size) for epoch in itertools.count())
        yield from itertools.islice(itertools.chain.from_iterable(epochs), self.steps)


@dataclass(frozen=True)
class State:
    """All that a run under way needs to go on as if it had never stopped.

    There is no state of random numbers: the order of the lines is drawn from a stream named by seed, model and
    epoch, and nothing else in training is drawn.
    """

    step: int
    tokens: int
    curve: list[CurvePoint]
    tensors: dict[str, Tensor]
    """On the CPU: weights, what the optimisers remember, and the losses since the curve's last row."""


class DivergedError(WorldwidthError):
    """The loss is no finite number. ``curve`` holds the rows up to there."""

    def __init__(self, message: str, curve: list[CurvePoint]) -> None:
        super().__init__(message)
        self.curve = curve


class Training:
    """One run under way: its model, optimisers, position and curve."""

    def __init__(
        self, model: Decoder, run: Run, save_checkpoint: Callable[[int], None], state: State | None = None
    ) -> None:
        """Start the run, or go on from ``state``.

        ``save_checkpoint`` is called with the step number at step 0 and at the log-spaced checkpoints.
        """
        self.model, self.run = model.to(run.device).train(), run
        self.step, self.tokens, self.rate = 0, 0, 0.0
        self.curve: list[CurvePoint] = []
        self.error: DivergedError | None = None
        self._optimizers = build_optimizers(model, run.optimization)
        self._losses: list[Tensor] = []  # read when a row is written, not every step: reading makes a GPU wait
        self._save_checkpoint = save_checkpoint
        self._checkpoints = checkpoint_steps(run.steps, run.optimization.checkpoints)
        if state is None:
            save_checkpoint(0)
        else:
            self._restore(state)
        self._rows = itertools.islice(run.rows(), self.step, None)

    def state(self) -> State:
        """What it takes to go on from here; between two steps only. The tensors may be the run's own: do not change."""
        tensors = {f"weight.{name}": weight for name, weight in self.model.state_dict().items()}
        for number, optimizer in enumerate(self._optimizers):
            for index, values in optimizer.state_dict()["state"].items():
                tensors |= {f"optimizer.{number}.{index}.{name}": value for name, value in values.items()}
        if self._losses:
            tensors["losses"] = torch.stack(self._losses)
        on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        return State(self.step, self.tokens, list(self.curve), on_cpu)

    def _restore(self, state: State) -> None:
        self.step, self.tokens, self.curve = state.step, state.tokens, list(state.curve)
        tensors = {name: tensor.to(self.run.device, copy=True) for name, tensor in state.tensors.items()}
        self._losses = list(tensors.pop("losses", torch.empty(0)).unbind())
        weights = {name: tensors.pop(name) for name in list(tensors) if name.startswith("weight.")}
        self.model.load_state_dict({name.removeprefix("weight."): weight for name, weight in weights.items()})
        remembered: list[dict[int, dict[str, Tensor]]] = [{} for _ in self._optimizers]
        for name, tensor in tensors.items():
            _, number, index, kind = name.split(".")
            remembered[int(number)].setdefault(int(index), {})[kind] = tensor
        for optimizer, values in zip(self._optimizers, remembered, strict=True):
            optimizer.load_state_dict({**optimizer.state_dict(), "state": values})

    @property
    def ended(self) -> bool:
        """Whether all steps are done or the run has failed."""
        return self.step == self.run.steps or self.error is not None

    def begin_step(self) -> Rows:
        """Set the learning rate of the next step; return the lines of its batch."""
        self.rate = learning_rate(self.step, self.run.steps, self.run.optimization)
        set_learning_rate(self._optimizers, self.rate)
        return next(self._rows)

    def loss(self, model: Decoder, batch: Batch) -> Tensor:
        """The training loss in the run's precision."""
        with torch.autocast(self.run.device.type, torch.bfloat16, enabled=self.run.bfloat16):
            return batch_loss(model, batch)

    def update(self) -> None:
        """From gradients to new weights."""
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.run.optimization.max_grad_norm)
        for optimizer in self._optimizers:
            optimizer.step()
            optimizer.zero_grad()

    def end_step(self, loss: Tensor, tokens: int) -> None:
        """Count the step; write a row of the curve and a checkpoint where they are due.

        Raises:
            DivergedError: the loss, or at a checkpoint the validation loss, is NaN or infinite.
        """
        self.step += 1
        self.tokens += tokens
        self._losses.append(loss)
        milestone = self.step in self._checkpoints or self.step == self.run.steps
        if milestone or self.step % self.run.optimization.log_every == 0:
            mean = _mean_loss(self._losses, self.run.name, self.step, self.curve)
            self._losses.clear()
            validation = validation_loss(self.model, self.run) if milestone else None
            if validation is not None and not np.isfinite(validation):
                raise DivergedError(
                    f"{self.run.name}: the weights are ruined after step {self.step}{_ADVICE}", self.curve
                )
            flops = training_flops(self.model.parameter_count(), self.tokens)
            self.curve.append(CurvePoint(self.step, self.tokens, flops, mean, self.rate, validation))
        if self.step in self._checkpoints:
            self._save_checkpoint(self.step)


def batch_loss(model: Decoder, batch: Batch) -> Tensor:
    """Mean next-token cross-entropy over the batch's counted predictions, in nats."""
    attention = PackedAttention(batch.lengths, batch.longest, len(batch.ids))
    hidden = model(batch.ids, attention.positions, attention)
    return F.cross_entropy(model.lm_head(hidden[batch.sources]), batch.targets, ignore_index=IGNORED)


@torch.no_grad()
def validation_loss(model: Decoder, run: Run) -> float:
    """Mean loss in nats over all counted tokens of the validation lines, in float32."""
    total, count = 0.0, 0
    for start in range(0, len(run.validation), 1024):
        rows = np.arange(start, min(start + 1024, len(run.validation)))
        batch = run.validation.batch(rows, run.optimization.loss, run.device)
        total += float(batch_loss(model, batch)) * len(batch.targets)
        count += len(batch.targets)
    return total / count


def checkpoint_steps(steps: int, count: int) -> frozenset[int]:
    """At most ``count`` steps, log-spaced from 1 towards ``steps``; step 0 and the final model are kept beside them."""
    if count == 0:
        return frozenset()
    spaced = np.geomspace(1, steps, count + 1)[:-1]
    return frozenset(int(step) for step in np.unique(np.rint(spaced)) if step < steps)


def _mean_loss(losses: list[Tensor], name: str, step: int, curve: list[CurvePoint]) -> float:
    values = torch.stack(losses)
    finite = torch.isfinite(values)
    if not finite.all():
        first = step - len(losses) + 1 + int((~finite).nonzero()[0])
        raise DivergedError(f"{name}: the loss is {float(values[~finite][0])} at step {first}{_ADVICE}", curve)
    return float(values.mean())


def write_curve(curve: list[CurvePoint], path: Path) -> None:
    """Write the curve as CSV; an empty field where no validation loss was taken."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(CurvePoint.__dataclass_fields__), lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(point) for point in curve)
    write_text(path, buffer.getvalue())
