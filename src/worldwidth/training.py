"""Training, top to bottom: one loop for pre-training and fine-tuning, on a CPU or a GPU."""

import csv
import io
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from worldwidth.compute import training_flops
from worldwidth.errors import WorldwidthError
from worldwidth.files import write_text
from worldwidth.matrix import Optimization
from worldwidth.mixture import Batch, Mixture
from worldwidth.model import Decoder, PackedAttention
from worldwidth.optimizers import build_optimizers, learning_rate, set_learning_rate
from worldwidth.progress import Progress

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
    settings: Optimization
    epochs: int
    seed: int
    device: torch.device

    @property
    def steps(self) -> int:
        """Optimiser steps of the whole run."""
        return self.epochs * -(-len(self.mixture) // self.settings.batch_size)


class DivergedError(WorldwidthError):
    """The loss is no finite number. ``curve`` holds the rows up to there."""

    def __init__(self, message: str, curve: list[CurvePoint]) -> None:
        super().__init__(message)
        self.curve = curve


def train(model: Decoder, run: Run, save_checkpoint: Callable[[int], None]) -> list[CurvePoint]:
    """Train ``model`` in place; return its curve.

    Args:
        save_checkpoint: called with the step number at step 0 and at the log-spaced checkpoints.

    Raises:
        DivergedError: the loss became NaN or infinite.
    """
    settings = run.settings
    model.to(run.device).train()
    optimizers = build_optimizers(model, settings)
    checkpoints = checkpoint_steps(run.steps, settings.checkpoints)
    parameters = model.parameter_count()
    step, tokens = 0, 0
    curve: list[CurvePoint] = []
    losses: list[Tensor] = []  # read when a row is written, not every step: reading makes a GPU wait
    save_checkpoint(0)
    with Progress(run.name, run.steps) as progress:
        for epoch in range(run.epochs):
            for rows in run.mixture.epoch(run.seed, run.name, epoch, settings.batch_size):
                rate = learning_rate(step, run.steps, settings)
                set_learning_rate(optimizers, rate)
                batch = run.mixture.batch(rows, settings.loss, run.device)
                loss = batch_loss(model, batch)
                loss.backward()  # type: ignore[no-untyped-call]
                torch.nn.utils.clip_grad_norm_(model.parameters(), settings.max_grad_norm)
                for optimizer in optimizers:
                    optimizer.step()
                    optimizer.zero_grad()
                step += 1
                tokens += len(batch.ids)
                losses.append(loss.detach())
                milestone = step in checkpoints or step == run.steps
                if milestone or step % settings.log_every == 0:
                    mean = _mean_loss(losses, run.name, step, curve)
                    validation = validation_loss(model, run) if milestone else None
                    if validation is not None and not np.isfinite(validation):
                        raise DivergedError(f"{run.name}: the weights are ruined after step {step}{_ADVICE}", curve)
                    curve.append(CurvePoint(step, tokens, training_flops(parameters, tokens), mean, rate, validation))
                    progress.update(step, tokens, mean)
                    losses.clear()
                if step in checkpoints:
                    save_checkpoint(step)
    return curve


def batch_loss(model: Decoder, batch: Batch) -> Tensor:
    """Mean next-token cross-entropy over the batch's counted predictions, in nats."""
    attention = PackedAttention(batch.lengths)
    hidden = model(batch.ids, attention.positions, attention)
    return F.cross_entropy(model.lm_head(hidden[batch.sources]), batch.targets)


@torch.no_grad()
def validation_loss(model: Decoder, run: Run) -> float:
    """Mean loss in nats over all counted tokens of the validation lines."""
    total, count = 0.0, 0
    for start in range(0, len(run.validation), 1024):
        rows = np.arange(start, min(start + 1024, len(run.validation)))
        batch = run.validation.batch(rows, run.settings.loss, run.device)
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
