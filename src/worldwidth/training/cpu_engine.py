"""The steps of one run on a CPU: each batch in parts, which threads share.

A batch is always cut into the same parts, and their gradients are added in their order: so the number of threads, and
what else runs on the machine, changes no bit. The threads meet twice a step.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np

from worldwidth.model.packing import Tree, pack, split
from worldwidth.native.optimizer import Spread
from worldwidth.training.run import Training

_VALIDATION_LINES = 256  # at once


class Step(Protocol):
    """The arithmetic of a run's steps, on its weights and moments in place."""

    def gradient(self, part: int, tree: Tree, scale: float) -> float:
        """Compute ``scale`` times the sum of the tree's losses, and keep its gradient as that of ``part``.

        Different parts may be computed at the same time.
        """
        ...

    def update(self, parts: int, step: int, rate: float, spread: Spread) -> float:
        """Add the gradients of the first ``parts`` parts in their order; clip, and take optimiser step ``step``.

        ``spread`` is ``map``, or shares its calls among threads. Returns the norm of the gradient before clipping.
        """
        ...

    def loss(self, tree: Tree) -> float:
        """The sum of the tree's losses in nats."""
        ...


class CpuEngine:
    """See :class:`worldwidth.training.engines.Engine`."""

    def __init__(self, training: Training, arithmetic: Step) -> None:
        run = training.run
        self._training, self._arithmetic = training, arithmetic
        self._rows, self._next = training.rows(), training.step
        self._counts = run.mixture.prediction_counts(run.optimization.loss)
        self._losses: list[float] = []
        self._norms: list[float] = []
        self._spread: Spread = ThreadPoolExecutor(run.compute.threads).map if run.compute.threads > 1 else map

    def step(self) -> list[int]:
        """Take the next step."""
        rows, mixture, loss = next(self._rows), self._training.run.mixture, self._training.run.optimization.loss
        scale = 1.0 / float(self._counts[rows].sum())

        def part_loss(number: int) -> float:
            part = parts[number]
            return self._arithmetic.gradient(number, pack(mixture.tokens[part], mixture.lengths[part], loss), scale)

        parts = split(rows)
        total = sum(self._spread(part_loss, range(len(parts))))
        self._losses.append(float(np.float32(total)))  # as a state keeps it
        norm = self._arithmetic.update(len(parts), self._next, self._training.rate(self._next), self._spread)
        self._norms.append(float(np.float32(norm)))
        self._next += 1
        return [int(mixture.lengths[rows].sum(dtype=np.int64))]

    def fetch_losses(self) -> None:
        """Add the losses and gradient norms since the last call to the run's."""
        self._training.losses += self._losses
        self._training.norms += self._norms
        self._losses.clear()
        self._norms.clear()

    def fetch_weights(self) -> None:
        """They are up to date: the arithmetic is done in place."""

    def validation_loss(self, training: Training) -> float:
        """Mean loss in nats over the counted tokens of the validation lines."""
        lines, loss = training.run.validation, training.run.optimization.loss
        total = 0.0
        for start in range(0, len(lines), _VALIDATION_LINES):
            some = slice(start, start + _VALIDATION_LINES)
            total += self._arithmetic.loss(pack(lines.tokens[some], lines.lengths[some], loss))
        return total / float(lines.prediction_counts(loss).sum())
