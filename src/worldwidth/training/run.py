"""One training run: what it is given, where it stands, and its curve."""

import csv
import hashlib
import io
import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from worldwidth.core.errors import WorldwidthError
from worldwidth.core.files import write_text
from worldwidth.model.layout import DecoderConfig, Weights, slices
from worldwidth.model.parametrization import groups
from worldwidth.model.safe_tensors import Arrays
from worldwidth.native.compute import ONE_THREAD, Compute
from worldwidth.settings.compute import training_flops
from worldwidth.settings.schema import Optimization
from worldwidth.training.mixture import Mixture, Rows

_ADVICE = "; try a lower learning_rate"


@dataclass(frozen=True)
class CurvePoint:
    """One row of the training curve; ``loss`` and ``gradient_norm`` are means over the steps since the row before."""

    step: int
    tokens: int
    flops: int
    loss: float
    """In nats a token."""
    learning_rate: float
    validation_loss: float | None
    gradient_norm: float
    """Of the weights that move, before clipping."""
    order: str
    """Number of the epoch, and a hash of its lines in their order: runs that agree in it read the same."""


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
    compute: Compute = ONE_THREAD
    width_ratio: float | None = None
    """Under ``mup``: the width over that of the reference."""
    new_rows: int = 0
    """Last rows of the embedding, of cities that pre-training never saw."""

    @property
    def steps_an_epoch(self) -> int:
        """Batches that hold every line once."""
        return math.ceil(len(self.mixture) / self.optimization.batch_size)

    def epoch(self, number: int) -> list[Rows]:
        """The lines of every batch of one epoch."""
        return list(self.mixture.epoch(self.seed, self.name, number, self.optimization.batch_size))

    def rows(self) -> Iterator[Rows]:
        """The lines of every batch, first to last step."""
        yield from itertools.islice(itertools.chain.from_iterable(map(self.epoch, itertools.count())), self.steps)


@dataclass(frozen=True)
class State:
    """All that a run under way needs to go on as if it had never stopped, whatever it goes on with.

    There is no state of random numbers: the order of the lines is drawn from a stream named by seed, model and
    epoch, and nothing else in training is drawn.
    """

    step: int
    tokens: int
    curve: list[CurvePoint]
    arrays: Arrays
    """Flat weights, first and second moments, and losses and gradient norms since the curve's last row."""


class DivergedError(WorldwidthError):
    """The loss is no finite number. ``curve`` holds the rows up to there."""

    def __init__(self, message: str, curve: list[CurvePoint]) -> None:
        super().__init__(message)
        self.curve = curve


class Training:
    """One run under way: weights, moments, position and curve. What takes its steps updates the arrays in place."""

    def __init__(
        self,
        config: DecoderConfig,
        weights: Weights,
        run: Run,
        save_checkpoint: Callable[[int], None],
        state: State | None = None,
    ) -> None:
        """Start the run from ``weights``, which become its own, or go on from ``state``.

        ``save_checkpoint`` is called with the step number at step 0 and at the log-spaced checkpoints.
        """
        self.config, self.run, self.weights = config, run, weights
        self.groups = groups(config, run.optimization, run.width_ratio, run.new_rows)
        self.first, self.second = np.zeros_like(weights), np.zeros_like(weights)
        self.step, self.tokens = 0, 0
        self.curve: list[CurvePoint] = []
        self.losses: list[float] = []
        """Of the steps since the curve's last row."""
        self.norms: list[float] = []
        """Norms of their gradients before clipping."""
        self.orders: dict[int, str] = {}
        """Epoch -> hash of its lines in their order, of those whose batches were handed out."""
        self.error: DivergedError | None = None
        self._save_checkpoint = save_checkpoint
        self._checkpoints = checkpoint_steps(run.steps, run.optimization.checkpoints)
        if state is None:
            save_checkpoint(0)
        else:
            self._restore(state)

    @property
    def embedding_alone(self) -> bool:
        """Whether no weight but the embedding's moves."""
        return bool(self.groups[-1].place.stop <= slices(self.config)["embed"].stop)

    def state(self) -> State:
        """What it takes to go on from here; the arrays are the run's own: do not change them."""
        arrays = {"weights": self.weights, "first": self.first, "second": self.second}
        since = {"losses": np.array(self.losses, np.float32), "norms": np.array(self.norms, np.float32)}
        return State(self.step, self.tokens, list(self.curve), arrays | since)

    def _restore(self, state: State) -> None:
        self.step, self.tokens, self.curve = state.step, state.tokens, list(state.curve)
        self.losses, self.norms = state.arrays["losses"].tolist(), state.arrays["norms"].tolist()
        for name, mine in (("weights", self.weights), ("first", self.first), ("second", self.second)):
            mine[:] = state.arrays[name]

    @property
    def ended(self) -> bool:
        """Whether all steps are done or the run has failed."""
        return self.step == self.run.steps or self.error is not None

    def rows(self) -> Iterator[Rows]:
        """The lines of every batch from here on."""
        return self._rows(self.step)

    def _rows(self, start: int) -> Iterator[Rows]:
        size = self.run.steps_an_epoch
        for epoch in range(start // size, math.ceil(self.run.steps / size)):
            batches, before = self.run.epoch(epoch), epoch * size
            self.orders[epoch] = _order_digest(self.run.mixture, batches)
            yield from batches[max(start - before, 0) : self.run.steps - before]

    def rate(self, step: int) -> float:
        """The learning rate of step ``step``, from 0."""
        return learning_rate(step, self.run.steps, self.run.optimization)

    @property
    def at_milestone(self) -> bool:
        """Whether a validation loss is due here; it and a checkpoint need the weights."""
        return self.step in self._checkpoints or self.step == self.run.steps

    @property
    def row_is_due(self) -> bool:
        """Whether a row of the curve is due here; it needs the losses."""
        return self.at_milestone or self.step % self.run.optimization.log_every == 0

    def write_row(self, validation_loss: Callable[[], float]) -> None:
        """Add a row to the curve, and write a checkpoint where one is due.

        Raises:
            DivergedError: a loss or a gradient, or at a milestone the validation loss, is NaN or infinite.
        """
        loss, norm = self._mean(self.losses, "loss"), self._mean(self.norms, "norm of the gradient")
        self.losses.clear()
        self.norms.clear()
        validation = validation_loss() if self.at_milestone else None
        if validation is not None and not np.isfinite(validation):
            name = self.run.name
            raise DivergedError(f"{name}: the weights are ruined after step {self.step}{_ADVICE}", self.curve)
        epoch = (self.step - 1) // self.run.steps_an_epoch
        self.curve.append(
            CurvePoint(
                step=self.step,
                tokens=self.tokens,
                flops=training_flops(len(self.weights), self.tokens),
                loss=loss,
                learning_rate=self.rate(self.step - 1),
                validation_loss=validation,
                gradient_norm=norm,
                order=f"{epoch + 1}-{self.orders[epoch]}",
            )
        )
        if self.step in self._checkpoints:
            self._save_checkpoint(self.step)

    def _mean(self, values: list[float], what: str) -> float:
        """Mean of what the steps since the last row gave; raises if one of them is no number."""
        finite = np.isfinite(values)
        if not finite.all():
            index = int(np.argmin(finite))
            first = self.step - len(values) + 1 + index
            found = f"{self.run.name}: the {what} is {values[index]} at step {first}"
            raise DivergedError(f"{found}{_ADVICE}", self.curve)
        return float(np.mean(values))


def _order_digest(mixture: Mixture, batches: list[Rows]) -> str:
    """Twelve hexadecimal digits of the SHA-256 of all lines and of the order in which batches take them."""
    digest = hashlib.sha256(mixture.digest.encode())
    for rows in batches:
        digest.update(f"{len(rows)}\n".encode())
        digest.update(rows.data)
    return digest.hexdigest()[:12]


def learning_rate(step: int, steps: int, optimization: Optimization) -> float:
    """Rate of optimiser step ``step`` (from 0) of ``steps``.

    Linear from 0 over ``warmup_steps``, as transformers counts them (the first step has rate 0), then
    constant, then linear to 0 over the last ``decay_fraction`` of what follows the warm-up. A fraction of
    1 is transformers' linear schedule, a smaller one warm-up-stable-decay.
    """
    if step < optimization.warmup_steps:
        return optimization.learning_rate * step / optimization.warmup_steps
    decay_steps = optimization.decay_fraction * (steps - optimization.warmup_steps)
    return optimization.learning_rate * min(1.0, (steps - step) / decay_steps)


def checkpoint_steps(steps: int, count: int) -> frozenset[int]:
    """At most ``count`` steps, log-spaced from 1 towards ``steps``; step 0 and the final model are kept beside them."""
    if count == 0:
        return frozenset()
    spaced = np.geomspace(1, steps, count + 1)[:-1]
    return frozenset(int(step) for step in np.unique(np.rint(spaced)) if step < steps)


def write_curve(curve: list[CurvePoint], path: Path) -> None:
    """Write the curve as CSV; an empty field where no validation loss was taken."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(CurvePoint.__dataclass_fields__), lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(point) for point in curve)
    write_text(path, buffer.getvalue())
