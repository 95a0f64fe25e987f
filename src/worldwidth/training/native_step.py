"""A run's steps on a CPU in C++."""

import numpy as np

from worldwidth.model.packing import Tree, split
from worldwidth.native.optimizer import Spread, update
from worldwidth.native.step import Workspace, gradient, loss
from worldwidth.training.run import Training


class NativeStep:
    """See :class:`worldwidth.training.cpu_engine.Step`."""

    def __init__(self, training: Training) -> None:
        self._training = training
        parts = range(len(split(np.arange(training.run.optimization.batch_size))))
        self._workspaces = [Workspace(training.config) for _ in parts]
        self._gradients = [np.empty_like(training.weights) for _ in parts]

    def gradient(self, part: int, tree: Tree, scale: float) -> float:
        """See :class:`worldwidth.training.cpu_engine.Step`."""
        mine, out = self._training, self._gradients[part]
        return gradient(self._workspaces[part], mine.weights, out, tree, scale, not mine.embedding_alone)

    def update(self, parts: int, step: int, rate: float, spread: Spread) -> float:
        """See :class:`worldwidth.training.cpu_engine.Step`."""
        mine = self._training
        arrays = (mine.weights, mine.first, mine.second, self._gradients[:parts])
        return update(*arrays, mine.groups, mine.run.optimization, step + 1, rate, spread)

    def loss(self, tree: Tree) -> float:
        """See :class:`worldwidth.training.cpu_engine.Step`."""
        return loss(self._workspaces[0], self._training.weights, tree, 1.0)
